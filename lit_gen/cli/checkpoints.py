"""Reading checkpoints without running what they may carry, and saying early what doesn't fit."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

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
            raise UserError(f"{path} carries code beside its weights and is refused: {_first_line(error)}") from error
        raise UserError(f"{path} is not a checkpoint") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{path} is not a checkpoint, or is cut off") from error
    if not isinstance(checkpoint, Mapping) or CONFIG_KEY not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint of lit-gen: it holds no {CONFIG_KEY} and state_dict")
    return dict(checkpoint)


def config_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved config that the checkpoint's run had."""
    return yaml.safe_load(checkpoint[CONFIG_KEY])


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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
