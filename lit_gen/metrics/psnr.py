"""Peak signal-to-noise ratio of one image."""

import math

import torch
from torch import Tensor


def psnr_db(image: Tensor, reference: Tensor) -> float:
    """10 log10(255^2 / mean squared difference) of two images of bytes, in decibels; infinite where they are equal.

    Raises:
        ValueError: another type or different shapes: a broadcast would compare other pixels than meant.
    """
    if image.dtype != torch.uint8 or reference.dtype != torch.uint8 or image.shape != reference.shape:
        raise ValueError(f"expected two equal uint8 shapes, got {image.shape} {image.dtype}, {reference.shape}")
    mean_square = float((image.double() - reference.double()).square().mean())
    return 10 * math.log10(255**2 / mean_square) if mean_square > 0 else math.inf
