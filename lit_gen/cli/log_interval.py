"""How often a training is logged where the config leaves it open."""

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_gen.cli.shortened import batches_of_epoch, planned_batches

MOST = 50
ROWS = 10
"""That a training has at least, if it has as many steps."""


class LogInterval(Callback):
    """Sets ``trainer.log_every_n_steps`` when the training begins: a tenth of the planned steps, from 1 to 50.

    So a short training is logged too, and has curves. A run that goes on where it was killed has the same plan, and
    with it the same interval. Training without an end that is known beforehand is logged every 50 steps.

    Args:
        config: the trainer's, which says how long the training is.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = planned_batches(self.config, batches_of_epoch(trainer))
        trainer.log_every_n_steps = interval(batches / trainer.accumulate_grad_batches)


def interval(steps: float) -> int:
    """Steps from one logged step to the next in a training of so many steps, which may be infinite.

    >>> [interval(steps) for steps in (1, 19, 85, 3400, math.inf)]
    [1, 1, 8, 50, 50]
    """
    return max(1, int(min(steps // ROWS, MOST))) if math.isfinite(steps) else MOST
