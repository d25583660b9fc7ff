"""The game of comparisons."""

from torch import Tensor
from torch.nn.functional import softplus

from lit_gen.objectives.adversarial.base import AdversarialObjective


class RelativisticPaired(AdversarialObjective):
    """The discriminator says which of a pair is real; the generator wants it to be wrong.

    Fakes are judged beside real examples, so leaving out a mode costs the generator something. With ``R1`` and ``R2``
    it is the game of Huang et al., The GAN is dead; long live the GAN! (2024), https://arxiv.org/abs/2501.05441

    Jolicoeur-Martineau, The relativistic discriminator (2018), Section 4 (RSGAN), https://arxiv.org/abs/1807.00734
    """

    generator_uses_real = True

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """-log sigmoid(C(x) - C(G(z))) of each pair. (B,), in nats."""
        return softplus(fake - real)

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """-log sigmoid(C(G(z)) - C(x)) of each pair. (B,), in nats."""
        return softplus(real - fake)
