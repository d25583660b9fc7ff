"""Reading checkpoints without running what they may carry, and saying early what doesn't fit."""

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from lit_gen.cli import yaml_text
from lit_gen.errors import UserError

CONFIG_KEY = "lit_gen_config"
"""Where a checkpoint keeps its run's resolved config, as YAML text: a checkpoint alone suffices to sample from it."""

TRAINING_STATE = ("optimizer_states", "lr_schedulers", "loops")
"""What a checkpoint holds beside its weights, for a training to go on from it."""


def load(path: Path) -> dict[str, Any]:
    """Load a checkpoint of lit-gen onto the CPU with ``weights_only=True``.

    Raises:
        UserError: if the file is not a checkpoint, is cut off, carries code, or is not one of lit-gen's.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            raise UserError(f"{path} is refused: {_carried(error)}") from error
        raise UserError(f"{path} is not a checkpoint") from error
    except _UNREADABLE as error:
        raise UserError(f"{path} is not a checkpoint, or is cut off") from error
    if not isinstance(checkpoint, Mapping) or CONFIG_KEY not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint of lit-gen: it holds no {CONFIG_KEY} and state_dict")
    if wrong := _config_mistake(checkpoint[CONFIG_KEY]) or _weights_mistake(checkpoint["state_dict"]):
        raise UserError(f"{path} is not a checkpoint of lit-gen: {wrong}")
    return dict(checkpoint)


def config_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved config that the checkpoint's run had."""
    return yaml_text.load(checkpoint[CONFIG_KEY])


def check_fits(checkpoint: Mapping[str, Any], model: nn.Module, path: Path) -> None:
    """Compare a checkpoint with a model before anything is loaded into it.

    Raises:
        UserError: if the model is of another class, or a tensor is missing, left over, or of another shape.
    """
    theirs = config_of(checkpoint)["model"]["class_path"].rsplit(".", 1)[-1]
    ours = type(model).__name__
    if theirs != ours:
        raise UserError(f"{path} is a checkpoint of another model: of {theirs}, not of {ours}")
    saved, wanted = checkpoint["state_dict"], model.state_dict()
    for name in [*wanted, *saved]:
        if name not in saved:
            raise UserError(f"{path} is a checkpoint of another model: it has no '{name}'")
        if name not in wanted:
            raise UserError(f"{path} is a checkpoint of another model: this one has no '{name}'")
        if saved[name].shape != wanted[name].shape:
            raise UserError(
                f"{path} is a checkpoint of another model: '{name}' is {tuple(saved[name].shape)} there and "
                f"{tuple(wanted[name].shape)} here"
            )


def check_resumable(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on training from a checkpoint without what a training needs besides its weights.

    Raises:
        UserError: if the optimizers', the learning rates' or the loops' state is missing.
    """
    missing = [key for key in TRAINING_STATE if key not in checkpoint]
    if missing:
        raise UserError(
            f"training can't go on from {path}: it holds the weights alone, without {', '.join(missing)}; test, sample "
            "and predict can take it"
        )


_UNREADABLE = (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, struct.error, OSError)
"""What torch's reader of weights alone raises on bytes that are none."""


def _carried(error: pickle.UnpicklingError) -> str:
    """What a checkpoint carries beside its weights.

    Torch's own account comes with the advice to load it nevertheless, so only the name is taken out of it.
    """
    named = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
    return f"it carries code beside its weights ({named.group(1)})" if named else "it carries code, or is damaged"


def _config_mistake(text: Any) -> str | None:
    """What is wrong with what should be a run's config; None if nothing is."""
    if not isinstance(text, str):
        return f"its {CONFIG_KEY} is not text"
    try:
        config = yaml_text.load(text)
    except yaml.YAMLError:
        return f"its {CONFIG_KEY} is not YAML"
    model = config.get("model") if isinstance(config, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(model.get("class_path"), str):
        return f"its {CONFIG_KEY} names no model.class_path"
    return None


def _weights_mistake(weights: Any) -> str | None:
    """What is wrong with what should be a state dict; None if nothing is."""
    if not isinstance(weights, Mapping):
        return "its state_dict is not a mapping"
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in weights.items()):
        return "its state_dict holds other things than tensors by name"
    return None
