"""Continuous Bernoulli likelihoods: densities of grey levels in [0, 1]."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.distributions import tilted_uniform
from lit_gen.distributions.support import check_unit_interval
from lit_gen.tensor import at_least_single, sum_except_batch


class ContinuousBernoulli(Distribution):
    """Independent variables in [0, 1] of density C(p) p^x (1 - p)^(1 - x): batch (B,), event event_shape.

    Loaiza-Ganem & Cunningham, The continuous Bernoulli (2019), Eq. 4-8, https://arxiv.org/abs/1907.06845. With l the
    logit of p the density is e^(l x) / Z(l), Z(l) = (e^l - 1) / l, which has no singularity at p = 1/2.

    Args:
        logits: (B, *event_shape), log p / (1 - p).
    """

    arg_constraints = {}

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:1], logits.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, *event_shape): not p, but between p and 1/2."""
        return tilted_uniform.mean(self.logits)

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, *event_shape) in [0, 1]."""
        shape = (*sample_shape, *self.logits.shape)
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        return tilted_uniform.quantile(self.logits, u)

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, *event_shape) in [0, 1] -> (B,), log-densities in nats, summed over the event."""
        return sum_except_batch(self.logits * x - tilted_uniform.log_normalizer(self.logits))


class ContinuousBernoulliHead(nn.Module):
    """Logits (B, *event_shape) -> independent continuous Bernoulli variables: batch (B,), event event_shape.

    The likelihood that the Bernoulli's formula lacks a constant to be where pixels are grey: a density, whose nats
    compare with those of other densities on [0, 1] and not with those of binarized pixels.
    """

    params_per_output = 1

    def forward(self, params: Tensor) -> ContinuousBernoulli:
        """(B, *event_shape) -> a distribution with batch (B,)."""
        return ContinuousBernoulli(at_least_single(params))

    def check(self, x: Tensor, what: str = "the data") -> None:
        """Refuse values that there are not.

        Raises:
            UserError: ``x`` leaves [0, 1].
        """
        check_unit_interval(x, type(self).__name__, what)
