"""The game with both players' costs halved."""

from torch import Tensor
from torch.nn.functional import softplus

from lit_gen.objectives.adversarial.cross_entropy import CrossEntropyObjective


class HalvedCrossEntropy(CrossEntropyObjective):
    """``NonSaturating`` with a weight of 1/2: the discriminator's cost is the mean cross entropy of a balanced set.

    Under plain gradient descent it halves the steps; under Adam it changes nothing but the weight of other terms.

    Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks (2016), Section 3.2, https://arxiv.org/abs/1701.00160
    """

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """-1/2 log D(x) - 1/2 log(1 - D(G(z))) of each pair, without smoothing. (B,), in nats."""
        return super().discriminator_loss(real=real, fake=fake) / 2

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """-1/2 log D(G(z)). (B,), in nats."""
        return softplus(-fake) / 2
