"""Arithmetic of densities under mixed precision."""

from torch import Tensor


def at_least_single(params: Tensor) -> Tensor:
    """``params`` in at least single precision: a sum over pixels in half precision has no correct nat."""
    return params if params.dtype.itemsize >= 4 else params.float()
