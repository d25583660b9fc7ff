"""Points that a known increasing function makes of uniform noise: what a generator does, with the answer at hand."""

import math

import torch
from torch import Tensor

from lit_gen.data.toy import ToyData
from lit_gen.errors import UserError


class IncreasingMap:
    """Base of the functions g of z in (0, 1): increasing and differentiable, so that g is its own points' quantile
    function."""

    support: tuple[float, float]
    """Where g(0) and g(1) lie: all points are between."""

    def __call__(self, z: Tensor) -> Tensor:
        """g(z), elementwise."""
        raise NotImplementedError

    def inverse(self, x: Tensor) -> Tensor:
        """z with g(z) = x, elementwise, for x within the support."""
        raise NotImplementedError

    def log_slope(self, z: Tensor) -> Tensor:
        """log g'(z), elementwise."""
        raise NotImplementedError

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density of g(z) at x within the support, -log g'(g^-1(x)) in nats, elementwise.

        Where z can't tell an x from its neighbours, as in a long tail, a subclass knows the density in another way.
        """
        return -self.log_slope(self.inverse(x))


class Identity(IncreasingMap):
    """g(z) = z: the points are uniform."""

    support = (0.0, 1.0)

    def __call__(self, z: Tensor) -> Tensor:
        return z

    def inverse(self, x: Tensor) -> Tensor:
        return x

    def log_slope(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)


class Square(IncreasingMap):
    """g(z) = z^2: the density is 1 / (2 sqrt(x)), unbounded at 0."""

    support = (0.0, 1.0)

    def __call__(self, z: Tensor) -> Tensor:
        return z.square()

    def inverse(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def log_slope(self, z: Tensor) -> Tensor:
        return (2 * z).log()


class InverseNormalCDF(IncreasingMap):
    """g(z) = mean + std Phi^-1(z): the points are normal.

    Args:
        mean: of the points.
        std: of the points.

    Raises:
        UserError: ``std`` isn't positive.
    """

    support = (-math.inf, math.inf)

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        if not std > 0:
            raise UserError(f"InverseNormalCDF: std must be positive, got {std}.")
        self.mean = mean
        self.std = std

    def __call__(self, z: Tensor) -> Tensor:
        return self.mean + self.std * torch.special.ndtri(z)

    def inverse(self, x: Tensor) -> Tensor:
        return torch.special.ndtr((x - self.mean) / self.std)

    def log_slope(self, z: Tensor) -> Tensor:
        return math.log(self.std) + 0.5 * (torch.special.ndtri(z).square() + math.log(2 * math.pi))

    def log_prob(self, x: Tensor) -> Tensor:
        # The normal's own: beyond 8 deviations z is 1, and well before that it has few digits of 1 - z.
        return -0.5 * (((x - self.mean) / self.std).square() + math.log(2 * math.pi)) - math.log(self.std)


class Pushforward(ToyData):
    """Points g(z) of z uniform in (0, 1).

    Args:
        g: ``Identity``, ``Square``, ``InverseNormalCDF``, or another ``IncreasingMap``.
        event_shape: (1,).
        **kwargs: as in ``ToyData``.

    Raises:
        UserError: another shape.
    """

    def __init__(self, g: IncreasingMap, event_shape: tuple[int, ...] = (1,), **kwargs) -> None:
        super().__init__(event_shape=event_shape, **kwargs)
        if self.event_shape != (1,):
            raise UserError(f"Pushforward: a point is one number, event_shape [1], not {list(self.event_shape)}.")
        self.g = g

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, 1) float32 draws."""
        z = torch.rand(num_samples, 1, generator=generator, dtype=torch.float64)
        return self.g(z.clamp_min(2.0**-54)).float()  # rand may give 0, whose normal quantile is infinite

    def quantile(self, probability: Tensor) -> Tensor:
        """Where the distribution function is ``probability``, in (0, 1): g itself; elementwise, in float64."""
        return self.g(probability.double())

    def cdf(self, x: Tensor) -> Tensor:
        """The probability of points below x, elementwise, in float64: z with g(z) = x."""
        low, high = self.g.support
        return self.g.inverse(x.double().clamp(low, high))

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, 1) -> (B,) values of log p(x) in nats, in float64; -inf outside of the support, whose ends are of it."""
        low, high = self.g.support
        x = x[:, 0].double()
        inside = (x >= low) & (x <= high)
        return torch.where(inside, self.g.log_prob(x.clamp(low, high)), -math.inf)
