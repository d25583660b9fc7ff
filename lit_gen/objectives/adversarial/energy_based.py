"""The game of energies."""

from torch import Tensor
from torch.nn.functional import relu

from lit_gen.errors import UserError
from lit_gen.objectives.adversarial.base import AdversarialObjective


class EnergyBased(AdversarialObjective):
    """The discriminator is an autoencoder whose error is an energy: low on data, and up to a margin on fakes.

    With the regularizer ``PullingAway`` on the generator's side it is EBGAN-PT.

    Zhao, Mathieu & LeCun, Energy-based Generative Adversarial Network (2017), Eq. 1 and 2,
    https://arxiv.org/abs/1609.03126

    Args:
        margin: m; the discriminator leaves fakes of a higher energy alone.

    Raises:
        UserError: the margin isn't positive.
    """

    scores_are_energies = True

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        if not margin > 0:
            raise UserError(f"EnergyBased's margin must be positive, got {margin}")
        self.margin = margin

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """E(x) + max(0, m - E(G(z))) of each pair of energies. (B,)."""
        return real + relu(self.margin - fake)

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """E(G(z)). (B,)."""
        return fake
