"""Steps of an optimizer as functions of the weights they start from, so that gradients pass through them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer, Rprop

from lit_gen.distributed import mean_over_ranks
from lit_gen.errors import UserError
from lit_gen.models.gradients import parameters_of


def check_differentiable(optimizer: Optimizer) -> None:
    """Refuse an optimizer whose steps torch cannot differentiate, or have no derivative but 0 (Rprop's, of signs).

    Raises:
        UserError: it is one.
    """
    if "differentiable" not in optimizer.defaults or isinstance(optimizer, Rprop):
        raise UserError(
            f"{type(optimizer).__name__}'s steps cannot be differentiated, as looking ahead does: take one of "
            f"torch.optim with a 'differentiable' argument, such as Adam, SGD or RMSprop"
        )


def look_ahead(optimizer: Optimizer, loss: Callable[[list[Tensor]], Tensor], num_steps: int) -> list[Tensor]:
    """Where an optimizer's parameters would be after so many more steps; the optimizer itself and they are left alone.

    Steps start from the optimizer's present state (its moments, learning rates, weight decay), and the result is
    differentiable through all of them. The graphs of ``num_steps`` losses and steps are kept until it is let go of.

    Args:
        optimizer: whose steps.
        loss: a list of tensors in the parameters' places -> the scalar to minimise. Over several processes its
            gradient is averaged, differentiably, as the optimizer's own is.
        num_steps: how many.

    Returns:
        Tensors in the order of the optimizer's parameters.
    """
    copy = _copy_of(optimizer)
    tensors = parameters_of(copy)
    for _ in range(num_steps):
        gradients = torch.autograd.grad(loss(tensors), tensors, create_graph=True, allow_unused=True)
        # A step works in place, on copies, since the graph still needs what it was built on.
        moved = [tensor.clone() for tensor in tensors]
        _take_over(copy, moved)
        for tensor, gradient in zip(moved, mean_over_ranks(gradients), strict=True):
            if gradient is not None:
                tensor.retain_grad()  # lets a tensor that is no leaf have a gradient without a warning
                tensor.grad = _off_zero(gradient)
        _begin_momentum(copy)
        with _double_by_default():
            type(copy).step(copy)
        tensors = moved
    return tensors


def _off_zero(gradient: Tensor) -> Tensor:
    """The gradient with a tiny number in the place of each zero.

    The root of a second moment that is zero, as of a unit that never fires, has no derivative. The number's square is
    just above the least that the precision holds, so that no step is felt to be another: Adam's is lr / eps of it.
    """
    least = 100 * torch.finfo(gradient.dtype).tiny ** 0.5
    return gradient + (gradient == 0).to(gradient.dtype) * least


def _copy_of(optimizer: Optimizer) -> Optimizer:
    """One with the same settings and state on tensors of its own that have begun a graph."""
    changed: dict[str, Any] = {"differentiable": True, "foreach": False, "fused": False}
    known = {name: value for name, value in changed.items() if name in optimizer.defaults}
    groups = []
    state = {}
    for group in optimizer.param_groups:
        starts = [parameter.detach().clone().requires_grad_() for parameter in group["params"]]
        groups.append(group | known | {"params": starts})
        state |= dict(zip(starts, (optimizer.state.get(p, {}) for p in group["params"]), strict=True))
    copy = type(optimizer).__new__(type(optimizer))
    copy.__setstate__({"defaults": optimizer.defaults | known, "state": state, "param_groups": groups})
    return copy


def _take_over(optimizer: Optimizer, tensors: Sequence[Tensor]) -> None:
    """Put tensors in the parameters' places, with copies of their state."""
    place = iter(tensors)
    state = {}
    for group in optimizer.param_groups:
        own = [next(place) for _ in group["params"]]
        for before, after in zip(group["params"], own, strict=True):
            state[after] = {name: _copied(name, value) for name, value in optimizer.state.get(before, {}).items()}
        group["params"] = own
    optimizer.state.clear()
    optimizer.state.update(state)


def _copied(name: str, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    # It goes into bias corrections, which torch takes in double precision where it is a number.
    return value.to(torch.float64, copy=True) if name == "step" else value.clone()


@contextmanager
def _double_by_default() -> Iterator[None]:
    """An optimizer begins its count of steps in the default precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _begin_momentum(optimizer: Optimizer) -> None:
    """Give SGD's first step the momentum from which it is what it should be, with its gradient.

    Torch begins with a copy of the first gradient that has been cut off from the graph.
    """
    if not isinstance(optimizer, SGD):
        return
    for group in optimizer.param_groups:
        momentum, dampening = group["momentum"], group["dampening"]
        for tensor in group["params"]:
            if momentum == 0 or tensor.grad is None or optimizer.state[tensor].get("momentum_buffer") is not None:
                continue
            direction = -tensor.grad if group["maximize"] else tensor.grad
            direction = direction + group["weight_decay"] * tensor
            # momentum * buffer + (1 - dampening) * direction, which is then taken, is the direction itself.
            optimizer.state[tensor]["momentum_buffer"] = direction * (dampening / momentum)
