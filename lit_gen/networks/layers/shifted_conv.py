"""Convolutions that see what is above and to the left, for networks that keep to an order by rows.

Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), Section 2.3-2.4 and Figure 2, https://arxiv.org/abs/1701.05517

All are weight-normalized: Salimans & Kingma, Weight Normalization (2016), Eq. 2, https://arxiv.org/abs/1602.07868
The weights begin so that features of mean square ``CONCAT_ELU_SQUARE`` make outputs of variance ``gain`` squared; they
are not fitted to a first batch of data.
"""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

CONCAT_ELU_SQUARE = 0.645
"""Mean over x and -x of ELU squared where x is a standard normal variable."""


def shift_down(x: Tensor) -> Tensor:
    """(B, C, H, W) -> the same one row further down, with zeros in the first."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


def shift_right(x: Tensor) -> Tensor:
    """(B, C, H, W) -> the same one column further to the right, with zeros in the first."""
    return F.pad(x, (1, 0))[:, :, :, :-1]


class ShiftedConv2d(nn.Module):
    """Convolution that sees no row below and, if its width is even, no column to the right.

    With a kernel of (2, 3) what is told of a place depends on its row and the one above it, and on its column and both
    beside it: "down-shifted". With (2, 2) of columns on its own and the one on the left: "down-right-shifted". A stride
    of 2 keeps the places of even rows and columns, (H + 1) // 2 of H.

    Args:
        in_channels: C.
        out_channels: D.
        kernel_size: rows and columns.
        stride: in both directions.
        gain: standard deviation of the output that the weights begin with.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: tuple[int, int], stride: int = 1, gain: float = 1.0
    ) -> None:
        super().__init__()
        height, width = kernel_size
        self.margins = (width // 2, (width - 1) // 2, height - 1, 0)
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride)
        self.conv = weight_norm(_begun(conv, in_channels * height * width, gain))

    @property
    def weight(self) -> Tensor:
        """(D, C, *kernel_size)."""
        return self.conv.weight

    @property
    def bias(self) -> Tensor:
        """(D,)."""
        return self.conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H', W')."""
        return self.conv(F.pad(x, self.margins) if any(self.margins) else x)


class ShiftedConvTranspose2d(nn.Module):
    """Transposed convolution of stride 2: what is told of a place depends on (y // 2, x // 2) of the coarser grid and,
    with a kernel of three columns, in odd columns on the place to the right of that too.

    Args:
        in_channels: C.
        out_channels: D.
        kernel_size: (2, 3) or (2, 2).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int]) -> None:
        super().__init__()
        height, width = kernel_size
        self.left = (width - 1) // 2
        conv = nn.ConvTranspose2d(in_channels, out_channels, kernel_size, 2)
        # Of the kernel's places one in four is met at a time; what comes in is no concatenated ELU, but of variance 1.
        self.conv = weight_norm(_begun(conv, in_channels * height * width / 4 / CONCAT_ELU_SQUARE, 1.0), dim=1)

    @property
    def weight(self) -> Tensor:
        """(C, D, *kernel_size)."""
        return self.conv.weight

    @property
    def bias(self) -> Tensor:
        """(D,)."""
        return self.conv.bias

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, (H + 1) // 2, (W + 1) // 2), (H, W) -> (B, D, H, W)."""
        return self.conv(x)[:, :, : size[0], self.left : self.left + size[1]]


def _begun(conv: nn.Module, num_inputs: float, gain: float) -> nn.Module:
    nn.init.normal_(conv.weight, std=gain * (CONCAT_ELU_SQUARE * num_inputs) ** -0.5)
    nn.init.zeros_(conv.bias)
    return conv
