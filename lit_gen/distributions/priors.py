"""Distributions of latents before any data are seen."""

import torch
from torch import Tensor, nn

from lit_gen.distributions.normal import UnitNormal
from lit_gen.errors import UserError


class StandardNormal(nn.Module):
    """N(0, I) in ``dim`` dimensions. Calling it gives the distribution, on the device the module was moved to.

    Args:
        dim: length of a latent.

    Raises:
        UserError: ``dim`` is less than 1.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"a prior's dim must be at least 1, got {dim}")
        self.dim = dim
        # Buffers so that they follow the device; not persistent, as they hold nothing worth saving.
        self.register_buffer("_mean", torch.zeros(dim), persistent=False)
        self.register_buffer("_scale", torch.ones(dim), persistent=False)

    def forward(self) -> UnitNormal:
        """The distribution: batch (), event (dim,)."""
        return UnitNormal(self._mean, self._scale)

    def quantile(self, probability: Tensor) -> Tensor:
        """Where each coordinate's cumulative probability, in (0, 1), is ``probability``; elementwise, any shape."""
        return torch.special.ndtri(probability)
