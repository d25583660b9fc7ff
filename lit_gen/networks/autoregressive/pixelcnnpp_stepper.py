"""PixelCNN++ pixel by pixel.

After Ramachandran et al., Fast Generation for Convolutional Autoregressive Models (2017), Section 2,
https://arxiv.org/abs/1704.06001: each convolution keeps the inputs that later pixels need, at its own resolution, and
is computed when its stride says so. Beyond that, what depends on finished rows alone is computed once a row, for the
whole row and all blocks at once: the first stream, and the share of the second stream's convolutions that falls on
the row above. A pixel then costs the second stream's column and the one on the left of it, by matrix products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.networks.autoregressive.pixelcnnpp_lines import BlocksOnLines, LineLayout

if TYPE_CHECKING:
    from lit_gen.networks.autoregressive.pixelcnnpp import PixelCNNpp


class PixelCNNppStepper:
    """A ``protocols.Stepper`` of a PixelCNN++.

    Args:
        network: in evaluation mode.
        num: number of examples.
        label: (num,) class indices, where the network is conditioned on them.
    """

    def __init__(self, network: PixelCNNpp, num: int, label: Tensor | None) -> None:
        with torch.no_grad():
            self._prepare(network, num, label)
        self.done = 0

    def _prepare(self, network: PixelCNNpp, num: int, label: Tensor | None) -> None:
        channels, _, self.width = network.event_shape
        self.resolution = _Resolution(network.levels, num, self.width, label)
        self.above_weight, self.above_bias = network.first_above.weight, network.first_above.bias
        upper, lower = network.first_left.weight.unbind(2)  # (C, channels + 1, 1) each
        self.start_weight = network.first_left_above.weight.clone()
        self.start_weight[:, :, 0, :1] += upper  # both see the pixel above and on the left
        self.start_bias = network.first_left_above.bias + network.first_left.bias
        self.left_weight = lower[:, :, 0].T.contiguous()
        self.last_weight = network.last.weight[:, :, 0, 0].T.contiguous()
        self.last_bias = network.last.bias
        self.minus_one = self.last_bias.new_full((), -1.0)
        # Pixels in [-1, 1], with the channel of ones, and a column of zeros on either side.
        self.rows_above = self.last_bias.new_zeros(num, channels + 1, 2, self.width + 2)
        self.row = self.last_bias.new_zeros(num, self.width + 2, channels + 1)
        self.row[:, 1:-1, -1] = 1.0
        self.pixels = [column[:, :channels] for column in self.row[:, 1:-1].unbind(1)]

    def __call__(self, previous: Tensor | None) -> Tensor:
        """The channels (N, G) of the pixel before -> the parameters (N, P) of the next."""
        y, x = divmod(self.done, self.width)
        self.done += 1
        if previous is not None:
            torch.add(self.minus_one, previous, alpha=2, out=self.pixels[x - 1])
        if x == 0:
            self._begin_row(y)
        left = self.starts[x]
        if x > 0:
            left[:, 0].addmm_(self.row[:, x], self.left_weight)
        self.resolution.tell(y, x, left)
        return torch.addmm(self.last_bias, self.resolution.told[x], self.last_weight)

    def _begin_row(self, y: int) -> None:
        if y > 0:
            self.rows_above[:, :, 0] = self.rows_above[:, :, 1]
            self.rows_above[:, :, 1] = self.row.movedim(2, 1)
        above = F.conv2d(self.rows_above, self.above_weight, self.above_bias)
        self.resolution.begin_row(y, _channels_last(above))
        start = F.conv2d(self.rows_above[:, :, 1:], self.start_weight, self.start_bias)
        self.starts = _channels_last(start).unbind(1)  # (N, 1, C) each


class _Resolution:
    """Both streams at one resolution and, in ``lower``, below it. Rows are begun from the top, and their pixels told
    from left to right."""

    def __init__(self, levels: nn.ModuleList, num: int, width: int, label: Tensor | None) -> None:
        level, *lower = levels
        layout = LineLayout(num, width)
        self.down_above = BlocksOnLines(level.down_above, layout, label, downward=True)
        self.down_left = BlocksOnLines(level.down_left, layout, label, downward=True)
        self.up_above = BlocksOnLines(level.up_above, layout, label, downward=False)
        self.up_left = BlocksOnLines(level.up_left, layout, label, downward=False)
        self.down_row, self.up_row = self.down_above.over_row(), self.up_above.over_row()
        self.down_columns, self.up_columns = self.down_left.over_columns(), self.up_left.over_columns()
        # What blocks on the way back hear of the way down, all of them at once.
        count = len(level.up_left)
        self.above_then = self.down_above.features[:count]
        self.left_then = layout.inside(self.down_left.features[:count]).unbind(2)  # (B, N, 2 C) each
        self.hear_left_then = layout.inside(self.up_left.first.sums).unbind(2)  # (B, N, C) each
        self.of_above, self.of_left_then = self.up_left.beside.split(self.up_left.beside.shape[1] // 2, 1)
        self.told = [column[:, : column.shape[1] // 2] for column in layout.inside(self.up_left.features[0]).unbind(1)]
        self.lower = _Resolution(levels[1:], num, (width + 1) // 2, label) if lower else None
        if lower:
            self.resampled_rows = _ResampledRows(level, layout)
            self.resampled = _ResampledPixels(level, layout)

    def begin_row(self, y: int, above: Tensor) -> Tensor:
        """Compute all that row y has of the rows above it.

        Args:
            y: the row.
            above: (N, W, 1, C), the first stream in it on the way down; changed in place.

        Returns:
            (N, W, 1, C), the same on the way back.
        """
        for blocks in (self.down_above, self.down_left, self.up_above, self.up_left):
            blocks.begin_row()
        self.down_row(above)
        self.down_left.first.sums.baddbmm_(self.down_above.outputs, self.down_left.beside)
        self.up_above.first.sums.baddbmm_(self.above_then, self.up_above.beside)
        if self.lower is not None:
            self.resampled_rows.keep(y, above)
            if y % 2 == 0:
                self.resampled_rows.double(self.lower.begin_row(y // 2, self.resampled_rows.halved()))
            above = self.resampled_rows.doubled[y % 2]
        self.up_row(above)
        self.up_left.first.sums.baddbmm_(self.up_above.outputs, self.of_above)
        return above

    def tell(self, y: int, x: int, left: Tensor) -> Tensor:
        """Compute the second stream at a pixel.

        Args:
            y: its row.
            x: its column.
            left: (N, 1, C), the second stream there on the way down; changed in place.

        Returns:
            (N, 1, C), the same on the way back, whose ELU (N, C) is ``told[x]``.
        """
        self.down_columns[x](left)
        self.hear_left_then[x].baddbmm_(self.left_then[x], self.of_left_then)
        if self.lower is not None:
            self.resampled.keep(y, x, left)
            if y % 2 == 0 and x % 2 == 0:
                self.resampled.double(x, self.lower.tell(y // 2, x // 2, self.resampled.halved(x)))
            left = self.resampled.doubled[y % 2][x]
        self.up_columns[x](left)
        return left


class _ResampledRows:
    """The first stream's way to half the resolution and back, row by row."""

    def __init__(self, level: nn.Module, layout: LineLayout) -> None:
        self.halve = level.halve_above.weight, level.halve_above.bias
        self.undo = level.double_above.weight, level.double_above.bias
        self.columns = slice(level.double_above.left, level.double_above.left + layout.width)
        self.rows = self.halve[1].new_zeros(layout.num, len(self.halve[1]), 2, layout.width + 2)  # y - 1, y of even y

    def keep(self, y: int, above: Tensor) -> None:
        """Keep row y, (N, W, 1, C)."""
        self.rows[:, :, (y + 1) % 2, 1:-1] = above.squeeze(2).movedim(2, 1)

    def halved(self) -> Tensor:
        """The row of half the resolution below the two rows that are kept, (N, (W + 1) // 2, 1, C)."""
        return _channels_last(F.conv2d(self.rows, *self.halve, stride=2))

    def double(self, above: Tensor) -> None:
        """Compute both rows ``doubled``, (N, W, 1, C) each, of one of half the resolution."""
        rows = F.conv_transpose2d(above.permute(0, 3, 2, 1), *self.undo, stride=2)[..., self.columns]
        self.doubled = [_channels_last(row) for row in rows.split(1, 2)]


class _ResampledPixels:
    """The second stream's way to half the resolution and back, pixel by pixel.

    Squares of pixels that a strided convolution sees, and those that a transposed one tells, lie side by side: a square
    costs one matrix product.
    """

    def __init__(self, level: nn.Module, layout: LineLayout) -> None:
        columns = range(layout.width)
        channels, half = len(level.halve_left.bias), (layout.width + 1) // 2
        seen = level.halve_left.bias.new_zeros(layout.num, half + 1, 2, 2, channels)  # (y - 1, y) by (x - 1, x)
        self.squares = seen.flatten(2).unbind(1)  # (N, 4 C) each
        self.places = [[seen[:, (x + 1) // 2, row, (x + 1) % 2, None] for x in columns] for row in (1, 0)]
        self.halve_bias = level.halve_left.bias
        self.halve_weight = level.halve_left.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 C, C)
        told = torch.zeros_like(seen)  # (y, y + 1) by (x, x + 1)
        self.told = told.flatten(2).unbind(1)
        self.doubled = [[told[:, x // 2, row, x % 2, None] for x in columns] for row in (0, 1)]  # (N, 1, C) each
        self.double_bias = level.double_left.bias.repeat(4)
        self.double_weight = level.double_left.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 4 C)

    def keep(self, y: int, x: int, left: Tensor) -> None:
        """Keep a pixel (N, 1, C)."""
        self.places[y % 2][x].copy_(left)

    def halved(self, x: int) -> Tensor:
        """The pixel of half the resolution at an even column of an even row, (N, 1, C)."""
        return torch.addmm(self.halve_bias, self.squares[x // 2], self.halve_weight).unsqueeze(1)

    def double(self, x: int, left: Tensor) -> None:
        """Compute the square of ``doubled`` at an even column of an even row of one (N, 1, C) of half the
        resolution."""
        torch.addmm(self.double_bias, left[:, 0], self.double_weight, out=self.told[x // 2])


def _channels_last(row: Tensor) -> Tensor:
    """(N, C, 1, W) -> (N, W, 1, C)."""
    return row.permute(0, 3, 2, 1).contiguous()
