"""Diagonal normal distributions: posteriors of codes, likelihoods of real values."""

from math import log, pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, register_kl

from lit_gen.distributions.precision import at_least_single
from lit_gen.errors import UserError


class DiagonalNormal(Distribution):
    """Independent normal variables.

    ``torch.distributions.Independent(Normal(...))`` with less ceremony: in a small model's training step the generic
    classes' bookkeeping costs more than their arithmetic. ``kl_divergence`` between two has its closed form.

    Args:
        loc: (*batch_shape, *event_shape), means.
        scale: standard deviations, of a shape that expands to that of ``loc``.
        num_event_dims: how many of the last dimensions are one event.
    """

    arg_constraints = {}
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, num_event_dims: int = 1) -> None:
        self.loc = loc
        self.scale = scale.expand_as(loc)
        cut = loc.dim() - num_event_dims
        super().__init__(loc.shape[:cut], loc.shape[cut:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch_shape, *event_shape)."""
        return self.loc

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

    def log_prob(self, x: Tensor) -> Tensor:
        """(..., *batch_shape, *event_shape) -> (..., *batch_shape), log-densities in nats, summed over the event."""
        exponent = ((x - self.loc) / self.scale) ** 2
        return self.sum_over_event(-0.5 * (exponent + log(2 * pi)) - self.scale.log())

    def sum_over_event(self, x: Tensor) -> Tensor:
        """(..., *event_shape) -> (...)."""
        dims = len(self.event_shape)
        return x.flatten(-dims).sum(-1) if dims else x


class UnitNormal(DiagonalNormal):
    """N(0, I): a type of its own, because its draws and the KL divergence to it need fewer operations."""

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, *event_shape) draws: the noise itself."""
        return torch.randn((*sample_shape, *self.loc.shape), dtype=self.loc.dtype, device=self.loc.device)


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


class NormalHead(nn.Module):
    """Parameters -> independent normal variables: batch (B,), event event_shape.

    With ``scale`` given, the parameters (B, *event_shape) are the means and every element has that standard
    deviation. Without it they are (B, 2, *event_shape), means and logarithms of scales, and the standard deviation is
    exp(log scale) + min_scale. The distribution's density, KL divergence and draws all use that one scale; densities
    carry their constant, -log(scale) - log(2 pi) / 2 for each element.

    Args:
        scale: the fixed standard deviation, or None to read one for each element.
        min_scale: what a learned standard deviation stays above: without it, the density of pixels that are always
            black has no maximum.

    Raises:
        UserError: a scale that is not positive, or parameters without the dimension of length 2.
    """

    def __init__(self, scale: float | None = None, min_scale: float = 1e-4) -> None:
        super().__init__()
        if scale is not None and not scale > 0:
            raise UserError(f"a NormalHead's scale must be positive, got {scale}")
        if not min_scale >= 0:
            raise UserError(f"a NormalHead's min_scale must not be negative, got {min_scale}")
        self.scale = scale
        self.min_scale = min_scale
        self.params_per_output = 2 if scale is None else 1

    def forward(self, params: Tensor) -> DiagonalNormal:
        """(B, *event_shape) with a fixed scale, else (B, 2, *event_shape) -> a distribution with batch (B,)."""
        params = at_least_single(params)
        if self.scale is not None:
            return DiagonalNormal(params, params.new_full((), self.scale), params.dim() - 1)
        if params.dim() < 2 or params.shape[1] != 2:
            raise UserError(
                f"a NormalHead with a learned scale needs parameters of shape (B, 2, ...), got "
                f"{tuple(params.shape)}: give the network before it params_per_output 2"
            )
        mean, log_scale = params.unbind(1)
        return DiagonalNormal(mean, log_scale.exp() + self.min_scale, mean.dim() - 1)
