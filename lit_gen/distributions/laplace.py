"""Laplace distributions: likelihoods by absolute error."""

from math import log, sqrt

import torch
from torch import Tensor

from lit_gen.distributions.location_scale import LocationScale, LocationScaleHead


class IndependentLaplace(LocationScale):
    """Independent Laplace variables of density exp(-|x - loc| / scale) / (2 scale); ``loc`` is the mean and the median.

    Args:
        loc: (*batch_shape, *event_shape).
        scale: mean absolute deviations, of a shape that expands to that of ``loc``.
        num_event_dims: how many of the last dimensions are one event.
    """

    @property
    def stddev(self) -> Tensor:
        """(*batch_shape, *event_shape)."""
        return sqrt(2.0) * self.scale

    @property
    def variance(self) -> Tensor:
        """(*batch_shape, *event_shape)."""
        return 2.0 * self.scale.square()

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, *event_shape) draws loc + scale * noise, differentiable in loc and scale."""
        # The difference of two exponential variables: no logarithm of a uniform zero.
        noise = torch.empty((2, *sample_shape, *self.loc.shape), dtype=self.loc.dtype, device=self.loc.device)
        noise.exponential_()
        return torch.addcmul(self.loc, self.scale, noise[0] - noise[1])

    def log_prob(self, x: Tensor) -> Tensor:
        """(..., *batch_shape, *event_shape) -> (..., *batch_shape), log-densities in nats, summed over the event."""
        return self.sum_over_event(-(x - self.loc).abs() / self.scale - self.scale.log() - log(2.0))


class LaplaceHead(LocationScaleHead):
    """Parameters -> independent Laplace variables: batch (B,), event event_shape; of fixed scale, an L1 loss.

    With ``scale`` given, the parameters (B, *event_shape) are the locations. Without it they are (B, 2, *event_shape),
    locations and logarithms of scales, and the scale is exp(log scale) + min_scale. Densities carry their constant,
    -log(2 scale) for each element.

    Args:
        scale: the fixed mean absolute deviation, or a ``LearnedScale`` that all elements share, or None to read one for
            each element.
        min_scale: what a scale that is read stays above.

    Raises:
        UserError: a scale that is not positive, or parameters without the dimension of length 2.
    """

    family = IndependentLaplace
