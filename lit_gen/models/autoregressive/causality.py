"""Whether a network sees what it may, and only that."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.randomness import make_generator

NUM_TRIED = 3
"""Cells whose gradients are looked at: the last, one in the middle, and one between."""


def check_causality(network: nn.Module, label: Tensor | None, device: torch.device) -> None:
    """Refuse a network that sees a cell which it is to tell, or none of those before it.

    Looked at is the gradient of a few cells' parameters by the example, in training mode, with random weights in the
    place of those it has (layers that start at zero would hide what they let through).

    Args:
        network: as ``networks.autoregressive.base.AutoregressiveNetwork``.
        label: (2,) class indices, where it is conditioned on them.
        device: where to try it.

    Raises:
        UserError: it does.
    """
    trial = _at_random(network).to(device).train()
    called = type(network).__name__
    for number in range(min(network.num_orders, NUM_TRIED)):
        order = network.order(number)
        count = len(order)
        place = torch.empty(count, dtype=torch.long)
        place[order] = torch.arange(count)
        for at in sorted({count - 1, count // 2, count // 4} - {0}):
            cell = int(order[at])
            seen = _seen(lambda x, number=number: trial(x, label, number), network, cell, device)  # (S,)
            if seen[place >= at].any():
                raise UserError(
                    f"this {called} sees what it is to tell: the parameters of cell {cell} of {network.cell_shape} "
                    "depend on it or on one behind it in the order, so its likelihood would be none"
                )
            if at == count - 1 and not seen.any():
                raise UserError(
                    f"this {called}'s receptive field misses the image: the last of its {count} cells sees none of the "
                    "others; take a larger kernel, or more layers"
                )


def _at_random(network: nn.Module) -> nn.Module:
    trial = copy.deepcopy(network)
    generator = make_generator("causality")
    with torch.no_grad():
        for parameter in trial.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return trial


def _seen(forward: Callable[[Tensor], Tensor], network: nn.Module, cell: int, device: torch.device) -> Tensor:
    """(S,) bool on the CPU: the cells on which the parameters of ``cell`` depend in a batch of two examples."""
    x = torch.rand(2, *network.event_shape, generator=make_generator("causality", cell)).to(device).requires_grad_()
    with torch.enable_grad():
        params = forward(x).flatten(2)[:, :, cell]
        weights = torch.rand(params.shape, generator=make_generator("causality weights")).to(params)
        (gradient,) = torch.autograd.grad((params * weights).sum(), x, allow_unused=True)
    if gradient is None:
        return torch.zeros(network.num_cells, dtype=torch.bool)
    return (gradient.reshape(2, network.values_per_cell, -1) != 0).any(1).any(0).cpu()
