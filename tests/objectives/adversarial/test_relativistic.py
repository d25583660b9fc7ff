import math

import pytest
import torch

from lit_gen.objectives.adversarial.relativistic import RelativisticPaired


def test_only_differences_of_scores_matter():
    game = RelativisticPaired()
    real, fake = torch.randn(2, 5)
    for loss in (game.discriminator_loss, game.generator_loss):
        torch.testing.assert_close(loss(real=real, fake=fake), loss(real=real + 3.0, fake=fake + 3.0))


def test_at_known_scores_and_with_sides_exchanged():
    game, zero = RelativisticPaired(), torch.zeros(1)
    ahead = torch.tensor([math.log(3.0)])
    assert game.discriminator_loss(real=zero, fake=zero).item() == pytest.approx(math.log(2))
    assert game.discriminator_loss(real=ahead, fake=zero).item() == pytest.approx(-math.log(3 / 4))
    assert game.generator_loss(real=ahead, fake=zero).item() == pytest.approx(-math.log(1 / 4))
    torch.testing.assert_close(
        game.generator_loss(real=ahead, fake=zero), game.discriminator_loss(real=zero, fake=ahead)
    )
