"""The original two-player zero-sum game."""

from torch import Tensor
from torch.nn.functional import softplus

from lit_gen.objectives.adversarial.cross_entropy import CrossEntropyObjective


class Minimax(CrossEntropyObjective):
    """min_G max_D E[log D(x)] + E[log(1 - D(G(z)))], with D the logistic function of the score.

    The generator descends E[log(1 - D(G(z)))] itself. That saturates: where the discriminator is sure of a fake, the
    gradient vanishes with D(G(z)). ``NonSaturating`` is the form used in practice.

    Goodfellow et al., Generative Adversarial Nets (2014), Eq. 1, https://arxiv.org/abs/1406.2661
    """

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """log(1 - D(G(z))): at most 0, falling as the fakes' scores rise. (B,), in nats."""
        return -softplus(fake)
