"""Maps laid out by their diagonals.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Section 3.2 and Figure 3,
https://arxiv.org/abs/1601.06759
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def skew(x: Tensor) -> Tensor:
    """(F, H, W, B) -> (W + H - 1, F, H, B): diagonal t holds the cells (i, t - i), and zeros in rows that it misses."""
    return _Skew.apply(x)


def unskew(diagonals: Tensor) -> Tensor:
    """(W + H - 1, F, H, B) -> (F, H, W, B): undoes ``skew``."""
    return _Unskew.apply(diagonals)


class _Skew(torch.autograd.Function):
    """Each is the other's gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return _to_diagonals(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _cells(gradient.contiguous()).contiguous()


class _Unskew(torch.autograd.Function):
    @staticmethod
    def forward(ctx, diagonals: Tensor) -> Tensor:
        return _cells(diagonals.contiguous()).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _to_diagonals(gradient)


def _to_diagonals(x: Tensor) -> Tensor:
    features, height, width, batch = x.shape
    diagonals = x.new_zeros(width + height - 1, features, height, batch)
    _cells(diagonals).copy_(x)
    return diagonals


def _cells(diagonals: Tensor) -> Tensor:
    """(F, H, W, B), a view of contiguous diagonals (W + H - 1, F, H, B)."""
    length, features, height, batch = diagonals.shape
    next_diagonal, next_feature, next_row, _ = diagonals.stride()
    # One cell to the right is one diagonal on; one cell down is one diagonal on, and one place further in it.
    strides = (next_feature, next_row + next_diagonal, next_diagonal, 1)
    return diagonals.as_strided((features, height, length - height + 1, batch), strides)
