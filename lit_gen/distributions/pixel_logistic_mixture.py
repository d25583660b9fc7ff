"""Mixtures of rounded logistic variables that tie the channels of a pixel together.

Salimans, Karpathy, Chen & Kingma, PixelCNN++ (2017), Section 2.1-2.2, Eq. 1-3, https://arxiv.org/abs/1701.05517
"""

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_gen.distributions.discretized_logistic import (
    PAPERS_FLOOR,
    LogisticLevelsHead,
    draw_logistic_level,
    logistic_level_log_prob,
)
from lit_gen.distributions.parameters import several_params
from lit_gen.errors import UserError
from lit_gen.tensor import sum_except_batch


class PixelLogisticMixture(Distribution):
    """Independent pixels: batch (B,), event (C, *pixels). The channels of a pixel share their component (Eq. 1) and are
    regressed on those before them (Eq. 3), linearly in the value, which reaches from -1 to 1.

    Args:
        logits: (B, M, *pixels), of the components' shares.
        loc: (B, M, C, *pixels), where pixels reach from -1 to 1; the part that doesn't depend on other channels.
        log_scale: (B, M, C, *pixels).
        coefficients: (B, M, C (C - 1) / 2, *pixels): of channel 1 on 0, of 2 on 0, of 2 on 1, and so on.
        num_levels: number of levels k / (num_levels - 1).
    """

    arg_constraints = {}

    def __init__(
        self, logits: Tensor, loc: Tensor, log_scale: Tensor, coefficients: Tensor, num_levels: int = 256
    ) -> None:
        self.logits = logits
        self.loc = loc
        self.log_scale = log_scale
        self.coefficients = coefficients
        self.num_levels = num_levels
        super().__init__(loc.shape[:1], loc.shape[2:], validate_args=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, C, *pixels) in [0, 1] -> (B,), log-probabilities of the nearest levels, summed over the event."""
        x = x.unsqueeze(1).to(self.loc.dtype)  # (B, 1, C, *pixels)
        loc = torch.stack(
            [_regressed(self.loc, self.coefficients, x, channel) for channel in range(self.loc.shape[2])], 2
        )
        of_component = logistic_level_log_prob(x, loc, self.log_scale, self.num_levels).sum(2)
        return sum_except_batch((self.logits.log_softmax(1) + of_component).logsumexp(1))

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, C, *pixels), each value one of the levels."""
        count = torch.Size(sample_shape).numel()
        parts = [part.repeat(count, *[1] * (part.dim() - 1)) for part in (self.loc, self.log_scale, self.coefficients)]
        logits = self.logits.repeat(count, *[1] * (self.logits.dim() - 1))
        # The largest of logits with Gumbel noise falls on a component with the probability of its share.
        chosen = (logits - torch.empty_like(logits).exponential_().log()).argmax(1, keepdim=True).unsqueeze(2)
        loc, log_scale, coefficients = (part.take_along_dim(chosen, 1) for part in parts)  # (N, 1, …, *pixels)
        x = torch.empty_like(loc)
        for channel in range(loc.shape[2]):
            centre = _regressed(loc, coefficients, x, channel)
            x[:, :, channel] = draw_logistic_level(centre, log_scale[:, :, channel], self.num_levels)
        return x.view(*sample_shape, *self.loc.shape[:1], *self.event_shape)


def _regressed(loc: Tensor, coefficients: Tensor, x: Tensor, channel: int) -> Tensor:
    """(B, M, *pixels): where the variables of a channel lie given those before it in x, (B, 1, C, *pixels); Eq. 3."""
    first = channel * (channel - 1) // 2
    on_others = coefficients[:, :, first : first + channel] * (2 * x[:, :, :channel] - 1)
    return loc[:, :, channel] + on_others.sum(2)


class PixelLogisticMixtureHead(LogisticLevelsHead):
    """Parameters (B, Q, 1, *pixels) -> independent pixels of C channels each: batch (B,), event (C, *pixels).

    For each pixel M logits, then C M locations, C M logarithms of scales and M C (C - 1) / 2 coefficients, before the
    tanh that confines them to (-1, 1): Q = 10 M for C = 3 and 3 M for C = 1. Of scales and levels
    ``DiscretizedLogisticHead`` says the rest. The distribution has no mean in closed form.

    Args:
        num_components: M.
        num_channels: C.
        num_levels: as many as the pixels have: 256 for bytes.
        min_scale: what a scale stays above; by default as in PixelCNN++.

    Raises:
        UserError: a number out of range, or parameters that are not as many for each pixel.
    """

    def __init__(
        self,
        num_components: int = 10,
        num_channels: int = 3,
        num_levels: int = 256,
        min_scale: float = PAPERS_FLOOR,
    ) -> None:
        super().__init__(num_levels, min_scale)
        for name, value in {"num_components": num_components, "num_channels": num_channels}.items():
            if value < 1:
                raise UserError(f"a PixelLogisticMixtureHead's {name} must be at least 1, got {value}")
        self.num_components = num_components
        self.num_channels = num_channels
        self._parts = (1, num_channels, num_channels, num_channels * (num_channels - 1) // 2)
        self.params_per_output = num_components * sum(self._parts)

    def forward(self, params: Tensor) -> PixelLogisticMixture:
        """(B, Q, 1, *pixels) -> a distribution with batch (B,).

        Raises:
            UserError: the network tells each channel by itself.
        """
        params = several_params(params, self.params_per_output, type(self).__name__)
        if params.dim() < 3 or params.shape[2] != 1:
            raise UserError(
                "a PixelLogisticMixtureHead tells all channels of a pixel at once, but the network before it gives "
                f"parameters of shape {tuple(params.shape[1:])}: take a network that goes by pixels, as PixelCNNpp, or "
                "DiscretizedLogisticMixtureHead"
            )
        num = self.num_components
        logits, loc, log_scale, coefficients = params.squeeze(2).split([num * part for part in self._parts], 1)
        loc, log_scale, coefficients = (part.unflatten(1, (num, -1)) for part in (loc, log_scale, coefficients))
        return PixelLogisticMixture(logits, loc, self.log_scale(log_scale), coefficients.tanh(), self.num_levels)
