"""A slope of one between real and generated examples."""

from collections.abc import Callable

import torch
from torch import Tensor

from lit_gen.protocols import Game, Judged
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer
from lit_gen.regularizers.adversarial.input_gradients import slopes
from lit_gen.tensor import at_least_single


class GradientPenalty(AdversarialRegularizer):
    """E[(|grad D(x')| - 1)^2] at x' = e x + (1 - e) G(z) with e uniform in [0, 1]: one more pass of the discriminator.

    Gulrajani et al., Improved Training of Wasserstein GANs (2017), Eq. 3, https://arxiv.org/abs/1704.00028

    Args:
        weight: lambda, 10 in the paper.
        every_n_steps: see ``AdversarialRegularizer``.
        one_sided: only slopes above 1 are penalised (the paper's Section 4, "two-sided penalty").
    """

    needs_second_derivatives = True

    def __init__(
        self, weight: float | Callable[[int], float] = 10.0, every_n_steps: int = 1, one_sided: bool = False
    ) -> None:
        super().__init__(weight, every_n_steps)
        self.one_sided = one_sided

    def noise(self, real: Tensor) -> tuple[Tensor, ...]:
        """The mixing proportions, (B, 1, ...)."""
        return (torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device),)

    def forward(self, game: Game) -> Tensor:
        """(B,), in squared units of the score's slope."""
        [mix] = game.noise
        between = mix * game.real.x.detach() + (1 - mix) * game.fake.x
        if not between.requires_grad:
            between.requires_grad_()
        slope = slopes(Judged(between, at_least_single(game.discriminator(between))))
        excess = (slope - 1).clamp_min(0.0) if self.one_sided else slope - 1
        return excess.square()
