"""The game for the earth mover's distance."""

from torch import Tensor

from lit_gen.objectives.adversarial.base import AdversarialObjective


class Wasserstein(AdversarialObjective):
    """W_1(p, q) = max over 1-Lipschitz D of E[D(x)] - E[D(G(z))].

    The objective doesn't make D Lipschitz: a regularizer does, ``WeightClipping`` as in the paper or
    ``GradientPenalty`` as in Gulrajani et al. (2017), or ``networks.SpectralNorm``.

    Arjovsky, Chintala & Bottou, Wasserstein GAN (2017), Eq. 2 and Algorithm 1, https://arxiv.org/abs/1701.07875
    """

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """D(G(z)) - D(x) of each pair: minus the estimate of the distance. (B,), in units of the data."""
        return fake - real

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """-D(G(z)). (B,), in units of the data."""
        return -fake
