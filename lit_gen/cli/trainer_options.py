"""Options of Lightning's trainer that a model with an optimization of its own can't follow, and what does it there."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule

from lit_gen.errors import UserError

INSTEAD = {
    "gradient_clip_val": ("clips gradients", "gradient_clip_norm"),
    "gradient_clip_algorithm": ("clips gradients by their norm", "gradient_clip_norm"),
    "accumulate_grad_batches": ("goes through a batch in slices", "num_micro_batches"),
}
"""Each option's purpose in a model that steps its optimizers itself, and the model's own argument for it."""


def check(model: LightningModule, options: Mapping[str, Any]) -> None:
    """Refuse what Lightning would refuse, or pass over, under manual optimization; with the keys that do it.

    Raises:
        UserError: such an option is set.
    """
    if model.automatic_optimization:
        return
    for option, (purpose, argument) in INSTEAD.items():
        value = options.get(option)
        if value not in (None, 1 if option == "accumulate_grad_batches" else None):
            name = type(model).__name__
            cure = f"{name} {purpose} by model.{argument}" if hasattr(model, argument) else f"{name} has nothing like it"
            raise UserError(f"trainer.{option}={value} is for models with one optimizer stepped by Lightning; {cure}")
