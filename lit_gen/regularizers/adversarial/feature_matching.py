"""Fakes whose features are those of the data, on average."""

from torch import Tensor

from lit_gen.distributed import gather_over_ranks
from lit_gen.protocols import Game
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer


class FeatureMatching(AdversarialRegularizer):
    """|E f(x) - E f(G(z))|^2 with f the discriminator's features, over the batches of all ranks.

    In the paper it takes the objective's place in the generator's loss: that is ``GAN``'s ``adversarial_weight`` 0.

    Salimans et al., Improved Techniques for Training GANs (2016), Section 3.1, https://arxiv.org/abs/1606.03498
    """

    player = "generator"
    needs_features = True
    needs_real = True

    def forward(self, game: Game) -> Tensor:
        """(), in squared units of a feature."""
        real, fake = (gather_over_ranks(judged.features) for judged in (game.real, game.fake))
        return (real.mean(0) - fake.mean(0)).square().sum()
