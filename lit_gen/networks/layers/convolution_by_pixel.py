"""Causal convolutions for one pixel after the other."""

import torch
from torch import Tensor, nn


class ConvolutionByPixel:
    """A convolution that sees its own row and the one above, for N images one pixel after the other, by rows.

    What it sees of the row above is computed once a row, for all of the row at once; what it sees of its own, by one
    matrix product a pixel. It keeps one row of its input, in which each pixel takes the place of the one above.

    Args:
        above: (columns, in, out), the part of the kernel in the row above, from one column to the left of the pixel on.
        beside: (columns, in, out), the part in the pixel's own row, from one column to the left on as well.
        bias: (1 or N, out).
        num: N.
        width: W, pixels in a row.

    Attributes:
        slots: for each column, (N, in), where its input is to be put; zero at first.
    """

    def __init__(self, above: Tensor, beside: Tensor, bias: Tensor, num: int, width: int) -> None:
        columns, num_in, num_out = above.shape
        row = above.new_zeros(num, width + max(columns, len(beside)) - 1, num_in)  # with zeros around the image
        self.slots = [row[:, 1 + column] for column in range(width)]
        self._windows = row.as_strided((num, width, columns * num_in), (row.stride(0), num_in, 1))
        self._beside = [row.flatten(1)[:, column * num_in :][:, : len(beside) * num_in] for column in range(width)]
        self._weight_above, self._weight_beside = above.flatten(0, 1), beside.flatten(0, 1)
        self._bias = bias.unsqueeze(1)
        self._from_above = above.new_empty(num, width, num_out).copy_(self._bias)
        self._from_above_at = [self._from_above[:, column] for column in range(width)]

    def next_row(self) -> None:
        """The row is done, and the next begins."""
        torch.add(self._windows @ self._weight_above, self._bias, out=self._from_above)

    def step(self, column: int, out: Tensor | None = None) -> Tensor:
        """(N, out) at a column, of which the slots up to it are filled with what the kernel may see."""
        return torch.addmm(self._from_above_at[column], self._beside[column], self._weight_beside, out=out)


class PixelwiseConvolution:
    """Convolutions with kernels of 1 x 1 on a single pixel: (N, in) -> (N, out), or (K, N, in) -> (K, N, out) by K
    of them at once.

    Args:
        weight: (out, in, 1, 1) each.
        bias: (out,) each.
    """

    def __init__(self, weights: list[Tensor], biases: list[Tensor]) -> None:
        self.weight = torch.stack([weight.detach().flatten(1).T for weight in weights])
        self.bias = torch.stack([bias.detach() for bias in biases]).unsqueeze(1)
        self._product = torch.baddbmm
        if len(weights) == 1:
            self.weight, self.bias, self._product = self.weight[0], self.bias[0], torch.addmm

    @classmethod
    def of(cls, *layers: nn.Conv2d) -> "PixelwiseConvolution":
        """What the layers do."""
        return cls([layer.weight for layer in layers], [layer.bias for layer in layers])

    def __call__(self, x: Tensor) -> Tensor:
        return self._product(self.bias, x, self.weight)
