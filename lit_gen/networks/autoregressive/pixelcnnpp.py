"""PixelCNN++: two streams of gated residual blocks at several resolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.networks.autoregressive.pixelcnnpp_stepper import PixelCNNppStepper
from lit_gen.networks.layers.concat_elu import concat_elu
from lit_gen.networks.layers.gated_residual import GatedResidual
from lit_gen.networks.layers.shifted_conv import (
    CONCAT_ELU_SQUARE,
    ShiftedConv2d,
    ShiftedConvTranspose2d,
    shift_down,
    shift_right,
)
from lit_gen.protocols import Stepper
from lit_gen.ranges import check_at_least

ABOVE, LEFT = (2, 3), (2, 2)
"""Kernels of the streams: the one of the rows above, and the one of what is above and on the left."""


class PixelCNNpp(OrderedNetwork):
    """PixelCNN++: (B, C, H, W) in [0, 1] -> (B, P, 1, H, W), the parameters of each pixel given those before it.

    Salimans, Karpathy, Chen & Kingma, PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood
    and Other Modifications (2017), Section 2 and Figure 2, https://arxiv.org/abs/1701.05517

    A first stream sees the rows above a pixel, a second these and the pixels on the left; it hears of the first in
    each block. After every ``num_blocks`` blocks both are halved in height and width by convolutions of stride 2, then
    brought back by transposed ones; on the way back each block also hears of what the first half had at its resolution.
    Pixels are cells: a likelihood such as ``PixelLogisticMixtureHead`` ties the channels. A channel of ones beside the
    image's own tells what lies outside it. The weights begin without a look at data, unlike the paper's.

    A block widens what a pixel sees by two columns of its resolution on either side; what lies further off is not seen.

    Args:
        event_shape: (C, H, W), of any size.
        params_per_output: P, for a pixel.
        num_filters: channels of a stream; the paper's 160.
        num_blocks: of each resolution, on the way down and again on the way back.
        num_resolutions: 1 for no subsampling.
        dropout: probability before the second convolution of each block.
        num_classes: number of classes that it is conditioned on, each with biases of its own in each block; None for
            none.

    Raises:
        UserError: a number out of range, or examples that are no images.
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        params_per_output: int,
        num_filters: int = 160,
        num_blocks: int = 5,
        num_resolutions: int = 3,
        dropout: float = 0.5,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(event_shape, params_per_output, by_channel=False, num_classes=num_classes)
        check_at_least(self, 1, num_filters=num_filters, num_blocks=num_blocks, num_resolutions=num_resolutions)
        if not 0.0 <= dropout < 1.0:
            raise UserError(f"a PixelCNNpp's dropout must be in [0, 1), got {dropout}")
        channels, width = self.event_shape[0] + 1, num_filters
        self.first_above = ShiftedConv2d(channels, width, ABOVE)
        self.first_left_above = ShiftedConv2d(channels, width, (1, 3), gain=0.5**0.5)
        self.first_left = ShiftedConv2d(channels, width, (2, 1), gain=0.5**0.5)
        self.levels = nn.ModuleList(
            _Level(width, num_blocks, dropout, num_classes, lowest=number == num_resolutions - 1)
            for number in range(num_resolutions)
        )
        self.last = ShiftedConv2d(width, params_per_output, (1, 1), gain=0.1)

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, C, H, W), class indices (B,) -> (B, P, 1, H, W)."""
        x = F.pad(2 * x - 1, (0, 0, 0, 0, 0, 1), value=1.0)
        row_above = shift_down(x)
        above = self.first_above(row_above)
        left = self.first_left_above(row_above) + self.first_left(shift_right(x))
        _, left = self._through(0, above, left, label)
        return self.last(F.elu(left)).unsqueeze(2)

    def _through(self, number: int, above: Tensor, left: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both streams down from the resolution of that number, and back up to it."""
        level = self.levels[number]
        shortcuts = [(above, left)]
        for to_above, to_left in zip(level.down_above, level.down_left, strict=True):
            above = to_above(above, None, label)
            left = to_left(left, concat_elu(above), label)
            shortcuts.append((above, left))
        if level.lowest:
            shortcuts.pop()
        else:
            size = above.shape[2:]
            above, left = self._through(number + 1, level.halve_above(above), level.halve_left(left), label)
            above, left = level.double_above(above, size), level.double_left(left, size)
        for to_above, to_left in zip(level.up_above, level.up_left, strict=True):
            above_then, left_then = shortcuts.pop()
            above = to_above(above, concat_elu(above_then), label)
            left = to_left(left, torch.cat([concat_elu(above), concat_elu(left_then)], 1), label)
        return above, left

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps a row of each convolution's inputs, and computes a block where its resolution has a pixel."""
        return PixelCNNppStepper(self, num, label)


class _Level(nn.Module):
    """What there is at one resolution: blocks on the way down and on the way back, and the way to half of it."""

    def __init__(self, width: int, num_blocks: int, dropout: float, num_classes: int | None, lowest: bool) -> None:
        super().__init__()
        self.lowest = lowest

        def blocks(count: int, kernel: tuple[int, int], num_others: int) -> nn.ModuleList:
            others = num_others * width
            return nn.ModuleList(gated_block(width, kernel, others, dropout, num_classes) for _ in range(count))

        self.down_above = blocks(num_blocks, ABOVE, 0)
        self.down_left = blocks(num_blocks, LEFT, 2)
        num_up = num_blocks if lowest else num_blocks + 1
        self.up_above = blocks(num_up, ABOVE, 2)
        self.up_left = blocks(num_up, LEFT, 4)
        if not lowest:
            gain = CONCAT_ELU_SQUARE**0.5  # what comes in is no concatenated ELU, but of variance 1
            self.halve_above = ShiftedConv2d(width, width, ABOVE, 2, gain)
            self.halve_left = ShiftedConv2d(width, width, LEFT, 2, gain)
            self.double_above = ShiftedConvTranspose2d(width, width, ABOVE)
            self.double_left = ShiftedConvTranspose2d(width, width, LEFT)


def gated_block(
    width: int, kernel_size: tuple[int, int], num_others: int, dropout: float, num_classes: int | None
) -> GatedResidual:
    """A residual layer of concatenated ELUs and weight-normalized convolutions.

    Args:
        width: channels C of the stream.
        kernel_size: of the convolutions.
        num_others: channels D of what comes in from beside, activated, by a 1x1 convolution; 0 for none.
        dropout: probability.
        num_classes: number of classes, each with biases of its own; None for none.
    """
    first = ShiftedConv2d(2 * width, width, kernel_size)
    beside = ShiftedConv2d(num_others, width, (1, 1)) if num_others else None
    second = ShiftedConv2d(2 * width, 2 * width, kernel_size, gain=0.1)
    block = GatedResidual(first, second, beside, concat_elu, dropout, num_classes)
    if num_classes is not None:
        nn.init.normal_(block.class_bias.weight, std=0.05)
    return block
