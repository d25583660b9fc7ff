"""Points whose density is known, most of them in the plane: where a model can be compared with the truth."""

import itertools
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


class PointMasses(ToyData):
    """A few points, each drawn with a probability of its own: a discrete distribution.

    Args:
        points: K different points of D coordinates, float32.
        weights: share of each, up to a common factor; None for equal shares.
        event_shape: (D,).
        **kwargs: as in ``ToyData``.

    Raises:
        UserError: the parameters don't fit each other, or points are equal.
    """

    def __init__(
        self,
        points: list[list[float]],
        weights: list[float] | None = None,
        event_shape: tuple[int, ...] = (2,),
        **kwargs,
    ) -> None:
        super().__init__(event_shape=event_shape, **kwargs)
        count, name = len(points), type(self).__name__
        weights = [1.0] * count if weights is None else weights
        if count == 0 or any((len(point),) != self.event_shape for point in points):
            raise UserError(f"{name}: every point must have the shape {list(self.event_shape)} of an example.")
        if len(weights) != count or min(weights) < 0 or sum(weights) <= 0:
            raise UserError(f"{name}: {count} points need {count} weights, none negative and not all 0, got {weights}.")
        self.points = torch.tensor(points, dtype=torch.float32)
        if len(self.points.unique(dim=0)) != count:
            raise UserError(f"{name}: the points must differ from each other in single precision.")
        self.weights = torch.tensor(weights, dtype=torch.float64) / sum(weights)

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, D) float32 draws."""
        return self.points[torch.multinomial(self.weights, num_samples, replacement=True, generator=generator)]

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) logarithms of the probabilities (no densities) of the points (B, D) themselves, in nats, in float64;
        -inf elsewhere."""
        same = (x.float()[:, None] == self.points.to(x.device)).all(-1)  # (B, K), at most one in a row
        return (same * self.weights.to(x.device)).sum(1).log()


class Dice(PointMasses):
    """Throws of dice: every one of ``num_dice`` shows one of the numbers from 1 on, independently.

    Args:
        num_faces: of each die.
        num_dice: D.
        weights: share of each face, up to a common factor; None for fair dice.
        event_shape: (num_dice,), which is what None stands for.
        **kwargs: as in ``ToyData``.

    Raises:
        UserError: as ``PointMasses``; numbers below 1.
    """

    def __init__(
        self,
        num_faces: int = 6,
        num_dice: int = 1,
        weights: list[float] | None = None,
        event_shape: tuple[int, ...] | None = None,
        **kwargs,
    ) -> None:
        if num_faces < 1 or num_dice < 1:
            raise UserError(f"Dice: num_faces and num_dice must be at least 1, got {num_faces} and {num_dice}.")
        weights = [1.0] * num_faces if weights is None else weights
        if len(weights) != num_faces:
            raise UserError(f"Dice: {num_faces} faces need as many weights, got {len(weights)}.")
        throws = list(itertools.product(range(num_faces), repeat=num_dice))
        points = [[face + 1.0 for face in throw] for throw in throws]
        shares = [math.prod(weights[face] for face in throw) for throw in throws]
        super().__init__(points, shares, event_shape=(num_dice,) if event_shape is None else event_shape, **kwargs)
