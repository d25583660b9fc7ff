"""The blocks of PixelCNN++ along rows, and at pixels of them.

Here N is the number of examples, W of columns, C and D of channels, B of blocks. A *line* is one row of all examples
laid end to end, with a place of zeros before each and one at the end: (N (W + 1) + 1, C). Along it a convolution is a
sum of products with the line shifted, and columns x - 1 and x of all examples are a matrix (N, 2 C) without a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Products = list[list[tuple[Tensor, Tensor, Tensor]]]
"""For each block (sums, inputs, weight) of which ``sums += inputs @ weight``."""


class LineLayout(NamedTuple):
    """How lines of N examples of W columns lie."""

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


class BlocksOnLines:
    """The blocks of one stream at one resolution on one way, with a row of all that they work on.

    They are numbered as on the way down, so that blocks of one number share a short-cut. On the way down block b reads
    line b of ``features`` and gives b + 1; on the way back it reads b + 1 and gives b.

    Args:
        blocks: in the order in which they are computed.
        layout: of the lines.
        label: (N,) class indices, where the blocks are conditioned on them.
        downward: whether this is the way down.
    """

    def __init__(self, blocks: nn.ModuleList, layout: LineLayout, label: Tensor | None, downward: bool) -> None:
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
        of_class = [block.class_bias.of(label)[0] for block in blocks]
        if of_class[0] is not None:
            bias = bias + torch.stack(of_class)  # (B, N, 2 C)
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

    def __init__(self, convs: list[nn.Module], bias: Tensor, lines: Tensor, layout: LineLayout) -> None:
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


def _shifted(sums: Tensor, lines: Tensor, weights: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Cut lines so that each place meets the column beside it that a weight is for.

    Args:
        sums: (…, places, D).
        lines: (…, places, C).
        weights: (2 or 3, …, C, D), of the columns x - 1, x and perhaps x + 1.

    Yields:
        Sums, lines and weight of each column.
    """
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
