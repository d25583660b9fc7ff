"""Gradients are cleared as torch's own zero_grad does."""

import torch
from torch import nn

from lit_gen.models.gradients import clear_gradients


def with_gradients() -> nn.Linear:
    layer = nn.Linear(3, 2)
    layer(torch.ones(1, 3)).sum().backward()
    return layer


def test_every_group_is_cleared_and_nothing_else():
    ours, other = with_gradients(), with_gradients()
    clear_gradients(torch.optim.SGD([{"params": [ours.weight]}, {"params": [ours.bias]}], 0.1))
    assert ours.weight.grad is None and ours.bias.grad is None
    assert other.weight.grad is not None


class KeepsZeros(torch.optim.SGD):
    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none=False)


def test_an_optimizer_with_a_way_of_its_own_is_left_to_it():
    layer = with_gradients()
    clear_gradients(KeepsZeros(layer.parameters(), 0.1))
    assert torch.equal(layer.weight.grad, torch.zeros(2, 3))

    layer = with_gradients()
    optimizer, called = torch.optim.SGD(layer.parameters(), 0.1), []
    optimizer.zero_grad = lambda: called.append("zero_grad")
    clear_gradients(optimizer)
    assert called == ["zero_grad"] and layer.weight.grad is not None
