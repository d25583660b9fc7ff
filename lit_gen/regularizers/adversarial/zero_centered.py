"""Flatness of the discriminator on the data, or on the generator's examples."""

from torch import Tensor

from lit_gen.protocols import Game
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer
from lit_gen.regularizers.adversarial.input_gradients import input_gradients


class R1(AdversarialRegularizer):
    """E[|grad D(x)|^2] / 2 over real examples; ``weight`` is the paper's gamma. Differentiates the pass at hand.

    Mescheder, Geiger & Nowozin, Which Training Methods for GANs do actually Converge? (2018), Eq. 9,
    https://arxiv.org/abs/1801.04406
    """

    differentiates = frozenset({"real"})
    needs_second_derivatives = True

    def forward(self, game: Game) -> Tensor:
        """(B,), in squared units of the score's slope."""
        return input_gradients(game.real).square().sum(1) / 2


class R2(AdversarialRegularizer):
    """E[|grad D(G(z))|^2] / 2 over generated examples; ``weight`` is the paper's gamma. Eq. 10 of the same paper."""

    differentiates = frozenset({"fake"})
    needs_second_derivatives = True

    def forward(self, game: Game) -> Tensor:
        """(B,), in squared units of the score's slope."""
        return input_gradients(game.fake).square().sum(1) / 2
