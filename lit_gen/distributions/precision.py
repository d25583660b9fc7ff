"""Arithmetic of densities under mixed precision."""

import torch
from torch import Tensor


def at_least_single(params: Tensor) -> Tensor:
    """``params`` in at least single precision: a sum over pixels in half precision has no correct nat."""
    return params if params.dtype.itemsize >= 4 else params.float()


def full_precision(like: Tensor) -> torch.autocast:
    """Within the block matrix products on ``like``'s device are taken in the precision of their factors.

    Autocast would take them in half precision, and a draw would no longer be the one whose density is reported.
    """
    return torch.autocast(like.device.type, enabled=False)
