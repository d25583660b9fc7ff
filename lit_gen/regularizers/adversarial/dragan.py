"""A slope of one around the data."""

from collections.abc import Callable

import torch
from torch import Tensor

from lit_gen.distributed import sum_over_ranks, world_size
from lit_gen.errors import UserError
from lit_gen.protocols import Game, Judged
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer
from lit_gen.regularizers.adversarial.input_gradients import slopes
from lit_gen.tensor import at_least_single


class DRAGAN(AdversarialRegularizer):
    """E[(|grad D(x + d)| - k)^2] with d uniform noise around real examples, as large as their spread.

    d is c s u, with u uniform in [0, 1) for each element, s the standard deviation of all the batch's elements and c a
    factor. The paper leaves the noise open; the penalty is at the disturbed points alone, not between them and the
    data.

    Kodali et al., On Convergence and Stability of GANs (2017), Section 2.4, https://arxiv.org/abs/1705.07215

    Args:
        weight: lambda, 10 in the paper.
        every_n_steps: see ``AdversarialRegularizer``.
        noise_scale: c.
        slope: k.

    Raises:
        UserError: a noise that isn't positive.
    """

    needs_second_derivatives = True

    def __init__(
        self,
        weight: float | Callable[[int], float] = 10.0,
        every_n_steps: int = 1,
        noise_scale: float = 0.5,
        slope: float = 1.0,
    ) -> None:
        super().__init__(weight, every_n_steps)
        if not noise_scale > 0:
            raise UserError(f"DRAGAN's noise_scale must be positive, got {noise_scale}")
        self.noise_scale = noise_scale
        self.slope = slope

    def noise(self, real: Tensor) -> tuple[Tensor, ...]:
        """d, (B, *event_shape), by the spread of the batches of all ranks."""
        # About the mean: the difference of E[x^2] and E[x]^2 in single precision knows no spread of data far from 0.
        spread = self._joint((real - self._joint(real.mean())).square().mean()).sqrt()
        return (self.noise_scale * spread * torch.rand_like(real),)

    def _joint(self, mean: Tensor) -> Tensor:
        """A mean over this rank's batch, () -> over those of all ranks, whose shares are equal."""
        # Whether the parts of a game fit is tried in evaluation, on this rank alone.
        return sum_over_ranks(mean) / world_size() if self.training else mean

    def forward(self, game: Game) -> Tensor:
        """(B,), in squared units of the score's slope."""
        [shift] = game.noise
        around = (game.real.x.detach() + shift).requires_grad_()
        slope = slopes(Judged(around, at_least_single(game.discriminator(around))))
        return (slope - self.slope).square()
