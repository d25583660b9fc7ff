"""PixelCNN: its shape, its blind spot, and networks that only look like one."""

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.models.autoregressive.causality import check_causality
from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.networks.autoregressive.pixelcnn import PixelCNN
from lit_gen.networks.layers.masked_conv import MaskedConv2d


def seen_by(network: OrderedNetwork, row: int, column: int, channel: int = 0) -> torch.Tensor:
    """(C, H, W) bool: the values on which a value's parameters depend."""
    x = torch.rand(1, *network.event_shape, dtype=torch.float64, requires_grad=True)
    params = network.double()(x)[0, :, channel, row, column]
    (gradient,) = torch.autograd.grad((params * torch.rand_like(params)).sum(), x)
    return gradient[0] != 0


def test_stacked_masks_leave_a_blind_spot_that_no_depth_removes():
    torch.manual_seed(0)
    size, row, column = 11, 10, 3
    network = PixelCNN((1, size, size), channels=8, num_blocks=20, first_kernel_size=3)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    before = (rows < row) | ((rows == row) & (columns < column))
    # Each row that a 3 x 3 mask rises, it gets one column to the right: what lies beyond that diagonal is never seen.
    blind = columns - column > row - rows
    assert (before & blind).sum() == 21
    assert torch.equal(seen_by(network, row, column)[0], before & ~blind)


def test_a_wide_kernel_pushes_the_blind_spot_out():
    torch.manual_seed(0)
    network = PixelCNN((1, 7, 7), channels=8, num_blocks=3, kernel_size=7, first_kernel_size=13)
    assert seen_by(network, 6, 0)[0, :6].all()  # a pixel at the edge sees all of the row above, however far right


def test_the_recipe_for_mnist_has_seven_by_seven_then_fifteen_blocks():
    network = PixelCNN((1, 28, 28))
    assert tuple(network.first.weight.shape) == (32, 1, 4, 7)
    assert len(network.blocks) == 15
    assert [tuple(layer.weight.shape) for layer in network.blocks[0].children()] == [
        (16, 32, 1, 1),
        (16, 16, 2, 3),
        (32, 16, 1, 1),
    ]


def test_each_channel_has_parameters_of_its_own_in_their_order():
    torch.manual_seed(0)
    network = PixelCNN((3, 4, 4), params_per_output=5, channels=9, num_blocks=2, head_channels=12)
    for channel in range(3):
        sees = seen_by(network, 2, 1, channel)
        assert sees[:, 2, 1].tolist() == [other < channel for other in range(3)]
        assert sees[:, 2, 0].all()
        assert sees[:, 1, 1].all()
    by_pixel = PixelCNN((3, 4, 4), params_per_output=5, channels=9, num_blocks=2, by_channel=False)
    sees = seen_by(by_pixel, 2, 1)
    assert not sees[:, 2, 1].any()
    assert sees[:, 2, 0].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "kernel_size is an odd number from 3, not 4"),
        ({"first_kernel_size": 1}, "first_kernel_size is an odd number from 3, not 1"),
        ({"num_blocks": 0}, "num_blocks must be at least 1"),
        ({"event_shape": (3, 8, 8), "channels": 2}, "2 features cannot be divided among 3 channels"),
        ({"event_shape": 64}, "images"),
    ],
)
def test_it_refuses_what_cannot_be(arguments, message):
    with pytest.raises(UserError, match=message):
        PixelCNN(**({"event_shape": (1, 8, 8)} | arguments))


class Stack(OrderedNetwork):
    """Layers that only claim to keep to an order."""

    def __init__(self, *layers: nn.Module, event_shape=(1, 6, 6)) -> None:
        super().__init__(event_shape)
        self.layers = nn.Sequential(*layers)

    def forward(self, x, label=None, order=0):
        return self.layers(x).unsqueeze(1)


class SeesTheOthers(nn.Module):
    """Batch statistics of all positions, without anything learned."""

    def forward(self, x):
        return (x - x.mean((0, 2, 3), keepdim=True)) * torch.rsqrt(x.var((0, 2, 3), keepdim=True) + 1e-5)


def masked(mask: str, *channels: int, num_groups: int = 1) -> MaskedConv2d:
    return MaskedConv2d(*channels, 5, mask, num_groups)


IMPOSTORS = {
    "mask B in the first layer, which shows the pixel": Stack(masked("B", 1, 8), nn.ReLU(), masked("B", 8, 1)),
    "a kernel that sees two pixels to the right": Stack(
        masked("A", 1, 8), nn.ReLU(), nn.Conv2d(8, 1, (1, 5), padding=(0, 2))
    ),
    "a kernel that sees the rows below": Stack(masked("A", 1, 8), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)),
    "batch norm, whose statistics in training are those of later pixels too": Stack(
        masked("A", 1, 8), nn.BatchNorm2d(8), nn.ReLU(), masked("B", 8, 1)
    ),
    "statistics of all positions in the end": Stack(masked("A", 1, 8), nn.ReLU(), masked("B", 8, 1), SeesTheOthers()),
    "channels without an order, in the first layer": Stack(
        masked("B", 3, 9, num_groups=3), nn.ReLU(), masked("B", 9, 3, num_groups=3), event_shape=(3, 6, 6)
    ),
    "channels without an order, in the second": Stack(
        masked("A", 3, 9, num_groups=3), nn.ReLU(), masked("B", 9, 3), event_shape=(3, 6, 6)
    ),
}


@pytest.mark.parametrize("what", IMPOSTORS)
def test_what_only_looks_like_a_pixelcnn_is_refused(what):
    with pytest.raises(UserError, match="sees what it is to tell"):
        check_causality(IMPOSTORS[what], None, torch.device("cpu"))


def test_what_is_one_is_not_refused():
    grey = Stack(masked("A", 1, 8), nn.ReLU(), masked("B", 8, 1))
    colour = Stack(masked("A", 3, 9, num_groups=3), nn.ReLU(), masked("B", 9, 3, num_groups=3), event_shape=(3, 6, 6))
    for network in (grey, colour, PixelCNN((1, 6, 6), channels=4, num_blocks=2)):
        check_causality(network, None, torch.device("cpu"))


def test_channels_without_an_order_see_too_little_but_not_what_they_tell():
    colour = Stack(masked("A", 3, 8), nn.ReLU(), masked("B", 8, 3), event_shape=(3, 6, 6))
    check_causality(colour, None, torch.device("cpu"))
    assert not seen_by(colour, 3, 3)[:, 3, 3].any()
