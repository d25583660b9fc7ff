"""Logistic variables rounded to the levels of a pixel.

Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), Eq. 1-2, https://arxiv.org/abs/1701.05517

As there, locations and scales are in units in which pixels reach from -1 to 1. The three functions are elementwise:
mixtures, also those whose locations depend on other channels, are made of them.
"""

from math import exp, log

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from lit_gen.distributions import tilted_uniform
from lit_gen.distributions.parameters import several_params
from lit_gen.distributions.support import check_levels, check_num_levels, nearest_level
from lit_gen.errors import UserError
from lit_gen.tensor import sum_except_batch

PAPERS_FLOOR = exp(-7.0)
"""The least scale of PixelCNN++, a ninth of the width of a bin."""


def logistic_level_log_prob(x: Tensor, loc: Tensor, log_scale: Tensor, num_levels: int = 256) -> Tensor:
    """Log-probability that a logistic variable, rounded to the nearest level, is x; Eq. 2.

    The outermost bins reach to infinity, so the probabilities of all levels sum to 1. Elementwise, broadcast.

    Args:
        x: in [0, 1]; taken for its nearest level k / (num_levels - 1).
        loc: the variable's mean, where pixels reach from -1 to 1.
        log_scale: logarithm of its scale in the same units.
        num_levels: number of levels.

    Returns:
        Nats, finite for any finite parameters within single precision's range.
    """
    last = num_levels - 1
    level = nearest_level(x, num_levels)
    centred = level * (2 / last) - 1 - loc
    inverse = (-log_scale).exp()
    up_to = F.logsigmoid((centred + 1 / last) * inverse)  # log P(level <= k)
    down_to = F.logsigmoid((1 / last - centred) * inverse)  # log P(level >= k)
    # For a > b: sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^-(a - b)), of which no factor loses digits;
    # and 1 - e^-w = w Z(-w), w being the bin's width in scales, whose logarithm is known also where w underflows.
    log_width = log(2 / last) - log_scale
    between = up_to + down_to + log_width + tilted_uniform.log_normalizer(inverse * (-2 / last))
    return torch.where(level <= 0, up_to, torch.where(level >= last, down_to, between))


def logistic_level_mean(loc: Tensor, log_scale: Tensor, num_levels: int = 256) -> Tensor:
    """The rounded variable's mean in [0, 1], exactly: the sum over k of P(level > k). Elementwise, broadcast.

    Takes num_levels - 1 passes over the elements.
    """
    last = num_levels - 1
    inverse = (-log_scale).exp()
    total = torch.zeros_like(inverse * loc)
    for k in range(last):
        total = total + ((loc - ((2 * k + 1) / last - 1)) * inverse).sigmoid()
    return total / last


@torch.no_grad()
def draw_logistic_level(loc: Tensor, log_scale: Tensor, num_levels: int = 256) -> Tensor:
    """A level in [0, 1] for each element."""
    last = num_levels - 1
    u = torch.rand_like(loc)
    y = torch.addcmul(loc, log_scale.exp(), u.log() - (-u).log1p())
    return nearest_level((y + 1) / 2, num_levels).clamp_(0, last) / last


class DiscretizedLogistic(Distribution):
    """Independent rounded logistic variables: batch (B,), event event_shape.

    Args:
        loc: (B, *event_shape), where pixels reach from -1 to 1.
        log_scale: (B, *event_shape).
        num_levels: number of levels k / (num_levels - 1).
    """

    arg_constraints = {}

    def __init__(self, loc: Tensor, log_scale: Tensor, num_levels: int = 256) -> None:
        self.loc = loc
        self.log_scale = log_scale
        self.num_levels = num_levels
        super().__init__(loc.shape[:1], loc.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, *event_shape) in [0, 1], between levels."""
        return logistic_level_mean(self.loc, self.log_scale, self.num_levels)

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, *event_shape), each value one of the levels."""
        loc = self.loc.expand(*sample_shape, *self.loc.shape)
        return draw_logistic_level(loc, self.log_scale, self.num_levels)

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, *event_shape) in [0, 1] -> (B,), log-probabilities of the nearest levels, summed over the event."""
        return sum_except_batch(logistic_level_log_prob(x, self.loc, self.log_scale, self.num_levels))


class LogisticLevelsHead(nn.Module):
    """Base of the heads of rounded logistic variables: their levels, and the floor of their scales.

    Args:
        num_levels: number of levels k / (num_levels - 1).
        min_scale: what a scale stays above.

    Raises:
        UserError: fewer than 2 levels, or a floor that is not positive.
    """

    def __init__(self, num_levels: int, min_scale: float) -> None:
        super().__init__()
        if not min_scale > 0:
            raise UserError(f"a {type(self).__name__}'s min_scale must be positive, got {min_scale}")
        self.num_levels = check_num_levels(type(self).__name__, num_levels)
        self.min_scale = min_scale

    def log_scale(self, params: Tensor) -> Tensor:
        """log(exp(params) + min_scale), elementwise."""
        return torch.logaddexp(params, params.new_full((), log(self.min_scale)))

    def check(self, x: Tensor, what: str = "the data") -> None:
        """Refuse values that there are not.

        Raises:
            UserError: ``x`` holds values that are no level.
        """
        check_levels(x, self.num_levels, type(self).__name__, what)


class DiscretizedLogisticHead(LogisticLevelsHead):
    """Parameters (B, 2, *event_shape) -> independent rounded logistic variables: batch (B,), event event_shape.

    The parameters are locations and logarithms of scales, in units in which pixels reach from -1 to 1; the scale is
    exp(log scale) + min_scale, the same in density, mean and draws. ``log_prob`` is a probability of levels
    k / (num_levels - 1), in nats. It takes x for its nearest level; ``check``, which a model calls on its first
    examples and in evaluation, refuses values that are none.

    Args:
        num_levels: as many as the pixels have: 256 for bytes.
        min_scale: what a scale stays above; by default as in PixelCNN++.

    Raises:
        UserError: a number out of range, or parameters that are not as many for each element.
    """

    params_per_output = 2

    def __init__(self, num_levels: int = 256, min_scale: float = PAPERS_FLOOR) -> None:
        super().__init__(num_levels, min_scale)

    def forward(self, params: Tensor) -> DiscretizedLogistic:
        """(B, 2, *event_shape) -> a distribution with batch (B,)."""
        loc, log_scale = several_params(params, 2, type(self).__name__).unbind(1)
        return DiscretizedLogistic(loc, self.log_scale(log_scale), self.num_levels)
