import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.objectives.adversarial.energy_based import EnergyBased


def test_at_known_energies_fakes_beyond_the_margin_are_left_alone():
    game = EnergyBased(margin=2.0)
    real, fake = torch.tensor([0.5, 0.5]), torch.tensor([0.5, 3.0])
    assert game.discriminator_loss(real=real, fake=fake).tolist() == [2.0, 0.5]
    assert game.generator_loss(real=None, fake=fake).tolist() == [0.5, 3.0]


def test_a_margin_must_be_positive():
    with pytest.raises(UserError, match="margin must be positive"):
        EnergyBased(margin=0.0)
