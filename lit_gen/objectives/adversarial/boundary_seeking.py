"""The game whose generator seeks the decision boundary."""

from torch import Tensor

from lit_gen.objectives.adversarial.cross_entropy import CrossEntropyObjective


class BoundarySeeking(CrossEntropyObjective):
    """A generator that aims at D(G(z)) = 1/2, where nobody can tell, rather than at D(G(z)) = 1.

    It descends (log D - log(1 - D))^2 / 2, the square of the score. This is the paper's form for continuous data.

    Hjelm et al., Boundary-Seeking Generative Adversarial Networks (2018), Section 3 ("continuous variables"),
    https://arxiv.org/abs/1702.08431
    """

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """(log D(G(z)) - log(1 - D(G(z))))^2 / 2. (B,), in nats squared."""
        return fake.square() / 2
