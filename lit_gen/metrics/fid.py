"""Fréchet distance between the Gaussians that two sets of features have the moments of."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class Moments(NamedTuple):
    """Mean and covariance of a set of features.

    Attributes:
        mean: (D,), float64.
        covariance: (D, D), float64, unbiased: divided by count - 1.
        count: number of examples.
    """

    mean: Tensor
    covariance: Tensor
    count: int


def frechet_distance(a: Moments, b: Moments) -> Tensor:
    """Squared Fréchet (2-Wasserstein) distance |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of two Gaussians.

    Dowson & Landau, The Fréchet distance between multivariate normal distributions (1982), Eq. 16; as a score of
    generators Heusel et al. (2017), Eq. 6, https://arxiv.org/abs/1706.08500

    Returns:
        A float64 scalar, at least 0; NaN if a moment isn't finite.

    Raises:
        ValueError: if the moments have different numbers of features.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"cannot compare {a.mean.numel()} features with {b.mean.numel()}")
    if not all(value.isfinite().all() for value in (a.mean, a.covariance, b.mean, b.covariance)):
        return a.mean.new_full((), torch.nan)
    # With S = R R' for both, (S_a S_b)^(1/2) has the trace of (R_a' S_b R_a)^(1/2): the sum of the singular values of
    # R_a' R_b. These are exact to rounding; roots of a product's eigenvalues would be to the square root of it.
    trace_of_root = torch.linalg.svdvals(_root(a.covariance).T @ _root(b.covariance)).sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * trace_of_root
    return distance.clamp_min(0)


def _root(covariance: Tensor) -> Tensor:
    """R, (D, r), with R R' = covariance; r is the rank."""
    variances, directions = torch.linalg.eigh(covariance)
    # With fewer examples than features the other eigenvalues are noise of order eps, negative ones among them.
    kept = variances > variances[-1].clamp_min(0) * len(variances) * torch.finfo(variances.dtype).eps
    return directions[:, kept] * variances[kept].sqrt()


class FeatureMoments(Metric):
    """Streams the mean and covariance of features in float64: memory doesn't grow with the number of examples.

    The covariance is the difference of two sums, so that a few times eps (mean / deviation)^2 of it is rounding: about
    a thousandth where features lie a million deviations from 0.

    Args:
        num_features: D.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(self, num_features: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(num_features, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(num_features, num_features, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add examples. ``features``: (B, D)."""
        if features.dim() != 2 or features.shape[1] != len(self.total):
            raise ValueError(f"expected features (B, {len(self.total)}), got {tuple(features.shape)}")
        features = features.detach().to(self.total.device).to(self.total.dtype)
        self.total = self.total + features.sum(0)
        self.outer = self.outer + features.T @ features
        self.count = self.count + len(features)

    def compute(self) -> Moments:
        """The moments of all examples of all ranks.

        Raises:
            ValueError: with fewer than two examples there is no covariance.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 examples, got {int(self.count)}")
        mean = self.total / self.count
        covariance = (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)
        return Moments(mean, covariance, int(self.count))

    def moments(self) -> Moments:
        """As ``compute``, in the shapes of ``Moments`` for one feature too, of which torchmetrics makes scalars."""
        mean, covariance, count = self.compute()
        num_features = len(self.total)
        return Moments(mean.view(num_features), covariance.view(num_features, num_features), count)


class FrechetDistance(Metric):
    """Fréchet distance between real and generated features.

    Args:
        num_features: D.
        real: moments of the real examples where they are known; otherwise they come through ``update``.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, num_features: int, real: Moments | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if real is not None and real.mean.shape != (num_features,):
            raise ValueError(f"real moments have {real.mean.numel()} features, expected {num_features}")
        self.known_real = real
        # Metrics within a metric: each sums its own states over the ranks.
        self.real = FeatureMoments(num_features, **kwargs)
        self.fake = FeatureMoments(num_features, **kwargs)

    def update(self, features: Tensor, *, real: bool) -> None:
        """Add examples. ``features``: (B, D)."""
        if real and self.known_real is not None:
            raise ValueError("the real moments were given: they cannot be added to")
        (self.real if real else self.fake).update(features)

    def compute(self) -> Tensor:
        """The squared distance, a float64 scalar; see ``frechet_distance``."""
        fake = self.fake.moments()
        real = self.real.moments() if self.known_real is None else self.known_real
        return frechet_distance(Moments(real.mean.to(fake.mean), real.covariance.to(fake.mean), real.count), fake)

    def reset(self) -> None:
        """Forget the examples; moments given to the constructor stay."""
        super().reset()
        self.real.reset()
        self.fake.reset()
