"""A layer of Gated PixelCNN's two stacks.

van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves & Kavukcuoglu, Conditional Image Generation with PixelCNN Decoders
(2016), Section 2, https://arxiv.org/abs/1606.05328
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_gen.networks.layers.masked_conv import MaskedConv2d


class RowsAboveConv2d(nn.Conv2d):
    """Convolution over the rows above, as far to the right as to the left: (B, in, H, W) -> (B, out, H, W).

    Args:
        in_channels: features of the input.
        out_channels: features of the output.
        kernel_size: k, odd: k // 2 rows above of k columns.
        own_row: whether the output's own row is seen too, which is right where the input's features know only of rows
            above them.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, own_row: bool) -> None:
        above = kernel_size // 2
        super().__init__(in_channels, out_channels, (above + own_row, kernel_size))
        self.padding_around = (above, above, above, 0)
        self.own_row = own_row

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        x = F.pad(x, self.padding_around)
        return super().forward(x if self.own_row else x[:, :, :-1])


class Gates(nn.Module):
    """(B, 2 F, H, W) -> (B, F, H, W), tanh(first half) * sigmoid(second half); Eq. 2.

    Computed as s - 2 sigmoid(-2 a) s with s = sigmoid(b), which is within 3e-7 of it in single precision: one call of
    the sigmoid does for both halves, and ``networks.layers.Tanh`` tells of tanh's slow path.

    Args:
        channels: F.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        scale = torch.ones(2 * channels, 1, 1)
        scale[:channels] = -2.0
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 F, H, W) -> (B, F, H, W)."""
        return from_sigmoids(*(x * self.scale).sigmoid().chunk(2, 1))


def from_sigmoids(flipped: Tensor, gate: Tensor, out: Tensor | None = None) -> Tensor:
    """sigmoid(-2 a), sigmoid(b) -> tanh(a) * sigmoid(b)."""
    return torch.addcmul(gate, flipped, gate, value=-2, out=out)


class GatedLayer(nn.Module):
    """One layer of the two stacks, Figure 2: the vertical one sees the rows above, the horizontal one what lies to the
    left in its own row and, of the same layer, what the vertical one has gathered.

    A residual connection leads around it in the horizontal stack, and its gated features lead to the head directly.

    Args:
        in_channels: features of both stacks' input.
        channels: features F of both stacks' output.
        kernel_size: k.
        head_channels: features that lead to the head.
        num_groups: number of the image's channels in order.
        is_first: whether it sees the image itself: masked A, without a residual connection.
        is_last: whether no other follows: without what only that would need.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        head_channels: int,
        num_groups: int,
        is_first: bool,
        is_last: bool,
    ) -> None:
        super().__init__()
        mask = "A" if is_first else "B"
        self.is_first = is_first
        self.gates = Gates(channels)
        self.vertical = RowsAboveConv2d(in_channels, 2 * channels, kernel_size, own_row=not is_first)
        self.across = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)  # from the vertical stack
        self.horizontal = MaskedConv2d(in_channels, 2 * channels, (1, kernel_size), mask, num_groups, num_parts=2)
        self.to_head = MaskedConv2d(channels, head_channels, 1, "B", num_groups, bias=is_first)  # one for the sum
        self.residual = None if is_last else MaskedConv2d(channels, channels, 1, "B", num_groups, bias=False)
