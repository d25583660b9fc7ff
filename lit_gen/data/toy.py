"""Points in the plane whose density is known: where a model can be compared with the truth."""

import math

import numpy as np
import torch
from torch import Tensor

from lit_gen.data.base import Arrays, InMemoryData, Part
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator


class ToyData(InMemoryData):
    """Base of the toy densities: a subclass says how to ``sample`` and what ``log_prob`` is.

    Args:
        num_train: number of training points, besides those held out for validation.
        num_validation: number of validation points.
        num_test: number of test points.
        data_seed: seed of the points; not the run's seed.
        event_shape: shape of one point.
        **kwargs: as in ``InMemoryData``; points cannot be binarized.

    Attributes:
        modes: (K, D) centres of the density's modes, or None where it has none to speak of.
        std: (K,) standard deviation about each mode, or None.
    """

    def __init__(
        self,
        num_train: int = 100_000,
        num_validation: int = 2_500,
        num_test: int = 10_000,
        data_seed: int = 0,
        event_shape: tuple[int, ...] = (2,),
        **kwargs,
    ) -> None:
        super().__init__(event_shape=event_shape, num_validation=num_validation, **kwargs)
        if self.binarization != "none":
            raise UserError(f"{type(self).__name__} holds points, not pixels: binarization must be none.")
        if min(num_train, num_test) < 1:
            raise UserError(f"{type(self).__name__}: num_train and num_test must be at least 1.")
        self.num_train = num_train
        self.num_test = num_test
        self.data_seed = data_seed
        self.modes: Tensor | None = None
        self.std: Tensor | None = None

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, D) float32 draws from the density."""
        raise NotImplementedError

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) values of log p(x) in nats at points (B, D), in float64."""
        raise NotImplementedError

    def read(self) -> Arrays:
        """Draw the points: train and test from streams of their own."""
        name = type(self).__name__
        counts = {"train": self.num_train + self.num_validation, "test": self.num_test}
        return Arrays(
            *(
                Part(self.sample(count, make_generator(self.data_seed, name, split)), None, name)
                for split, count in counts.items()
            )
        )


class GaussianMixture(ToyData):
    """A mixture of spherical Gaussians.

    Args:
        means: K points of D coordinates.
        stds: standard deviation of each component, or one number for all.
        weights: share of each component, up to a common factor; None for equal shares.
        event_shape: (D,).
        **kwargs: as in ``ToyData``.

    Raises:
        UserError: the parameters don't fit each other.
    """

    def __init__(
        self,
        means: list[list[float]],
        stds: float | list[float],
        weights: list[float] | None = None,
        event_shape: tuple[int, ...] = (2,),
        **kwargs,
    ) -> None:
        super().__init__(event_shape=event_shape, **kwargs)
        count = len(means)
        stds = [float(stds)] * count if isinstance(stds, int | float) else stds
        weights = [1.0] * count if weights is None else weights
        name = type(self).__name__
        if count == 0 or any((len(mean),) != self.event_shape for mean in means):
            raise UserError(f"{name}: every mean must have the shape {list(self.event_shape)} of a point.")
        if len(stds) != count or len(weights) != count:
            raise UserError(f"{name}: {count} means need {count} stds and weights, got {len(stds)} and {len(weights)}.")
        if min(stds) <= 0 or min(weights) < 0 or sum(weights) <= 0:
            raise UserError(f"{name}: stds must be positive, and weights not negative nor all 0.")
        self.modes = torch.tensor(means, dtype=torch.float32)
        self.std = torch.tensor(stds, dtype=torch.float32)
        self.weights = torch.tensor(weights, dtype=torch.float64) / sum(weights)

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, D) float32 draws: a component each, then a point of it."""
        component = torch.multinomial(self.weights, num_samples, replacement=True, generator=generator)
        noise = torch.randn(num_samples, *self.event_shape, generator=generator)
        return self.modes[component] + self.std[component, None] * noise

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) values of log p(x) = log sum_k w_k N(x; m_k, s_k^2 I) in nats, in float64."""
        modes, std = self.modes.to(x.device, torch.float64), self.std.to(x.device, torch.float64)
        distance = (x.double()[:, None] - modes).square().sum(-1)
        log_normal = -distance / (2 * std**2) - x.shape[1] * (std.log() + 0.5 * math.log(2 * math.pi))
        return torch.logsumexp(self.weights.to(x.device).log() + log_normal, dim=1)


class Ring(GaussianMixture):
    """Gaussians evenly spaced on a circle; the defaults are the ring of 8 of PacGAN, https://arxiv.org/abs/1712.04086.

    Args:
        num_modes: number of Gaussians.
        radius: of the circle about the origin.
        std: standard deviation of each Gaussian.
        **kwargs: as in ``ToyData``.
    """

    def __init__(self, num_modes: int = 8, radius: float = 1.0, std: float = 0.01, **kwargs) -> None:
        angles = [2 * math.pi * k / num_modes for k in range(num_modes)]
        means = [[radius * math.cos(a), radius * math.sin(a)] for a in angles]
        super().__init__(means=means, stds=std, **kwargs)


class Grid(GaussianMixture):
    """Gaussians on a square grid about the origin; the defaults are the grid of 25 of PacGAN (see ``Ring``).

    Args:
        num_per_side: number of Gaussians along each side.
        spacing: distance of neighbours.
        std: standard deviation of each Gaussian.
        **kwargs: as in ``ToyData``.
    """

    def __init__(self, num_per_side: int = 5, spacing: float = 2.0, std: float = 0.05, **kwargs) -> None:
        side = [spacing * (k - (num_per_side - 1) / 2) for k in range(num_per_side)]
        super().__init__(means=[[a, b] for a in side for b in side], stds=std, **kwargs)


class TwoMoons(ToyData):
    """Two interleaved half circles of radius 1 with Gaussian noise, as in scikit-learn's ``make_moons``.

    One is (cos t, sin t), the other (1 - cos t, 1/2 - sin t), t uniform in [0, pi], each with probability 1/2.

    Args:
        noise: standard deviation of the noise, at least 0.01.
        **kwargs: as in ``ToyData``.
    """

    def __init__(self, noise: float = 0.1, **kwargs) -> None:
        super().__init__(**kwargs)
        if not noise >= 0.01:
            raise UserError(f"TwoMoons: noise must be at least 0.01, got {noise}.")
        self.noise = noise

    @staticmethod
    def _arcs(t: Tensor) -> Tensor:
        """Both curves at angles t (T,): (2, T, 2)."""
        upper = torch.stack([t.cos(), t.sin()], dim=-1)
        return torch.stack([upper, torch.tensor([1.0, 0.5], dtype=t.dtype, device=t.device) - upper])

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, 2) float32 draws."""
        t = math.pi * torch.rand(num_samples, generator=generator)
        moon = torch.randint(2, (num_samples,), generator=generator)
        points = self._arcs(t)[moon, torch.arange(num_samples)]
        return points + self.noise * torch.randn(num_samples, 2, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) values of log p(x) in nats, in float64.

        p(x) = 1/2 sum over moons of the mean over t of N(x; c(t), noise^2 I), the mean by Gauss-Legendre quadrature
        with at least eight nodes a standard deviation: as exact as float64.
        """
        nodes, weights = np.polynomial.legendre.leggauss(64 + math.ceil(8 * math.pi / self.noise))
        t = torch.from_numpy((nodes + 1) * math.pi / 2).to(x.device)
        log_weight = torch.from_numpy(np.log(weights / 2) - math.log(2)).to(x.device)
        distance = (x.double()[:, None, None] - self._arcs(t)).square().sum(-1)
        log_normal = -distance / (2 * self.noise**2) - math.log(2 * math.pi * self.noise**2)
        return torch.logsumexp((log_normal + log_weight).flatten(1), dim=1)
