"""The game of margins."""

from torch import Tensor
from torch.nn.functional import relu

from lit_gen.objectives.adversarial.base import AdversarialObjective


class Hinge(AdversarialObjective):
    """A discriminator that stops caring for examples beyond a margin of 1, as a support vector machine does.

    Lim & Ye, Geometric GAN (2017), Section 3, https://arxiv.org/abs/1705.02894; Miyato et al. (2018), Eq. 16 and 17,
    https://arxiv.org/abs/1802.05957
    """

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) of each pair. (B,)."""
        return relu(1 - real) + relu(1 + fake)

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """-D(G(z)). (B,)."""
        return -fake
