"""Arithmetic of densities under mixed precision."""

import torch
from torch import Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """Within the block matrix products on ``like``'s device are taken in the precision of their factors.

    Autocast would take them in half precision, and a draw would no longer be the one whose density is reported.
    """
    return torch.autocast(like.device.type, enabled=False)
