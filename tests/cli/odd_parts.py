"""Parts that go wrong, each in its own way and at its own time, for configs of the tests."""

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from lit_gen.data import Digits
from lit_gen.networks import MLP


class NoConstructor(MLP):
    """Raises in its constructor an error of a type that nobody expects."""

    def __init__(self, in_shape: list[int], out_shape: int, depth: int = 1) -> None:
        raise LookupError(f"no recipe for a depth of {depth}")


class Silent(MLP):
    """Raises in its constructor an error without a word."""

    def __init__(self, in_shape: list[int], out_shape: int) -> None:
        raise AssertionError


class NoForward(MLP):
    """Raises in its forward pass an error of a type that nobody expects."""

    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("scale")


class NoRecipe(nn.Module):
    """A likelihood that raises as soon as it is asked."""

    def forward(self, params: Tensor) -> Tensor:
        raise ZeroDivisionError("division of nothing")


class NoSetup(Callback):
    """Raises as the run is set up."""

    def setup(self, trainer, pl_module, stage: str) -> None:
        raise OverflowError("too many colours")


class NoTrainStart(Callback):
    """Raises just before the first epoch."""

    def on_train_start(self, trainer, pl_module) -> None:
        raise AssertionError("not on a Friday")


class NoStep(Callback):
    """Raises in the first step: what a bug in the loop looks like."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx: int) -> None:
        raise ZeroDivisionError("in the loop")


class NoReading(Digits):
    """Data that can't be read, for a reason of another library's."""

    def read(self):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


class NoLoader(Digits):
    """Data without a loader for training."""

    def train_dataloader(self):
        raise NotImplementedError("no loader today")


def no_rate(step: int) -> float:
    """A schedule's factor that is no number."""
    return float("nan")


def negative_rate(step: int) -> float:
    """A schedule's factor that climbs the hill."""
    return -1.0


class OnlyDoubles(Callback):
    """Raises where a batch, or what the model makes of it, is not in double precision."""

    def _check(self, *values: Tensor) -> None:
        assert all(value.dtype == torch.float64 for value in values if value.is_floating_point())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        self._check(batch.x, *outputs.values(), *pl_module.parameters())

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._check(batch.x, *(outputs or {}).values(), *pl_module.parameters())


class Interrupted(Callback):
    """Stands for the person who presses Ctrl-C in the first step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx: int) -> None:
        raise KeyboardInterrupt
