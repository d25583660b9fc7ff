"""The game whose generator has a gradient while it is losing."""

from torch import Tensor
from torch.nn.functional import softplus

from lit_gen.objectives.adversarial.cross_entropy import CrossEntropyObjective


class NonSaturating(CrossEntropyObjective):
    """The discriminator of ``Minimax`` against a generator that descends -E[log D(G(z))].

    The fixed point is the same; where the discriminator is sure of a fake, the gradient tends to 1, not to 0.

    Goodfellow et al., Generative Adversarial Nets (2014), Section 3, https://arxiv.org/abs/1406.2661
    """

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """-log D(G(z)): at least 0, falling as the fakes' scores rise. (B,), in nats."""
        return softplus(-fake)
