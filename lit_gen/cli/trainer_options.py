"""Options of Lightning's trainer that a model with an optimization of its own can't follow, and what does it there."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule

from lit_gen.errors import UserError

INSTEAD = {
    "gradient_clip_val": "gradient_clip_norm",
    "gradient_clip_algorithm": "gradient_clip_norm",
    "accumulate_grad_batches": "num_micro_batches",
}
"""Each option's counterpart among the arguments of a model that does without Lightning's own optimization."""


def check(model: LightningModule, options: Mapping[str, Any]) -> None:
    """Refuse what Lightning would refuse, or pass over, under manual optimization; with the keys that do it.

    Raises:
        UserError: such an option is set.
    """
    if model.automatic_optimization:
        return
    for option, argument in INSTEAD.items():
        value = options.get(option)
        if not value or (option == "accumulate_grad_batches" and value == 1):  # Lightning clips nothing at 0
            continue
        cure = f"set model.{argument} instead" if hasattr(model, argument) else "leave it out"
        name = type(model).__name__
        raise UserError(
            f"trainer.{option}={value} has no effect on {name}, which does without Lightning's own optimization: {cure}"
        )
