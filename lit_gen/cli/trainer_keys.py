"""The keys that a whole run goes by: seed, intervals, limits, precision, and what of them a model can follow."""

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule

from lit_gen.cli import precision
from lit_gen.errors import UserError

LARGEST_SEED = 2**32 - 1
"""NumPy takes no larger one."""

LEAST = {
    "checkpoint_every_n_steps": 1,
    "trainer.max_epochs": -1,
    "trainer.min_epochs": 0,
    "trainer.max_steps": -1,
    "trainer.min_steps": 0,
    "trainer.log_every_n_steps": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.val_check_interval": 0,
    "trainer.accumulate_grad_batches": 1,
    "trainer.gradient_clip_val": 0,
    "trainer.limit_train_batches": 0,
    "trainer.limit_val_batches": 0,
    "trainer.limit_test_batches": 0,
    "trainer.limit_predict_batches": 0,
    "trainer.overfit_batches": 0,
    "trainer.num_sanity_val_steps": -1,
    "trainer.reload_dataloaders_every_n_epochs": 0,
    "trainer.num_nodes": 1,
    "trainer.fast_dev_run": 0,
}
"""The least value of each key that is a number; null leaves it to Lightning."""

NOT_EMPTY = {
    "runs": "name a folder",
    "monitor": "name a metric, such as val/loss, or null for none",
    "ckpt_path": "name a checkpoint or run folder",
}
"""Keys whose text says something, each with what to do instead."""

INSTEAD = {
    "gradient_clip_val": "gradient_clip_norm",
    "gradient_clip_algorithm": "gradient_clip_norm",
    "accumulate_grad_batches": "num_micro_batches",
}
"""Each key's counterpart among the arguments of a model that does without Lightning's own optimization."""


def check(config: Namespace) -> None:
    """Refuse values with which no run makes sense.

    Raises:
        UserError: names the key, its value and what there is.
    """
    _check_seed(config.seed_everything)
    for key, cure in NOT_EMPTY.items():
        value = config.get(key)
        if isinstance(value, str) and not value.strip():
            raise UserError(f"{key} is empty: {cure}")
    for key, least in LEAST.items():
        value = config.get(key)
        if isinstance(value, int | float) and not value >= least:
            raise UserError(f"{key} must be at least {least}, got {value}")
    if config.trainer.val_check_interval == 0:
        raise UserError("trainer.val_check_interval must be positive, got 0")
    _check_devices(config.trainer.devices)
    precision.check(config.trainer.precision)


def _check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        shown = str(seed).lower() if isinstance(seed, bool) else seed
        raise UserError(f"seed_everything must be a whole number from 0 to {LARGEST_SEED}, got {shown}")


def _check_devices(devices: Any) -> None:
    if not isinstance(devices, str) or devices == "auto":
        return
    parts = [part.strip() for part in devices.split(",") if part.strip()]
    if not parts or not all(part.removeprefix("-").isdecimal() for part in parts):
        raise UserError(
            f"trainer.devices={devices}: it is how many devices (2), which ones ([0, 2]), all there are (-1), or auto"
        )


def check_optimization(model: LightningModule, trainer: Mapping[str, Any]) -> None:
    """Refuse what Lightning would refuse, or pass over, under manual optimization; with the keys that do it.

    Args:
        model: the model that was built.
        trainer: the trainer's keys.

    Raises:
        UserError: such a key is set.
    """
    if model.automatic_optimization:
        return
    for key, argument in INSTEAD.items():
        value = trainer.get(key)
        if not value or (key == "accumulate_grad_batches" and value == 1):  # a clip of 0 is none
            continue
        cure = f"set model.{argument} instead" if hasattr(model, argument) else "leave it out"
        name = type(model).__name__
        raise UserError(
            f"trainer.{key}={value} has no effect on {name}, which does without Lightning's own optimization: {cure}"
        )
