"""Draws together with their log-densities."""

from typing import NamedTuple

from torch import Tensor
from torch.distributions import Distribution

from lit_gen.protocols import DrawsWithDensity


class ScoredDraws(NamedTuple):
    """Draws that know their density.

    Attributes:
        z: (*sample_shape, *batch_shape, *event_shape), differentiable in the distribution's parameters.
        log_prob: (*sample_shape, *batch_shape), log-densities in nats.
    """

    z: Tensor
    log_prob: Tensor


def scored_draws(distribution: Distribution, sample_shape: tuple[int, ...] = ()) -> ScoredDraws:
    """Independent draws and their log-densities, in the distribution's own way where it has one."""
    if isinstance(distribution, DrawsWithDensity):
        return ScoredDraws(*distribution.rsample_with_log_prob(sample_shape))
    z = distribution.rsample(sample_shape)
    return ScoredDraws(z, distribution.log_prob(z))
