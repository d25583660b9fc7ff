"""Bernoulli likelihoods of pixels."""

from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent

from lit_gen.distributions.precision import at_least_single


class BernoulliHead(nn.Module):
    """Logits (B, *event_shape) -> independent Bernoulli variables: batch (B,), event event_shape.

    ``log_prob`` takes x in [0, 1] and sums x log p + (1 - x) log(1 - p) over the event, in nats: the log-probability
    where x is 0 or 1, the expectation of it under Bernoulli(x) where x is a grey level. ``mean`` is p.
    """

    params_per_output = 1

    def forward(self, params: Tensor) -> Independent:
        """(B, *event_shape) -> a distribution with batch (B,)."""
        logits = at_least_single(params)
        return Independent(Bernoulli(logits=logits, validate_args=False), logits.dim() - 1, validate_args=False)
