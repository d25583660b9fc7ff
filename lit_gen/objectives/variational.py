"""Lower bounds on the log-likelihood of a latent-variable model.

Kingma & Welling, Auto-Encoding Variational Bayes (2014), Eq. 3, https://arxiv.org/abs/1312.6114
Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders (2016), Eq. 8, https://arxiv.org/abs/1509.00519
"""

from collections.abc import Callable
from math import log
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from lit_gen.distributed import sum_over_ranks, world_size
from lit_gen.errors import UserError
from lit_gen.protocols import DrawsWithDensity


class Bound(NamedTuple):
    """A lower bound on the log-likelihood of each example, in nats.

    Attributes:
        log_likelihood: (B,), log p(x|z), mean over the draws of z.
        kl: (B,), KL(q(z|x) || p(z)), in closed form or as the mean of log q(z|x) - log p(z) over the draws.
        lower_bound: (B,), the bound on log p(x), with every weight at 1.
        value: (B,), what training maximises; ``lower_bound`` itself where nothing is weighted.
    """

    log_likelihood: Tensor
    kl: Tensor
    lower_bound: Tensor
    value: Tensor


class Inference(NamedTuple):
    """What a variational objective may ask about a batch of B examples.

    Attributes:
        posterior: q(z|x): batch (B,), event (Z,).
        prior: p(z): batch () or (B,), event (Z,).
        log_px: codes (B, Z) or (K, B, Z) -> (B,) or (K, B), log p(x|z) in nats, summed over the event.
        log_qz_alone: codes (K, B, Z) -> (K, B), log q(z|x) as a function of z alone: its gradient doesn't reach the
            parameters of q but through z.
    """

    posterior: Distribution
    prior: Distribution
    log_px: Callable[[Tensor], Tensor]
    log_qz_alone: Callable[[Tensor], Tensor]


class Draws(NamedTuple):
    """Draws of a code with their log-densities.

    Attributes:
        z: (K, B, Z), differentiable in the distribution's parameters.
        log_qz: (K, B), log q(z|x) in nats.
    """

    z: Tensor
    log_qz: Tensor


def draw(posterior: Distribution, num_samples: int) -> Draws:
    """``num_samples`` independent draws of z ~ q(z|x) and their log-densities.

    A distribution that knows the density of its own draws at less cost than any point's, such as a flow, gives both by
    ``rsample_with_log_prob(sample_shape)``.
    """
    if isinstance(posterior, DrawsWithDensity):
        return Draws(*posterior.rsample_with_log_prob((num_samples,)))
    z = posterior.rsample((num_samples,))
    return Draws(z, posterior.log_prob(z))


def elbo(log_px_z: Tensor, kl: Tensor, beta: float = 1.0) -> Bound:
    """The evidence lower bound, Eq. 3 of Kingma & Welling; with beta != 1, the objective of a beta-VAE.

    Higgins et al., beta-VAE (2017), Eq. 4, https://openreview.net/forum?id=Sy2fzU9gl

    Args:
        log_px_z: (B,), log p(x|z) with z ~ q(z|x), summed over the event, in nats.
        kl: (B,), KL(q(z|x) || p(z)), summed over the latent's dimensions, in nats.
        beta: weight of the KL.
    """
    lower_bound = log_px_z - kl
    return Bound(log_px_z, kl, lower_bound, lower_bound if beta == 1.0 else log_px_z - beta * kl)


def importance_bound(log_weights: Tensor) -> Tensor:
    """log of the mean importance weight, log(1/K sum_k p(x, z_k) / q(z_k|x)): (K, ...) -> (...) nats.

    Its expectation is the ELBO at K = 1, rises with K, and tends to log p(x); Eq. 8 of Burda et al.

    Args:
        log_weights: (K, ...), log p(x, z_k) - log q(z_k|x) with z_k ~ q(z|x).
    """
    return log_weights.logsumexp(0) - log(len(log_weights))


class VariationalObjective(nn.Module):
    """Base: a bound on log p(x) for each example of a batch.

    In evaluation mode, and with ``beta`` 1, ``value`` is ``lower_bound``: checkpoints are never chosen by a weighted
    bound.
    """

    def forward(self, inference: Inference, beta: float = 1.0) -> Bound:
        """The bound; ``beta`` weighs what keeps the posterior near the prior."""
        raise NotImplementedError


class ELBO(VariationalObjective):
    """The evidence lower bound, E_q[log p(x|z)] - beta KL(q(z|x) || p(z)).

    Kingma & Welling, Auto-Encoding Variational Bayes (2014), Eq. 3; the sampled KL makes it their Eq. 2.

    Args:
        num_samples: draws of z over which log p(x|z), and a sampled KL, are averaged.
        closed_form_kl: the KL by its formula; otherwise the mean of log q(z|x) - log p(z) over the draws, which
            works for every posterior and prior.
        free_bits: in training, nats that each dimension of the code costs at least, on the batch's average: below them
            the KL has no gradient. Kingma et al., Inverse Autoregressive Flow (2016), Eq. 15,
            https://arxiv.org/abs/1606.04934. It needs the closed form.

    Raises:
        UserError: a number out of range; free bits without the closed form; at the first bound, a pair of
            distributions without a closed form.
    """

    def __init__(self, num_samples: int = 1, closed_form_kl: bool = True, free_bits: float = 0.0) -> None:
        super().__init__()
        check_num_samples("ELBO", num_samples)
        if not free_bits >= 0:
            raise UserError(f"ELBO's free_bits must not be negative, got {free_bits}")
        if free_bits and not closed_form_kl:
            raise UserError("ELBO's free_bits are counted for each dimension of the closed form: set closed_form_kl")
        self.num_samples = num_samples
        self.closed_form_kl = closed_form_kl
        self.free_bits = free_bits

    def forward(self, inference: Inference, beta: float = 1.0) -> Bound:
        q, p = inference.posterior, inference.prior
        if not self.closed_form_kl:
            z, log_qz = draw(q, self.num_samples)
            kl = (log_qz - p.log_prob(z)).mean(0)
            return elbo(inference.log_px(z).mean(0), kl, beta)
        if self.num_samples == 1:
            log_px_z = inference.log_px(q.rsample())
        else:
            log_px_z = inference.log_px(q.rsample((self.num_samples,))).mean(0)
        bound = elbo(log_px_z, closed_form_kl(q, p), beta)
        if self.free_bits and self.training:
            return bound._replace(value=log_px_z - beta * self._charged(q, p))
        return bound

    def _charged(self, q: Distribution, p: Distribution) -> Tensor:
        """(B,), whose mean is sum_j max(free_bits, E_x[KL_j]): Eq. 15 of Kingma et al."""
        try:
            kl = closed_form_kl(q.elementwise(), p.elementwise())  # (B, Z)
        except AttributeError:
            raise UserError(
                f"ELBO's free_bits need distributions of independent coordinates, not {type(q).__name__} and "
                f"{type(p).__name__}"
            ) from None
        mean = kl.detach().mean(0)
        if world_size() > 1:  # of the joint batch, of which every rank has as many examples
            mean = sum_over_ranks(mean) / world_size()
        return torch.where(mean > self.free_bits, kl, self.free_bits).sum(1)


def closed_form_kl(q: Distribution, p: Distribution) -> Tensor:
    """KL(q || p) by its formula, (B,).

    Raises:
        UserError: none is known for this pair.
    """
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        raise UserError(
            f"KL({type(q).__name__} || {type(p).__name__}) has no closed form: give the ELBO closed_form_kl false"
        ) from None


class ImportanceWeighted(VariationalObjective):
    """The importance-weighted bound log(1/K sum_k p(x, z_k) / q(z_k|x)), the mean over M such bounds.

    Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders (2016), Eq. 8 and 14,
    https://arxiv.org/abs/1509.00519. ``beta`` weighs log p(z) - log q(z|x) within each weight.

    Args:
        num_samples: K, draws in a bound.
        num_monte_carlo: M, bounds that are averaged.
        gradient: how the gradient of q's parameters is estimated: ``standard``, the derivative of the bound;
            ``stl`` leaves the score of q out, Roeder, Wu & Duvenaud, Sticking the Landing (2017), Eq. 8,
            https://arxiv.org/abs/1703.09194, whose variance vanishes at the true posterior but which is biased for
            K > 1; ``dreg`` is doubly reparameterized, unbiased, Tucker et al. (2019), Eq. 8,
            https://arxiv.org/abs/1810.04152. The bound itself and the decoder's gradient are the same for all.

    Raises:
        UserError: a count below 1.
    """

    def __init__(
        self,
        num_samples: int = 5,
        num_monte_carlo: int = 1,
        gradient: Literal["standard", "stl", "dreg"] = "standard",
    ) -> None:
        super().__init__()
        check_num_samples("ImportanceWeighted", num_samples)
        check_num_samples("ImportanceWeighted", num_monte_carlo, "num_monte_carlo")
        self.num_samples = num_samples
        self.num_monte_carlo = num_monte_carlo
        self.gradient = gradient

    def forward(self, inference: Inference, beta: float = 1.0) -> Bound:
        shape = (self.num_samples, self.num_monte_carlo)
        z, log_qz = draw(inference.posterior, self.num_samples * self.num_monte_carlo)
        if self.gradient != "standard":
            log_qz = inference.log_qz_alone(z)
        log_px_z = inference.log_px(z)  # (K * M, B)
        log_ratio = inference.prior.log_prob(z) - log_qz
        log_weights = log_px_z + (log_ratio if beta == 1.0 else beta * log_ratio)
        value = importance_bound(log_weights.unflatten(0, shape)).mean(0)
        lower_bound = value
        if beta != 1.0:
            lower_bound = importance_bound((log_px_z + log_ratio).unflatten(0, shape)).mean(0)
        if self.gradient == "dreg" and z.requires_grad:
            # The bound's own derivative in z_k carries its normalized weight once, Eq. 8 of Tucker et al. twice. Their
            # second comes of the score of q, which beta weighs; the derivative along the path is there without it.
            share = log_weights.detach().unflatten(0, shape).softmax(0).flatten(0, 1).unsqueeze(-1)
            share = share if beta == 1.0 else 1.0 - beta + beta * share
            z.register_hook(lambda gradient: gradient * share)
        return Bound(log_px_z.mean(0), -log_ratio.mean(0), lower_bound, value)


def check_num_samples(objective: str, value: int, name: str = "num_samples") -> None:
    """Refuse counts below 1.

    Raises:
        UserError: ``value`` is one.
    """
    if value < 1:
        raise UserError(f"{objective} needs {name} of at least 1, got {value}")


class LinearWarmup:
    """A weight that goes in a straight line from ``start`` to ``end`` in ``num_steps`` steps and stays there.

    Bowman et al., Generating Sentences from a Continuous Space (2016), Section 3.1, https://arxiv.org/abs/1511.06349

    Args:
        start: the weight at step 0.
        end: the weight from step ``num_steps`` on.
        num_steps: length of the way, in training steps.

    Raises:
        UserError: ``num_steps`` is less than 1.
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, num_steps: int = 1000) -> None:
        if num_steps < 1:
            raise UserError(f"a LinearWarmup's num_steps must be at least 1, got {num_steps}")
        self.start = start
        self.end = end
        self.num_steps = num_steps

    def __call__(self, step: int) -> float:
        """The weight at a global step."""
        if step >= self.num_steps:
            return self.end
        return self.start + (self.end - self.start) * step / self.num_steps
