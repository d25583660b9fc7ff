"""Diagonal normal distributions: posteriors of codes, likelihoods of real values."""

from math import log, pi

import torch
from torch import Tensor
from torch.distributions import register_kl

from lit_gen.distributions.location_scale import LocationScale, LocationScaleHead


class DiagonalNormal(LocationScale):
    """Independent normal variables. ``kl_divergence`` between two has its closed form.

    Args:
        loc: (*batch_shape, *event_shape), means.
        scale: standard deviations, of a shape that expands to that of ``loc``.
        num_event_dims: how many of the last dimensions are one event.
    """

    @property
    def stddev(self) -> Tensor:
        """(*batch_shape, *event_shape)."""
        return self.scale

    @property
    def variance(self) -> Tensor:
        """(*batch_shape, *event_shape)."""
        return self.scale**2

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, *event_shape) draws loc + scale * noise, differentiable in loc and scale."""
        shape = (*sample_shape, *self.loc.shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, self.scale, noise)

    def rsample_with_log_prob(self, sample_shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """The draws of ``rsample`` and their log-densities, (*sample_shape, *batch_shape) nats, by the noise."""
        shape = (*sample_shape, *self.loc.shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, self.scale, noise), self._log_prob_of_standardized(noise)

    def log_prob(self, x: Tensor) -> Tensor:
        """(..., *batch_shape, *event_shape) -> (..., *batch_shape), log-densities in nats, summed over the event."""
        return self._log_prob_of_standardized((x - self.loc) / self.scale)

    def _log_prob_of_standardized(self, noise: Tensor) -> Tensor:
        """The log-density at loc + scale * noise."""
        log_volume = self.sum_over_event(self.scale.log()) + 0.5 * log(2 * pi) * self.event_shape.numel()
        return -0.5 * self.sum_over_event(noise * noise) - log_volume


class UnitNormal(DiagonalNormal):
    """N(0, I): a type of its own, because its draws, its density and the KL divergence to it need fewer operations."""

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, *event_shape) draws: the noise itself."""
        return torch.randn((*sample_shape, *self.loc.shape), dtype=self.loc.dtype, device=self.loc.device)

    sample = rsample  # the draws have no gradient

    def rsample_with_log_prob(self, sample_shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """The draws of ``rsample`` and their log-densities, (*sample_shape, *batch_shape) nats."""
        z = self.rsample(sample_shape)
        return z, self.log_prob(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """(..., *batch_shape, *event_shape) -> (..., *batch_shape), log-densities in nats, summed over the event."""
        return -0.5 * (self.sum_over_event(x * x) + self.event_shape.numel() * log(2 * pi))


@register_kl(DiagonalNormal, DiagonalNormal)
def _kl_normal_normal(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    ratio = q.scale / p.scale
    distance = (q.loc - p.loc) / p.scale
    return q.sum_over_event(0.5 * (ratio**2 + distance**2 - 1.0) - ratio.log())


@register_kl(DiagonalNormal, UnitNormal)
def _kl_normal_unit(q: DiagonalNormal, p: UnitNormal) -> Tensor:
    """Kingma & Welling (2014), Appendix B."""
    squares = torch.addcmul(q.loc * q.loc, q.scale, q.scale)
    return q.sum_over_event(torch.add(squares - 1.0, q.scale.log(), alpha=-2.0)) * 0.5


class NormalHead(LocationScaleHead):
    """Parameters -> independent normal variables: batch (B,), event event_shape.

    With ``scale`` given, the parameters (B, *event_shape) are the means. Without it they are (B, 2, *event_shape),
    means and logarithms of scales, and the standard deviation is exp(log scale) + min_scale. The distribution's
    density, KL divergence and draws all use that one scale; densities carry their constant,
    -log(scale) - log(2 pi) / 2 for each element.

    Args:
        scale: the fixed standard deviation, or a ``LearnedScale`` that all elements share, or None to read one for
            each element.
        min_scale: what a scale that is read stays above: without it, the density of pixels that are always black has
            no maximum.

    Raises:
        UserError: a scale that is not positive, or parameters without the dimension of length 2.
    """

    family = DiagonalNormal
