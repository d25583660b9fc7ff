"""What the steppers of PixelCNNs and PixelRNNs share: rows of the image, and masked convolutions taken apart."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.networks.layers.masked_conv import MaskedConv2d

FEW_IMAGES = 64
"""Up to as many images a CPU is faster with the matrix products of one pixel on one thread than on several."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep what a CPU computes inside to one thread."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


class PixelStepper:
    """Base of steppers that go by rows from the top, from left to right, and of each pixel channel by channel.

    Of the image it keeps the row that is being told and as many above it as the first layer sees. A subclass writes
    ``begin_row``, ``end_pixel`` and ``tell``.

    Args:
        network: whose cells are told.
        num: number N of images.
        reach: how many rows above, and columns to the left, the first layer sees.
    """

    def __init__(self, network: OrderedNetwork, num: int, reach: int) -> None:
        channels, _, self.width = network.event_shape
        self.num_groups = network.cell_shape[0]
        self.values_per_cell = channels // self.num_groups
        self.reach = reach
        self.minus_one = next(network.parameters()).new_tensor(-1.0)
        self.row = self.minus_one.new_zeros(num, reach + self.width, channels)
        self.rows_above = self.minus_one.new_zeros(num, reach, self.width + 2 * reach, channels)
        on_cpu = self.row.device.type == "cpu"
        self.threads = one_thread if on_cpu and num <= FEW_IMAGES else nullcontext
        self.done = 0

    @torch.no_grad()
    def __call__(self, previous: Tensor | None) -> Tensor:
        """The values (N, G) of the cell before -> the parameters (N, P) of the next."""
        if previous is not None:
            self._keep(previous)
        pixel, group = divmod(self.done, self.num_groups)
        column = pixel % self.width
        if group == 0 and pixel > 0:
            self.end_pixel((pixel - 1) % self.width)
        if group == 0 and column == 0:
            self._begin_row()
        self.done += 1
        with self.threads():
            return self.tell(column, group)

    def _keep(self, previous: Tensor) -> None:
        pixel, group = divmod(self.done - 1, self.num_groups)
        first = group * self.values_per_cell
        slot = self.row[:, self.reach + pixel % self.width, first : first + self.values_per_cell]
        torch.add(self.minus_one, previous, alpha=2, out=slot)  # from [0, 1] to [-1, 1]

    def _begin_row(self) -> None:
        shift(self.rows_above, 1)
        self.rows_above[:, -1, self.reach : -self.reach] = self.row[:, self.reach :]
        self.row.zero_()
        self.begin_row(self.rows_above.permute(0, 3, 1, 2))

    def window(self, column: int, size: int) -> Tensor:
        """(N, size): the pixels to the left of a column that the first layer sees and, as far as the size goes, the
        channels of its own pixel."""
        first = column * self.row.shape[2]
        return self.row.flatten(1)[:, first : first + size]

    def begin_row(self, above: Tensor) -> None:
        """All columns at once, from the rows above: (N, C, reach, reach + W + reach), zero beside the image."""
        raise NotImplementedError

    def end_pixel(self, column: int) -> None:
        """All groups of a pixel are told."""
        raise NotImplementedError

    def tell(self, column: int, group: int) -> Tensor:
        """The parameters (N, P) of a cell."""
        raise NotImplementedError


def shift(buffer: Tensor, dim: int) -> None:
    """Move what stands along a dimension towards its beginning by one; the last place keeps what it has."""
    for place in range(buffer.shape[dim] - 1):
        buffer.select(dim, place).copy_(buffer.select(dim, place + 1))


class MaskedConvByGroup:
    """A masked convolution taken apart for steps, its outputs ordered by group.

    Args:
        layer: the convolution.
        num: number N of images.
        width: columns of an image.
        bias: (N, out_channels) that is added to the layer's own; None for nothing.
        scale: (out_channels,) by which outputs are multiplied; None for nothing.

    Attributes:
        weights: for each group (rows, n), what ``RowTaps`` says.
        context: (N, width, out_channels), of the row that is told what lies above, and the bias.
        contexts: for each column and group a view (N, n) of it.
    """

    def __init__(
        self, layer: MaskedConv2d, num: int, width: int, bias: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        taps = layer.row_taps()
        scale = layer.weight.new_ones(layer.out_channels) if scale is None else scale
        self.by_group = torch.cat([features for features, _ in taps])
        self.scale = scale[self.by_group]
        self.weights = [weight * scale[features] for features, weight in taps]
        self.weight_above = layer.weight_above.detach()[self.by_group] * self.scale.view(-1, 1, 1, 1)
        bias = layer.bias.detach() + (layer.weight.new_zeros(num, 1) if bias is None else bias.detach())
        self.bias = (bias[:, self.by_group] * self.scale).unsqueeze(1)  # (N, 1, out_channels)
        self.context = layer.weight.new_zeros(num, width, layer.out_channels)
        sizes = [len(features) for features, _ in taps]
        self.contexts = [self.context[:, column].split(sizes, 1) for column in range(width)]

    def look_up(self, above: Tensor) -> None:
        """Fill in the context from the rows above, (N, in_channels, rows, width with margins)."""
        self.set_context(F.conv2d(above, self.weight_above))

    def set_context(self, from_above: Tensor) -> None:
        """Fill in the context from what lies above, (N, out_channels, 1, width)."""
        torch.add(from_above.squeeze(2).transpose(1, 2), self.bias, out=self.context)
