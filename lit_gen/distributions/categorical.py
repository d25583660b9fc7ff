"""Categorical likelihoods over the levels of each pixel."""

from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from lit_gen.distributions.parameters import several_params
from lit_gen.distributions.support import check_levels, check_num_levels, nearest_level
from lit_gen.tensor import sum_except_batch


class LevelCategorical(Distribution):
    """Independent variables over the levels k / (N - 1) of [0, 1]: batch (B,), event event_shape.

    van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Section 2.2,
    https://arxiv.org/abs/1601.06759

    Args:
        logits: (B, N, *event_shape).
    """

    arg_constraints = {}

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.num_levels = logits.shape[1]
        super().__init__(logits.shape[:1], logits.shape[2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, *event_shape) in [0, 1], between levels."""
        levels = torch.linspace(0, 1, self.num_levels, dtype=self.logits.dtype, device=self.logits.device)
        # Not a matrix product, which autocast would make in half precision.
        return (self.logits.softmax(1) * levels.view(-1, *[1] * (self.logits.dim() - 2))).sum(1)

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, *event_shape), each value one of the levels."""
        p = self.logits.softmax(1).movedim(1, -1)  # (B, *event_shape, N)
        level = p.flatten(0, -2).multinomial(prod(sample_shape), replacement=True)  # (B * D, samples)
        return level.T.reshape(*sample_shape, *p.shape[:-1]).to(p.dtype) / (self.num_levels - 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, *event_shape) in [0, 1] -> (B,), log-probabilities of the nearest levels, summed over the event."""
        # Whatever is outside [0, 1] counts as the nearest level: an index out of range would end a GPU's process.
        level = nearest_level(x, self.num_levels).long().clamp_(0, self.num_levels - 1)
        return -sum_except_batch(F.cross_entropy(self.logits, level, reduction="none"))


class CategoricalHead(nn.Module):
    """Logits (B, num_levels, *event_shape) -> independent variables over levels: batch (B,), event event_shape.

    ``log_prob`` is a probability of levels k / (num_levels - 1), in nats. It takes x for its nearest level; ``check``,
    which a model calls on its first examples and in evaluation, refuses values that are none.

    Args:
        num_levels: as many as the pixels have: 256 for bytes.

    Raises:
        UserError: fewer than 2 levels, or parameters that are not as many for each element.
    """

    def __init__(self, num_levels: int = 256) -> None:
        super().__init__()
        self.params_per_output = self.num_levels = check_num_levels("CategoricalHead", num_levels)

    def forward(self, params: Tensor) -> LevelCategorical:
        """(B, num_levels, *event_shape) -> a distribution with batch (B,)."""
        return LevelCategorical(several_params(params, self.params_per_output, "CategoricalHead"))

    def check(self, x: Tensor, what: str = "the data") -> None:
        """Refuse values that there are not.

        Raises:
            UserError: ``x`` holds values that are no level.
        """
        check_levels(x, self.params_per_output, "CategoricalHead", what)
