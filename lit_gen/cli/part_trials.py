"""Trying an optimizer and a learning-rate schedule on a parameter that is thrown away, before any training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_gen.errors import UserError
from lit_gen.ranges import check_at_least

_COUNTS = ("step_size", "T_max", "T_0", "T_mult", "total_iters", "total_steps", "step_size_up", "step_size_down")
"""Counts of steps among the arguments of torch's schedules, which takes most of them as they come."""


def try_optimizer(optimizer: Optimizer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Take one step with another optimizer of that class, on dense gradients such as our networks have.

    Args:
        optimizer: the optimizer, which stays as it is.
        args: what it was made with, after the parameters.
        kwargs: what it was made with by name.

    Raises:
        Exception: whatever the optimizer raises: ``SparseAdam``, for one, does so at its first step.
    """
    parameter = _stand_in(optimizer)
    trial = type(optimizer)([parameter], *args, **kwargs)

    def closure() -> Tensor:
        trial.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss.detach()

    with torch.enable_grad():
        trial.step(closure)


def try_scheduler(scheduler: LRScheduler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Take one step of another schedule of that class, on an optimizer that is thrown away.

    Args:
        scheduler: the schedule, which stays as it is.
        args: what it was made with, after the optimizer.
        kwargs: what it was made with by name.

    Raises:
        UserError: a count of steps below 1, or a learning rate that is negative or not finite.
        Exception: whatever the schedule raises.
    """
    counts = {name: kwargs[name] for name in _COUNTS if isinstance(kwargs.get(name), int | float)}
    check_at_least(type(scheduler).__name__, 1, **counts)
    optimizer = _like(scheduler.optimizer)
    trial = type(scheduler)(optimizer, *args, **kwargs)
    _check_rate(trial)
    optimizer.step()  # torch warns of a schedule that steps before its optimizer
    trial.step(*([1.0] if isinstance(trial, ReduceLROnPlateau) else []))
    _check_rate(trial)


def _check_rate(scheduler: LRScheduler) -> None:
    rate = float(scheduler.optimizer.param_groups[0]["lr"])
    if not (rate >= 0 and math.isfinite(rate)):
        raise UserError(
            f"{type(scheduler).__name__} makes a learning rate of {rate:g}: it must be at least 0, and finite"
        )


def _stand_in(optimizer: Optimizer) -> nn.Parameter:
    """A small matrix where the optimizer's first parameter lies."""
    first = optimizer.param_groups[0]["params"][0]
    return nn.Parameter(torch.ones(2, 2, dtype=first.dtype, device=first.device))


def _like(optimizer: Optimizer) -> Optimizer:
    """An optimizer of one parameter, with the options of ``optimizer`` that schedules read and set."""
    trial = torch.optim.SGD([_stand_in(optimizer)], lr=0.1)
    trial.defaults = dict(optimizer.defaults)
    trial.param_groups[0].update({name: value for name, value in optimizer.param_groups[0].items() if name != "params"})
    return trial
