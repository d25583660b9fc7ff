import math

import pytest
import torch
from torch import tensor

from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating


def test_at_known_scores():
    game = NonSaturating()
    zero, score = torch.zeros(1), tensor([math.log(3.0)])  # D = 1/2, D = 3/4
    assert game.discriminator_loss(real=zero, fake=zero).item() == pytest.approx(2 * math.log(2))
    assert game.generator_loss(real=None, fake=zero).item() == pytest.approx(math.log(2))
    assert game.generator_loss(real=None, fake=score).item() == pytest.approx(-math.log(3 / 4))


def test_the_discriminator_is_that_of_the_minimax_game():
    real, fake = torch.randn(2, 5)
    ours = NonSaturating().discriminator_loss(real=real, fake=fake)
    torch.testing.assert_close(ours, Minimax().discriminator_loss(real=real, fake=fake))


def test_the_gradient_is_largest_where_the_discriminator_is_sure():
    fake = tensor([-10.0, 0.0, 10.0], requires_grad=True)
    NonSaturating().generator_loss(real=None, fake=fake).sum().backward()
    torch.testing.assert_close(fake.grad, fake.detach().sigmoid() - 1)
    assert fake.grad[0] < -0.99


def test_in_the_middle_both_games_move_the_generator_alike():
    grads = []
    for game in (Minimax(), NonSaturating()):
        fake = torch.zeros(1, requires_grad=True)
        game.generator_loss(real=None, fake=fake).sum().backward()
        grads.append(fake.grad.item())
    assert grads[0] == grads[1] == -0.5
