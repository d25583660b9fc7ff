"""PixelCNN++ pixel by pixel.

After Ramachandran et al., Fast Generation for Convolutional Autoregressive Models (2017), Section 2,
https://arxiv.org/abs/1704.06001: each convolution keeps the inputs that later pixels need, at its own resolution, and
is computed when its stride says so. Beyond that, what depends on finished rows alone is computed once a row, for the
whole row and all blocks at once: the first stream, and the share of the second stream's convolutions that falls on
the row above. A pixel then costs the second stream's column and the one on the left of it, by matrix products.

Here N is the number of examples, W of columns, C and D of channels, B of blocks. A *line* is one row of all examples
laid end to end, with a place of zeros before each and one at the end: (N (W + 1) + 1, C). Along it a convolution is a
sum of products with the line shifted, and columns x - 1 and x of all examples are a matrix (N, 2 C) without a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        self.level = _Level(network.levels, num, self.width, label)
        self.above_weight, self.above_bias = network.first_above.weight, network.first_above.bias
        upper, lower = network.first_left.weight.unbind(2)  # (C, channels + 1, 1) each
        self.start_weight = network.first_left_above.weight.clone()
        self.start_weight[:, :, 0, :1] += upper  # both see the pixel above and on the left
        self.start_bias = network.first_left_above.bias + network.first_left.bias
        self.left_weight = lower[:, :, 0].T.contiguous()
        self.last_weight = network.last.weight[:, :, 0, 0].T.contiguous()
        self.last_bias = network.last.bias.detach()
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
        self.level.tell(y, x, left)
        return torch.addmm(self.last_bias, self.level.told[x], self.last_weight)

    def _begin_row(self, y: int) -> None:
        if y > 0:
            self.rows_above[:, :, 0] = self.rows_above[:, :, 1]
            self.rows_above[:, :, 1] = self.row.movedim(2, 1)
        above = F.conv2d(self.rows_above, self.above_weight, self.above_bias)
        self.level.begin_row(y, _channels_last(above))
        start = F.conv2d(self.rows_above[:, :, 1:], self.start_weight, self.start_bias)
        self.starts = _channels_last(start).unbind(1)  # (N, 1, C) each


class _Level:
    """Both streams at one resolution and, in ``lower``, below it. Rows are begun from the top, and their pixels told
    from left to right."""

    def __init__(self, levels: nn.ModuleList, num: int, width: int, label: Tensor | None) -> None:
        level, *lower = levels
        layout = _Layout(num, width)
        self.down_above = _Blocks(level.down_above, layout, label, downward=True)
        self.down_left = _Blocks(level.down_left, layout, label, downward=True)
        self.up_above = _Blocks(level.up_above, layout, label, downward=False)
        self.up_left = _Blocks(level.up_left, layout, label, downward=False)
        self.down_row, self.up_row = self.down_above.over_row(), self.up_above.over_row()
        self.down_columns, self.up_columns = self.down_left.over_columns(), self.up_left.over_columns()
        # What blocks on the way back hear of the way down, all of them at once.
        count = len(level.up_left)
        self.above_then = self.down_above.features[:count]
        self.left_then = layout.inside(self.down_left.features[:count]).unbind(2)  # (B, N, 2 C) each
        self.hear_left_then = layout.inside(self.up_left.first.sums).unbind(2)  # (B, N, C) each
        self.of_above, self.of_left_then = self.up_left.beside.split(self.up_left.beside.shape[1] // 2, 1)
        self.told = [column[:, : column.shape[1] // 2] for column in layout.inside(self.up_left.features[0]).unbind(1)]
        self.lower = _Level(levels[1:], num, (width + 1) // 2, label) if lower else None
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

    def __init__(self, level: nn.Module, layout: _Layout) -> None:
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

    def __init__(self, level: nn.Module, layout: _Layout) -> None:
        columns = range(layout.width)
        channels, half = len(level.halve_left.bias), (layout.width + 1) // 2
        seen = level.halve_left.bias.new_zeros(layout.num, half + 1, 2, 2, channels)  # (y - 1, y) by (x - 1, x)
        self.squares = seen.flatten(2).unbind(1)  # (N, 4 C) each
        self.places = [[seen[:, (x + 1) // 2, row, (x + 1) % 2, None] for x in columns] for row in (1, 0)]
        self.halve_bias = level.halve_left.bias.detach()
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


class _Layout(NamedTuple):
    """Of lines: N examples of W columns."""

    num: int
    width: int

    def lines(self, like: Tensor, count: int, channels: int) -> Tensor:
        """(count, N (W + 1) + 1, channels) zeros."""
        return like.new_zeros(count, self.num * (self.width + 1) + 1, channels)

    def inside(self, lines: Tensor) -> Tensor:
        """(…, N (W + 1) + 1, C) -> (…, N, W, C), without what lies between examples."""
        return lines[..., 1:, :].unflatten(-2, (self.num, self.width + 1))[..., : self.width, :]

    def pairs(self, line: Tensor) -> list[Tensor]:
        """(N (W + 1) + 1, C) -> for each column x, (N, 2 C) of x - 1 and x."""
        channels = line.shape[1]
        size, stride = (self.num, 2 * channels), ((self.width + 1) * channels, 1)
        first = line.storage_offset()
        return [line.as_strided(size, stride, first + x * channels) for x in range(self.width)]


class _Blocks:
    """The blocks of one stream at one resolution on one way, with a row of all that they work on.

    They stand as on the way down, where block b reads line b of ``features`` and gives b + 1; on the way back it reads
    b + 1 and gives b.
    """

    def __init__(self, blocks: nn.ModuleList, layout: _Layout, label: Tensor | None, downward: bool) -> None:
        blocks = list(blocks) if downward else list(blocks)[::-1]
        count, width = len(blocks), len(blocks[0].first.bias)
        self.layout, self.downward = layout, downward
        self.features = layout.lines(blocks[0].first.bias, count + 1, 2 * width)  # concatenated ELUs
        self.inputs, self.outputs = self.features[:-1], self.features[1:]
        if not downward:
            self.inputs, self.outputs = self.outputs, self.inputs
        self.hidden = layout.lines(self.features, count, 2 * width)
        bias = torch.stack([block.first.bias for block in blocks])[:, None]  # (B, 1, C)
        if blocks[0].beside is not None:
            bias = bias + torch.stack([block.beside.bias for block in blocks])[:, None]
            beside = torch.stack([block.beside.weight[:, :, 0, 0] for block in blocks])
            self.beside = beside.mT.contiguous()  # (B, D, C)
        self.first = _Convolutions([block.first for block in blocks], bias, self.inputs, layout)
        bias = torch.stack([block.second.bias for block in blocks])[:, None]
        if blocks[0].of_class is not None:
            bias = bias + torch.stack([block.of_class(label) for block in blocks])  # (B, N, 2 C)
        self.second = _Convolutions([block.second for block in blocks], bias, self.hidden, layout)

    def begin_row(self) -> None:
        """Begin with what the row above gives to the convolutions."""
        self.first.begin_row()
        self.second.begin_row()

    def over_row(self) -> _Run:
        """The blocks over whole rows."""
        inside = self.layout.inside
        first, second = self.first.over_row(), self.second.over_row()
        return self._run(first, second, *map(inside, (self.features, self.first.sums, self.hidden, self.second.sums)))

    def over_columns(self) -> list[_Run]:
        """The blocks at each column."""
        lines = (self.features, self.first.sums, self.hidden, self.second.sums)
        columns = zip(*(self.layout.inside(part).unbind(2) for part in lines), strict=True)
        products = zip(self.first.over_columns(), self.second.over_columns(), strict=True)
        return [self._run(*both, *parts) for both, parts in zip(products, columns, strict=True)]

    def _run(
        self, first: Products, second: Products, features: Tensor, sums: Tensor, hidden: Tensor, gates: Tensor
    ) -> _Run:
        features, hidden = (part.unflatten(-1, (2, -1)) for part in (features, hidden))
        sums, gates = sums.unsqueeze(-2), gates.unsqueeze(-2)
        outputs = features[1:] if self.downward else features[:-1]
        steps = [_Step(*parts) for parts in zip(first, sums, hidden, second, gates, outputs, strict=True)]
        return _Run(features[0], steps) if self.downward else _Run(features[-1], steps[::-1])


class _Convolutions:
    """As many convolutions as there are blocks, each along a line of its own.

    Args:
        convs: B of C -> D channels, with kernels of 2 rows.
        bias: (B, 1 or N, D).
        lines: (B, N (W + 1) + 1, C), of the row above until a row is begun, then of that row.
        layout: of the lines.
    """

    def __init__(self, convs: list[nn.Module], bias: Tensor, lines: Tensor, layout: _Layout) -> None:
        weight = torch.stack([conv.weight for conv in convs])  # (B, D, C, 2, columns)
        self.of_row_above, self.of_row = weight.permute(3, 4, 0, 2, 1).contiguous()  # (columns, B, C, D)
        self.bias = bias.unsqueeze(2)
        self.lines = lines
        self.layout = layout
        self.sums = layout.lines(lines, *bias.shape[::2])
        self.all_sums = self.layout.inside(self.sums)

    def begin_row(self) -> None:
        """Begin the sums with the biases and the row above."""
        self.all_sums.copy_(self.bias)
        for sums, lines, weight in _shifted(self.sums, self.lines, self.of_row_above):
            sums.baddbmm_(lines, weight)

    def over_row(self) -> Products:
        """For each block what it adds of a row."""
        return [list(_shifted(*parts)) for parts in zip(self.sums, self.lines, self.of_row.unbind(1), strict=True)]

    def over_columns(self) -> list[Products]:
        """For each column, and each block, what it adds of that and the one on the left of it."""
        weights = self.of_row.movedim(1, 0).flatten(1, 2)  # (B, 2 C, D)
        pairs = zip(*(self.layout.pairs(line) for line in self.lines), strict=True)
        columns = zip(self.all_sums.unbind(2), pairs, strict=True)
        return [[[parts] for parts in zip(sums, inputs, weights, strict=True)] for sums, inputs in columns]


Products = list[list[tuple[Tensor, Tensor, Tensor]]]
"""For each block (sums, inputs, weight) of which ``sums += inputs @ weight``."""


def _shifted(sums: Tensor, lines: Tensor, weights: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(…, places, D), (…, places, C), (columns, …, C, D) of columns x - 1, x and perhaps x + 1 -> sums, lines and weight
    of each, cut to the places that there are."""
    last = lines.shape[-2] - 1
    yield sums[..., 1:, :], lines[..., :last, :], weights[0]
    yield sums, lines, weights[1]
    if len(weights) == 3:
        yield sums[..., :last, :], lines[..., 1:, :], weights[2]


class _Step(NamedTuple):
    """A block at a place, or several."""

    first: list[tuple[Tensor, Tensor, Tensor]]
    sums: Tensor  # (…, 1, C)
    hidden: Tensor  # (…, 2, C)
    second: list[tuple[Tensor, Tensor, Tensor]]
    gates: Tensor  # (…, 1, 2 C)
    features: Tensor  # (…, 2, C)


class _Run:
    """Blocks one after the other: (…, 1, C) is changed in place."""

    def __init__(self, features: Tensor, steps: list[_Step]) -> None:
        self.features = features
        self.steps = steps
        self.signs = features.new_tensor([[1.0], [-1.0]])

    def __call__(self, x: Tensor) -> None:
        signs = self.signs
        F.elu_(torch.mul(x, signs, out=self.features))
        for first, sums, hidden, second, gates, features in self.steps:
            for out, inputs, weight in first:
                out.addmm_(inputs, weight)
            F.elu_(torch.mul(sums, signs, out=hidden))
            for out, inputs, weight in second:
                out.addmm_(inputs, weight)
            x.add_(F.glu(gates, -1))
            F.elu_(torch.mul(x, signs, out=features))


def _channels_last(row: Tensor) -> Tensor:
    """(N, C, 1, W) -> (N, W, 1, C)."""
    return row.permute(0, 3, 2, 1).contiguous()
