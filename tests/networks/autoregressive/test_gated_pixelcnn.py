"""Gated PixelCNN: no blind spot, its gates, its two stacks."""

import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.gated_layer import Gates, RowsAboveConv2d
from lit_gen.networks.autoregressive.gated_pixelcnn import GatedPixelCNN


def seen_by(network: GatedPixelCNN, row: int, column: int, channel: int = 0) -> torch.Tensor:
    """(C, H, W) bool: the values on which a value's parameters depend."""
    x = torch.rand(1, *network.event_shape, dtype=torch.float64, requires_grad=True)
    params = network.double()(x)[0, :, channel, row, column]
    (gradient,) = torch.autograd.grad((params * torch.rand_like(params)).sum(), x)
    return gradient[0] != 0


def before(size: int, row: int, column: int) -> torch.Tensor:
    """(size, size) bool."""
    place = torch.arange(size * size).view(size, size)
    return place < place[row, column]


@pytest.mark.parametrize(("row", "column"), [(10, 3), (10, 0), (5, 5), (1, 0), (0, 4)])
def test_it_has_no_blind_spot(row, column):
    torch.manual_seed(0)
    network = GatedPixelCNN((1, 11, 11), channels=8, num_layers=10, first_kernel_size=3)
    assert torch.equal(seen_by(network, row, column)[0], before(11, row, column))


def test_what_it_sees_grows_as_a_rectangle_with_the_layers():
    torch.manual_seed(0)
    network = GatedPixelCNN((1, 11, 11), channels=8, num_layers=3, first_kernel_size=3)
    expected = torch.zeros(11, 11, dtype=torch.bool)
    expected[7:10, 2:9] = True
    expected[10, 2:5] = True
    assert torch.equal(seen_by(network, 10, 5)[0], expected)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_each_channel_sees_those_before_it(training):
    torch.manual_seed(0)
    network = GatedPixelCNN((3, 4, 4), params_per_output=5, channels=9, num_layers=3, head_channels=24).train(training)
    for channel in range(3):
        sees = seen_by(network, 2, 1, channel)
        assert sees[:, 2, 1].tolist() == [other < channel for other in range(3)]
        assert torch.equal(sees.any(0) & before(4, 2, 1), before(4, 2, 1))
        assert not (sees & ~before(4, 2, 1))[:, :2].any()


def test_by_pixel_it_sees_nothing_of_a_pixel_that_it_tells():
    torch.manual_seed(0)
    network = GatedPixelCNN((3, 4, 4), params_per_output=5, channels=8, num_layers=3, by_channel=False)
    assert torch.equal(seen_by(network, 2, 1), before(4, 2, 1).expand(3, 4, 4))


def test_its_gates_are_tanh_times_sigmoid():
    x = 4 * torch.randn(3, 10, 2, 5)
    content, gate = x.double().chunk(2, 1)
    expected = content.tanh() * gate.sigmoid()
    torch.testing.assert_close(Gates(5).double()(x.double()), expected)
    torch.testing.assert_close(Gates(5)(x), expected.float(), rtol=0.0, atol=5e-7)


@pytest.mark.parametrize("own_row", [False, True])
def test_the_vertical_stack_sees_the_rows_above_on_both_sides(own_row):
    layer = RowsAboveConv2d(1, 1, 5, own_row).double()
    x = torch.rand(1, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 0, 4, 3], x)
    expected = torch.zeros(7, 7, dtype=torch.bool)
    expected[2 : 5 if own_row else 4, 1:6] = True
    assert torch.equal(gradient[0, 0] != 0, expected)


def test_classes_change_both_stacks_everywhere():
    torch.manual_seed(0)
    network = GatedPixelCNN((1, 4, 4), channels=6, num_layers=3, head_channels=24, num_classes=2)
    x, label = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    same = network(x[:1].expand(2, -1, -1, -1), label)
    torch.testing.assert_close(same[0], same[1])  # zero at first: every class alike
    for biases in (network.vertical_biases, network.horizontal_biases):
        with torch.no_grad():
            biases.weight.normal_(std=0.3)
        told = network(x[:1].expand(2, -1, -1, -1), label)
        assert ((told[0] - told[1]).abs() > 1e-6).all()
        torch.nn.init.zeros_(biases.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 2}, "kernel_size is an odd number from 3, not 2"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"head_channels": 0}, "head_channels must be at least 1"),
        ({"event_shape": (3, 8, 8), "channels": 2}, "2 features cannot be divided among 3 channels"),
    ],
)
def test_it_refuses_what_cannot_be(arguments, message):
    with pytest.raises(UserError, match=message):
        GatedPixelCNN(**({"event_shape": (1, 8, 8)} | arguments))
