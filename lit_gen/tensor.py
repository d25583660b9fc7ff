"""Small tensor operations that every room needs."""

from torch import Tensor


def sum_except_batch(x: Tensor) -> Tensor:
    """Sum over all dimensions but the first: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1) if x.dim() > 1 else x


def mean_over_batch(x: Tensor) -> Tensor:
    """(B, ...) -> (), the mean; what is () already is its own, for less than a mean costs."""
    return x.mean() if x.dim() else x


def at_least_single(x: Tensor) -> Tensor:
    """``x`` in at least single precision: in half precision sums, as of densities or moments, are not to be trusted."""
    return x if x.dtype.itemsize >= 4 else x.float()
