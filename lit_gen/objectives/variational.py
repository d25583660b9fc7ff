"""Lower bounds on the log-likelihood of a latent-variable model.

Kingma & Welling, Auto-Encoding Variational Bayes (2014), Eq. 3, https://arxiv.org/abs/1312.6114
Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders (2016), Eq. 8, https://arxiv.org/abs/1509.00519
"""

from math import log
from typing import NamedTuple

from torch import Tensor

from lit_gen.errors import UserError


class Bound(NamedTuple):
    """The evidence lower bound of each example, in nats.

    Attributes:
        log_likelihood: (B,), log p(x|z) at a z drawn from q(z|x).
        kl: (B,), KL(q(z|x) || p(z)).
        value: (B,), log_likelihood - beta * kl: to be maximised. A bound on log p(x) only where beta >= 1.
    """

    log_likelihood: Tensor
    kl: Tensor
    value: Tensor


def elbo(log_px_z: Tensor, kl: Tensor, beta: float = 1.0) -> Bound:
    """The evidence lower bound, Eq. 3 of Kingma & Welling; with beta != 1, the objective of a beta-VAE.

    Higgins et al., beta-VAE (2017), Eq. 4, https://openreview.net/forum?id=Sy2fzU9gl

    Args:
        log_px_z: (B,), log p(x|z) with z ~ q(z|x), summed over the event, in nats.
        kl: (B,), KL(q(z|x) || p(z)), summed over the latent's dimensions, in nats.
        beta: weight of the KL.
    """
    return Bound(log_likelihood=log_px_z, kl=kl, value=log_px_z - (kl if beta == 1.0 else beta * kl))


def importance_bound(log_weights: Tensor) -> Tensor:
    """log of the mean importance weight, log(1/K sum_k p(x, z_k) / q(z_k|x)): (K, B) -> (B,) nats.

    Its expectation is the ELBO at K = 1, rises with K, and tends to log p(x); Eq. 8 of Burda et al.

    Args:
        log_weights: (K, B), log p(x, z_k) - log q(z_k|x) with z_k ~ q(z|x).
    """
    return log_weights.logsumexp(0) - log(len(log_weights))


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
