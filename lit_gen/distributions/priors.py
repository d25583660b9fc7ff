"""Distributions of latents before any data are seen."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.distributions import Uniform as UniformNumbers

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
        """The distribution: batch (), event (dim,). It is the same object at every call: don't change it."""
        made, mean = self.__dict__.get("_made"), self._buffers["_mean"]  # asked for several times a step
        if made is None or made.loc is not mean:
            made = self.__dict__["_made"] = UnitNormal(mean, self._scale)
        return made

    def quantile(self, probability: Tensor) -> Tensor:
        """Where each coordinate's cumulative probability, in (0, 1), is ``probability``; elementwise, any shape."""
        return torch.special.ndtri(probability)


class Uniform(nn.Module):
    """Independent coordinates, each uniform between two bounds. Calling it gives the distribution, on the module's
    device.

    Args:
        dim: length of a latent.
        low: the lower bound of each coordinate, among its values.
        high: the upper bound, not among them.

    Raises:
        UserError: ``dim`` is less than 1, or the bounds aren't in order.
    """

    def __init__(self, dim: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"a prior's dim must be at least 1, got {dim}")
        if not low < high:
            raise UserError(f"a Uniform prior's low must be below its high, got {low} and {high}")
        self.dim = dim
        # Buffers so that they follow the device; not persistent, as they hold nothing worth saving.
        self.register_buffer("_low", torch.full((dim,), float(low)), persistent=False)
        self.register_buffer("_high", torch.full((dim,), float(high)), persistent=False)

    def forward(self) -> Independent:
        """The distribution: batch (), event (dim,); log-densities outside the bounds are -inf."""
        return Independent(UniformNumbers(self._low, self._high, validate_args=False), 1, validate_args=False)

    def quantile(self, probability: Tensor) -> Tensor:
        """Where each coordinate's cumulative probability, in (0, 1), is ``probability``; elementwise, any shape."""
        return torch.lerp(self._low[0], self._high[0], probability)
