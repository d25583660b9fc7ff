"""Mixtures of the distributions of a batch: priors of many modes."""

from math import log

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.distributions.normal import DiagonalNormal
from lit_gen.distributions.precision import full_precision
from lit_gen.errors import UserError


class Mixture(Distribution):
    """sum_m share_m p_m(z): batch (), event (Z,).

    Args:
        components: p_m: batch (M,), event (Z,), with ``rows`` and ``log_prob``.
        logits: (M,), whose softmax are the shares; None for equal ones.
    """

    arg_constraints = {}

    def __init__(self, components: Distribution, logits: Tensor | None = None) -> None:
        self.components = components
        self.logits = logits
        super().__init__(torch.Size(), components.event_shape, validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, Z): each of a component drawn by its share."""
        count = torch.Size(sample_shape).numel()
        if self.logits is None:
            chosen = torch.randint(self.components.batch_shape[0], (count,))
        else:
            chosen = self.logits.softmax(0).multinomial(count, replacement=True)
        return self.components.rows(chosen).sample().view(*sample_shape, *self.event_shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., Z) -> (...,), log-densities in nats. Each code meets all components."""
        if isinstance(self.components, DiagonalNormal) and z.device.type != "mps":  # which has no double precision
            of_components = normal_log_probs(z, self.components)
        else:
            of_components = self.components.log_prob(z.unsqueeze(-2))
        if self.logits is None:
            return of_components.logsumexp(-1) - log(self.components.batch_shape[0])
        return (of_components + self.logits.log_softmax(0)).logsumexp(-1)


def normal_log_probs(z: Tensor, components: DiagonalNormal) -> Tensor:
    """Codes (..., Z) and M normal distributions -> (..., M), the log-density of each code under each, in nats.

    The squares are multiplied out, so that matrix products do the work and nothing of size (..., M, Z) is held. Their
    large terms nearly cancel, which leaves 1e-16 (|z - c| / scale)^2 of rounding in double precision, c the mean of all
    components: 1e-6 nats for codes ten from it under components of scale 1e-4.
    """
    wide = torch.float64
    precision = components.scale.to(wide).square().reciprocal()
    centre = components.loc.detach().to(wide).mean(0)
    codes, loc = z.to(wide) - centre, components.loc.to(wide) - centre
    at_zero = DiagonalNormal(loc, components.scale.to(wide).expand_as(loc)).log_prob(torch.zeros_like(loc))
    with full_precision(z):
        exponent = codes @ (loc * precision).mT - 0.5 * (codes.square() @ precision.mT)
    return (at_zero + exponent).to(z.dtype)


class MixturePrior(nn.Module):
    """A learned mixture of normal distributions with diagonal covariances.

    Dilokthanakul et al., Deep Unsupervised Clustering with Gaussian Mixture VAEs (2016), Section 3,
    https://arxiv.org/abs/1611.02648, put one in the place of N(0, I); Tomczak & Welling (2018) measure it as their
    "MoG", https://arxiv.org/abs/1705.07120. Shares start equal, means at random, so that each coordinate has unit
    variance over all components. The KL divergence to it has no closed form: ``ELBO`` needs
    ``closed_form_kl: false``.

    Args:
        dim: Z.
        num_components: M.

    Raises:
        UserError: a number below 1.
    """

    def __init__(self, dim: int, num_components: int = 10) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"a prior's dim must be at least 1, got {dim}")
        if num_components < 1:
            raise UserError(f"a MixturePrior's num_components must be at least 1, got {num_components}")
        self.dim = dim
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, dim) * 0.5**0.5)
        self.log_scale = nn.Parameter(torch.full((num_components, dim), 0.5).log() / 2)

    def forward(self) -> Mixture:
        """The distribution: batch (), event (dim,)."""
        return Mixture(DiagonalNormal(self.loc, self.log_scale.exp()), self.logits)
