"""The game of squared errors."""

from torch import Tensor

from lit_gen.objectives.adversarial.base import AdversarialObjective


class LeastSquares(AdversarialObjective):
    """Both players regress scores on numbers: no saturation, and fakes beyond the boundary are pulled back too.

    With b - c = 1 and b - a = 2 the generator descends Pearson's chi^2 divergence between p + q and 2 q (Eq. 8 of the
    paper: a, b, c = -1, 1, 0); the default is its Eq. 9.

    Mao et al., Least Squares Generative Adversarial Networks (2017), Eq. 2, https://arxiv.org/abs/1611.04076

    Args:
        fake_target: a, what the discriminator wants of fakes.
        real_target: b, what it wants of real examples.
        generator_target: c, what the generator wants of fakes.
    """

    def __init__(self, fake_target: float = 0.0, real_target: float = 1.0, generator_target: float = 1.0) -> None:
        super().__init__()
        self.fake_target = fake_target
        self.real_target = real_target
        self.generator_target = generator_target

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """((D(x) - b)^2 + (D(G(z)) - a)^2) / 2 of each pair. (B,)."""
        return ((real - self.real_target).square() + (fake - self.fake_target).square()) / 2

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """(D(G(z)) - c)^2 / 2. (B,)."""
        return (fake - self.generator_target).square() / 2
