"""Terms of features against direct computation."""

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from lit_gen.protocols import Game, Judged
from lit_gen.regularizers.adversarial.feature_matching import FeatureMatching
from lit_gen.regularizers.adversarial.pulling_away import PullingAway


def game_of(real, fake):
    judged = [Judged(torch.zeros(len(features), 2), features.sum(1), features) for features in (real, fake)]
    return Game(nn.Identity(), nn.Identity(), *judged)


def test_feature_matching_is_the_squared_distance_of_means():
    real, fake = torch.randn(7, 5), torch.randn(7, 5)
    expected = sum((sum(real[:, i]) / 7 - sum(fake[:, i]) / 7) ** 2 for i in range(5))
    torch.testing.assert_close(FeatureMatching()(game_of(real, fake)), expected)
    assert FeatureMatching()(game_of(real, real.flip(0))).item() < 1e-12


def test_pulling_away_is_the_mean_squared_cosine_of_pairs():
    for shape in ((6, 3), (3, 6)):
        fake = torch.randn(*shape)
        pairs = [(i, j) for i in range(len(fake)) for j in range(len(fake)) if i != j]
        expected = sum(cosine_similarity(fake[i], fake[j], dim=0) ** 2 for i, j in pairs) / len(pairs)
        torch.testing.assert_close(PullingAway()(game_of(fake, fake)), expected)
    assert PullingAway()(game_of(torch.eye(4), torch.eye(4))).item() == 0.0
    same = torch.ones(4, 3)
    torch.testing.assert_close(PullingAway()(game_of(same, same)), torch.tensor(1.0))
    assert PullingAway()(game_of(same[:1], same[:1])).item() == 0.0
