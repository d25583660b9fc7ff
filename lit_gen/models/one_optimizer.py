"""What most models return from ``configure_optimizers``."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau


def one_optimizer(
    parameters: Iterable[nn.Parameter], optimizer: OptimizerCallable, scheduler: LRSchedulerCallable | None
) -> Any:
    """One optimizer, with a schedule that counts its steps (``ReduceLROnPlateau`` watches val/loss) or without."""
    made = optimizer(parameters)
    if scheduler is None:
        return made
    schedule = {"scheduler": scheduler(made), "interval": "step"}
    if isinstance(schedule["scheduler"], ReduceLROnPlateau):
        schedule |= {"interval": "epoch", "monitor": "val/loss"}
    return {"optimizer": made, "lr_scheduler": schedule}
