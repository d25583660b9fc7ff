import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.layers.maxout import Maxout


def test_each_unit_is_the_largest_of_its_pieces():
    layer = Maxout(3, 2, num_pieces=4)
    x = torch.randn(5, 3)
    weight, bias = layer.pieces.weight.view(2, 4, 3), layer.pieces.bias.view(2, 4)
    for unit in range(2):
        pieces = torch.stack([x @ weight[unit, j] + bias[unit, j] for j in range(4)])
        torch.testing.assert_close(layer(x)[:, unit], pieces.max(0).values)


def test_two_pieces_make_an_absolute_value():
    layer = Maxout(1, 1, num_pieces=2)
    layer.pieces.weight.data = torch.tensor([[1.0], [-1.0]])
    nn.init.zeros_(layer.pieces.bias)
    x = torch.linspace(-2, 2, 9)[:, None]
    torch.testing.assert_close(layer(x), x.abs())


def test_its_gradient_can_be_differentiated_again():
    layer = Maxout(3, 2, num_pieces=3).double()
    assert torch.autograd.gradgradcheck(layer, torch.randn(4, 3, dtype=torch.float64, requires_grad=True))


def test_refuses_no_pieces():
    with pytest.raises(UserError, match="at least 1"):
        Maxout(3, 2, num_pieces=0)
