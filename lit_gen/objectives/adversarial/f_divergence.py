"""The game for any f-divergence."""

from torch import Tensor

from lit_gen.objectives.adversarial.base import AdversarialObjective
from lit_gen.objectives.adversarial.divergences import Divergence


class FDivergence(AdversarialObjective):
    """D_f(p || q) = max over T of E[T(x)] - E[f*(T(G(z)))], with T = g_f(score) in the domain of f*.

    Nowozin, Cseke & Tomioka, f-GAN (2016), Eq. 4 and 6, https://arxiv.org/abs/1606.00709

    Args:
        divergence: which.
        saddle_point: the generator descends the bound itself, -E[f*(T(G(z)))], as the theory has it; otherwise
            -E[T(G(z))], the paper's Section 3.2, whose gradient doesn't vanish while it is losing.
    """

    def __init__(self, divergence: Divergence, saddle_point: bool = False) -> None:
        super().__init__()
        self.divergence = divergence
        self.saddle_point = saddle_point

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """f*(g_f(V(G(z)))) - g_f(V(x)) of each pair: minus the bound. (B,), in the divergence's units."""
        return self.divergence.conjugate_at(fake) - self.divergence.activation(real)

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """-f*(g_f(V(G(z)))) or -g_f(V(G(z))). (B,), in the divergence's units."""
        return -(self.divergence.conjugate_at(fake) if self.saddle_point else self.divergence.activation(fake))
