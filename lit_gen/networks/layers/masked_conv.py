"""Convolutions that see only what comes before a pixel, row by row and channel by channel.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Section 3.4,
https://arxiv.org/abs/1601.06759
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_gen.errors import UserError


def feature_groups(num_features: int, num_groups: int) -> Tensor:
    """(num_features,) the group of each feature. They are divided in runs, of which some are longer by one feature
    where the number isn't a multiple of the groups': feature f belongs to group ``f * num_groups // num_features``.

    So layers of one width agree, and P parameters for each of G channels, one channel after the other, fall to the
    channels.

    Raises:
        UserError: fewer features than groups.
    """
    if num_features < num_groups:
        raise UserError(f"{num_features} features cannot be divided among {num_groups} channels: take at least as many")
    return torch.arange(num_features) * num_groups // num_features


def group_sizes(num_features: int, num_groups: int) -> list[int]:
    """How many features each group has.

    Raises:
        UserError: fewer features than groups.
    """
    return feature_groups(num_features, num_groups).bincount().tolist()


class RowTaps(NamedTuple):
    """What one group of a masked convolution's outputs sees in the pixel's own row.

    Attributes:
        features: (n,) the outputs of the group.
        weight: (columns * in_channels + m, n), from the inputs of the pixels to the left, the farthest first, and then
            the first m inputs of the pixel itself.
    """

    features: Tensor
    weight: Tensor


class MaskedConv2d(nn.Conv2d):
    """Convolution over the pixels above and to the left: (B, in_channels, H, W) -> (B, out_channels, H, W).

    Both kinds of features are divided among ``num_groups`` groups, one for each channel of the image in their order
    (``feature_groups`` says how). Of the pixel itself, mask A lets a group see the groups before it, so that R sees
    nothing, G sees R, and B sees R and G; it is for the first layer, which looks at the image. Mask B lets a group see
    itself too. With one group, A hides the pixel and B shows it.

    What the masks hide altogether, the rows below (and in a kernel of one row, the columns to the right), is left out
    of the kernel.

    Args:
        in_channels: features of the input; under mask A usually the channels of the image.
        out_channels: features of the output.
        kernel_size: (rows, columns) about the pixel, or one odd number for both.
        mask: "A" or "B".
        num_groups: number of channels of the image; 1 if they aren't ordered.
        num_parts: number of equal parts of the output, each divided among the groups for itself, as for gates.
        bias: whether a bias is added.

    Raises:
        UserError: a side of the kernel that is even, no such mask, fewer features than groups, or an output that can't
            be divided into its parts.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        mask: Literal["A", "B"],
        num_groups: int = 1,
        num_parts: int = 1,
        bias: bool = True,
    ) -> None:
        rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if rows < 1 or columns < 1 or rows % 2 == 0 or columns % 2 == 0:
            raise UserError(f"a masked kernel has a pixel in its middle: its sides are odd, not {kernel_size}")
        if mask not in ("A", "B"):
            raise UserError(f"a MaskedConv2d's mask is A or B, not {mask}")
        if out_channels % num_parts:
            raise UserError(f"{out_channels} features cannot be divided into {num_parts} equal parts")
        of_input = feature_groups(in_channels, num_groups)
        of_output = feature_groups(out_channels // num_parts, num_groups).repeat(num_parts).unsqueeze(1)
        self.above, self.left = rows // 2, columns // 2
        right = self.left if self.above else 0
        super().__init__(in_channels, out_channels, (self.above + 1, self.left + 1 + right), bias=bias)
        self.padding_around = (self.left, right, self.above, 0)  # left, right, above, below
        self.num_groups, self.num_parts = num_groups, num_parts
        allowed = torch.ones(self.weight.shape, dtype=torch.bool)
        allowed[:, :, -1, self.left] = of_output > of_input if mask == "A" else of_output >= of_input
        allowed[:, :, -1, self.left + 1 :] = False
        self.hides = not allowed.all()
        self.register_buffer("mask", allowed, persistent=False)

    @property
    def masked_weight(self) -> Tensor:
        """(out_channels, in_channels, rows, columns), zero where the mask hides."""
        return self.weight * self.mask if self.hides else self.weight

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        if any(self.padding_around):
            x = F.pad(x, self.padding_around)
        return F.conv2d(x, self.masked_weight, self.bias)

    @property
    def weight_above(self) -> Tensor:
        """(out_channels, in_channels, rows, columns) of the rows above the pixel."""
        return self.weight[:, :, :-1]

    @property
    def weight_of_row(self) -> Tensor:
        """(columns, in_channels, out_channels) of the pixel's own row, the farthest on the left first, itself last."""
        return self.masked_weight[:, :, -1, : self.left + 1].permute(2, 1, 0)

    @torch.no_grad()
    def row_taps(self) -> list[RowTaps]:
        """The taps in the pixel's own row, group by group, for a stepper."""
        of_output = feature_groups(self.out_channels // self.num_parts, self.num_groups).repeat(self.num_parts)
        weight = self.weight_of_row.flatten(0, 1)
        taps = []
        for group in range(self.num_groups):
            features = (of_output == group).nonzero().squeeze(1)
            num_seen = int(self.mask[features[0], :, -1, self.left].sum())
            num_rows = self.left * self.in_channels + num_seen
            taps.append(RowTaps(features, weight[:num_rows, features].contiguous()))
        return taps
