"""Fakes whose codes point in different directions."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lit_gen.distributed import gather_over_ranks
from lit_gen.protocols import Game
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer


class PullingAway(AdversarialRegularizer):
    """The mean squared cosine between the features of two fakes, over all pairs of the batches of all ranks.

    Zhao, Mathieu & LeCun, Energy-based Generative Adversarial Network (2017), Eq. 4, https://arxiv.org/abs/1609.03126;
    the paper weighs it by 0.1.
    """

    player = "generator"
    needs_features = True

    def forward(self, game: Game) -> Tensor:
        """(), in [0, 1]; 0 of a single fake."""
        directions = normalize(gather_over_ranks(game.fake.features), dim=1)
        num = len(directions)
        # |S^T S|^2 = |S S^T|^2, the sum over all pairs, of which each fake with itself gives 1; the smaller of the two.
        gram = directions.T @ directions if directions.shape[1] < num else directions @ directions.T
        return (torch.linalg.matrix_norm(gram).square() - directions.square().sum(1).square().sum()) / max(
            num * (num - 1), 1
        )
