"""Small tensor operations that every room needs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def default_dtype(dtype: torch.dtype | None = None) -> Iterator[None]:
    """Within the block torch's default type is ``dtype``, or may be set; afterwards it is what it was before."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(before if dtype is None else dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def sum_except_batch(x: Tensor) -> Tensor:
    """Sum over all dimensions but the first: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1) if x.dim() > 1 else x


def mean_over_batch(x: Tensor) -> Tensor:
    """(B, ...) -> (), the mean; what is () already is its own, for less than a mean costs."""
    return x.mean() if x.dim() else x


def at_least_single(x: Tensor) -> Tensor:
    """``x`` in at least single precision: in half precision sums, as of densities or moments, are not to be trusted."""
    return x if x.dtype.itemsize >= 4 else x.float()
