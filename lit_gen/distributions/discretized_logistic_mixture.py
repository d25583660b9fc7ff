"""Mixtures of logistic variables rounded to the levels of a pixel.

Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), Eq. 1-2, https://arxiv.org/abs/1701.05517
"""

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_gen.distributions.discretized_logistic import (
    PAPERS_FLOOR,
    LogisticLevelsHead,
    draw_logistic_level,
    logistic_level_log_prob,
    logistic_level_mean,
)
from lit_gen.distributions.parameters import several_params
from lit_gen.errors import UserError
from lit_gen.tensor import sum_except_batch


class DiscretizedLogisticMixture(Distribution):
    """Independent variables, each from a mixture of rounded logistic variables: batch (B,), event event_shape; Eq. 1-2.

    Every element has a mixture of its own: channels don't depend on each other given the parameters.

    Args:
        logits: (B, M, *event_shape), of the components' shares.
        loc: (B, M, *event_shape), where pixels reach from -1 to 1.
        log_scale: (B, M, *event_shape).
        num_levels: number of levels k / (num_levels - 1).
    """

    arg_constraints = {}

    def __init__(self, logits: Tensor, loc: Tensor, log_scale: Tensor, num_levels: int = 256) -> None:
        self.logits = logits
        self.loc = loc
        self.log_scale = log_scale
        self.num_levels = num_levels
        super().__init__(loc.shape[:1], loc.shape[2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, *event_shape) in [0, 1], between levels."""
        return (self.logits.softmax(1) * logistic_level_mean(self.loc, self.log_scale, self.num_levels)).sum(1)

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, *event_shape), each value one of the levels."""
        shape, components = (*sample_shape, *self.logits.shape), len(sample_shape) + 1
        # The largest of logits with Gumbel noise falls on a component with the probability of its share.
        gumbel = -torch.empty(shape, dtype=self.logits.dtype, device=self.logits.device).exponential_().log()
        chosen = (self.logits + gumbel).argmax(components, keepdim=True)
        loc, log_scale = (
            values.expand(shape).gather(components, chosen).squeeze(components) for values in (self.loc, self.log_scale)
        )
        return draw_logistic_level(loc, log_scale, self.num_levels)

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, *event_shape) in [0, 1] -> (B,), log-probabilities of the nearest levels, summed over the event."""
        of_component = logistic_level_log_prob(x.unsqueeze(1), self.loc, self.log_scale, self.num_levels)
        return sum_except_batch((self.logits.log_softmax(1) + of_component).logsumexp(1))


class DiscretizedLogisticMixtureHead(LogisticLevelsHead):
    """Parameters (B, 3 M, *event_shape) -> independent mixtures of M rounded logistics: batch (B,), event event_shape.

    The parameters are M logits, then M locations, then M logarithms of scales; of these and of the levels
    ``DiscretizedLogisticHead`` says the rest. PixelCNN++ lets the channels of a pixel share their component and be
    regressed on each other; here each channel has a mixture of its own.

    Args:
        num_components: M.
        num_levels: as many as the pixels have: 256 for bytes.
        min_scale: what a scale stays above; by default as in PixelCNN++.

    Raises:
        UserError: a number out of range, or parameters that are not as many for each element.
    """

    def __init__(self, num_components: int = 10, num_levels: int = 256, min_scale: float = PAPERS_FLOOR) -> None:
        super().__init__(num_levels, min_scale)
        if num_components < 1:
            raise UserError(f"a {type(self).__name__}'s num_components must be at least 1, got {num_components}")
        self.num_components = num_components
        self.params_per_output = 3 * num_components

    def forward(self, params: Tensor) -> DiscretizedLogisticMixture:
        """(B, 3 M, *event_shape) -> a distribution with batch (B,)."""
        params = several_params(params, self.params_per_output, type(self).__name__)
        logits, loc, log_scale = params.split(self.num_components, 1)
        return DiscretizedLogisticMixture(logits, loc, self.log_scale(log_scale), self.num_levels)
