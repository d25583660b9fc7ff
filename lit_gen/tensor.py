"""Small tensor operations that every room needs."""

from torch import Tensor


def sum_except_batch(x: Tensor) -> Tensor:
    """Sum over all dimensions but the first: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1) if x.dim() > 1 else x
