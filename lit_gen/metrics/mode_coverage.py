"""How many of a distribution's known modes a model's samples reach, and how evenly."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_gen.errors import UserError


class ModeCoverageResult(NamedTuple):
    """Which modes samples reached.

    Attributes:
        num_covered: modes that count as covered.
        high_quality: share of the samples near enough to a mode, in [0, 1].
        kl: KL divergence in nats of the samples' distribution over the modes from the true one; 0 if they are equal.
        num_samples: how many samples there were.
    """

    num_covered: int
    high_quality: float
    kl: float
    num_samples: int


class ClassModesResult(NamedTuple):
    """Which classes samples reached; as in ``ModeCoverageResult``."""

    num_covered: int
    kl: float
    num_samples: int


def kl_of_counts(counts: Tensor, weights: Tensor) -> float:
    """KL(g || p) = sum_k g_k log(g_k / p_k) in nats of the shares g of counts (K,) from weights p (K,).

    Infinite where something is counted that has weight 0; NaN of no counts at all.
    """
    share = counts.double() / counts.sum()
    return float((torch.xlogy(share, share) - torch.xlogy(share, weights)).sum())


def checked_weights(weights: Tensor | None, num_modes: int) -> Tensor:
    """(K,) float64 weights that sum to 1; equal ones for None.

    Raises:
        UserError: they are of another number, negative, or all 0.
    """
    if weights is None:
        weights = torch.ones(num_modes)
    weights = torch.as_tensor(weights, dtype=torch.float64)
    if weights.shape != (num_modes,) or not bool((weights >= 0).all()) or not 0 < float(weights.sum()) < torch.inf:
        raise UserError(f"{num_modes} modes need as many weights, none negative and not all 0, got {weights.tolist()}.")
    return weights / weights.sum()


class ModeCoverage(Metric):
    """Modes covered, share of samples of high quality, and KL divergence over the modes, of points.

    A sample belongs to the mode whose centre is nearest; it is of high quality within ``num_std`` standard deviations
    of it, and a mode is covered by at least one high-quality sample: Srivastava et al., VEEGAN (2017), Section 5.1,
    https://arxiv.org/abs/1705.07761, and Lin et al., PacGAN (2018), Section 4.1, https://arxiv.org/abs/1712.04086.
    The divergence is PacGAN's "reverse KL": of the shares of *all* samples' nearest modes, however far they are, from
    the true shares, here the density's own weights where PacGAN has those of a finite real sample.

    Samples that aren't finite belong to no mode: they count as samples, of low quality, and not in the divergence.

    Args:
        modes: (K, D) centres.
        std: (K,) standard deviation about each, along each coordinate.
        weights: (K,) true shares up to a common factor; None for equal ones.
        num_std: how far a sample of high quality may be. Of samples of the true density in two dimensions the share
            is 1 - exp(-num_std^2 / 2), 98.9 % at 3.

    Raises:
        UserError: shapes that don't fit, deviations that aren't positive, impossible weights.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(
        self, modes: Tensor, std: Tensor, weights: Tensor | None = None, num_std: float = 3.0, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if modes.dim() != 2 or std.shape != modes.shape[:1] or not bool((std > 0).all()) or not num_std > 0:
            raise UserError(
                f"modes (K, D) need K positive standard deviations, and num_std positive: got {tuple(modes.shape)} and "
                f"{std.tolist()}, {num_std}."
            )
        count = len(modes)
        self.num_std = num_std
        # float64 where there is such a thing: a mode's deviation may be a hundredth of its distance from the origin.
        self.register_buffer("modes", modes.double(), persistent=False)
        self.register_buffer("std", std.double(), persistent=False)
        self.register_buffer("weights", checked_weights(weights, count), persistent=False)
        self.add_state("nearest", torch.zeros(count, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("high_quality", torch.zeros(count, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, x: Tensor) -> None:
        """Add samples. ``x``: (N, D)."""
        if x.dim() != 2 or x.shape[1] != self.modes.shape[1]:
            raise ValueError(f"expected samples (N, {self.modes.shape[1]}), got {tuple(x.shape)}")
        self.count = self.count + len(x)
        x = x.detach().to(self.modes)
        x = x[torch.isfinite(x).all(1)]
        distance, mode = (x[:, None] - self.modes).square().sum(2).sqrt().min(1)
        good = distance <= self.num_std * self.std[mode]
        self.nearest = self.nearest + torch.bincount(mode, minlength=len(self.modes))
        self.high_quality = self.high_quality + torch.bincount(mode[good], minlength=len(self.modes))

    def compute(self) -> ModeCoverageResult:
        """Of the samples of all ranks; the shares of none are NaN."""
        count = int(self.count)
        return ModeCoverageResult(
            num_covered=int((self.high_quality > 0).sum()),
            high_quality=int(self.high_quality.sum()) / count if count else float("nan"),
            kl=kl_of_counts(self.nearest, self.weights),
            num_samples=count,
        )


class ClassModes(Metric):
    """Classes that samples fall into and the KL divergence of their shares from the true ones.

    With the 1,000 classes of stacked MNIST, three digits each, this is the count of Metz et al., Unrolled GANs (2017),
    Section 3.3.1, https://arxiv.org/abs/1611.02163: a mode is covered if a classifier puts one sample there. The number
    of samples matters: 26,000 draws of the uniform distribution itself, as are usual, miss none; 2,500 miss 82.
    So does the divergence: N draws of the true distribution itself have one of about (K - 1) / (2 N), 0.019 here.

    Args:
        num_modes: K.
        weights: (K,) true shares up to a common factor; None for equal ones.

    Raises:
        UserError: impossible weights.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(self, num_modes: int, weights: Tensor | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.register_buffer("weights", checked_weights(weights, num_modes), persistent=False)
        self.add_state("counts", torch.zeros(num_modes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mode: Tensor) -> None:
        """Add samples by their classes, (N,) int64 in [0, K)."""
        self.counts = self.counts + torch.bincount(mode.to(self.counts.device), minlength=len(self.counts))

    def compute(self) -> ClassModesResult:
        """Of the samples of all ranks; the divergence of none is NaN."""
        return ClassModesResult(
            int((self.counts > 0).sum()), kl_of_counts(self.counts, self.weights), int(self.counts.sum())
        )
