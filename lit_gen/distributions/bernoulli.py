"""Bernoulli likelihoods of pixels."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import binary_cross_entropy_with_logits

from lit_gen.distributions.precision import at_least_single
from lit_gen.tensor import sum_except_batch


class PixelwiseBernoulli(Distribution):
    """Independent Bernoulli variables: batch (B,), event event_shape.

    ``torch.distributions.Independent(Bernoulli(...))`` with less ceremony: in a small model's training step the
    generic classes' bookkeeping costs more than their arithmetic.

    Args:
        logits: (B, *event_shape), log p / (1 - p).
    """

    arg_constraints = {}

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:1], logits.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, *event_shape), p."""
        return self.logits.sigmoid()

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, *event_shape) zeros and ones."""
        return self.mean.expand(*sample_shape, *self.logits.shape).bernoulli()

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, *event_shape) in [0, 1] -> (B,), the sum over the event of x log p + (1 - x) log(1 - p), in nats."""
        return -sum_except_batch(binary_cross_entropy_with_logits(self.logits, x, reduction="none"))


class BernoulliHead(nn.Module):
    """Logits (B, *event_shape) -> independent Bernoulli variables: batch (B,), event event_shape.

    ``log_prob`` takes x in [0, 1] and sums x log p + (1 - x) log(1 - p) over the event, in nats: the log-probability
    where x is 0 or 1, the expectation of it under Bernoulli(x) where x is a grey level. ``mean`` is p.
    """

    params_per_output = 1

    def forward(self, params: Tensor) -> PixelwiseBernoulli:
        """(B, *event_shape) -> a distribution with batch (B,)."""
        return PixelwiseBernoulli(at_least_single(params))
