import math

import pytest
import torch
from torch import tensor

from lit_gen.objectives.adversarial.minimax import Minimax


def test_at_known_scores():
    """D = 1/2 costs the discriminator 2 log 2 a pair (Goodfellow et al. 2014, Theorem 1: -C(G) at the optimum)."""
    game = Minimax()
    zero = torch.zeros(1)
    assert game.discriminator_loss(real=zero, fake=zero).item() == pytest.approx(2 * math.log(2))
    assert game.generator_loss(real=None, fake=zero).item() == pytest.approx(-math.log(2))
    score = tensor([math.log(3.0)])  # D = 3/4
    assert game.discriminator_loss(real=score, fake=-score).item() == pytest.approx(-2 * math.log(3 / 4))
    assert game.discriminator_loss(real=-score, fake=score).item() == pytest.approx(-2 * math.log(1 / 4))
    assert game.generator_loss(real=None, fake=score).item() == pytest.approx(math.log(1 / 4))


def test_it_is_a_zero_sum_game():
    game = Minimax()
    real, fake = torch.randn(2, 5)
    discriminator = game.discriminator_loss(real=real, fake=fake)
    of_real = game.discriminator_loss(real=real, fake=torch.full((5,), -1e4))
    torch.testing.assert_close(game.generator_loss(real=None, fake=fake), -(discriminator - of_real))


def test_it_saturates_where_the_discriminator_is_sure():
    """The derivative is -D(G(z)) itself: nothing is learned from a fake that is seen through."""
    fake = tensor([-10.0, 0.0, 10.0], requires_grad=True)
    Minimax().generator_loss(real=None, fake=fake).sum().backward()
    torch.testing.assert_close(fake.grad, -fake.detach().sigmoid())
    assert abs(fake.grad[0]) < 1e-4
