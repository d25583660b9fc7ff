import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.objectives.adversarial.boundary_equilibrium import BoundaryEquilibrium


def test_at_known_energies():
    game = BoundaryEquilibrium(k=0.5)
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 2.0])
    assert game.discriminator_loss(real=real, fake=fake).tolist() == [-1.0, 1.0]
    assert game.generator_loss(real=None, fake=fake).tolist() == [4.0, 2.0]


def test_k_follows_the_balance_and_stays_in_its_range():
    game = BoundaryEquilibrium(gamma=0.5, learning_rate=0.1)
    game.observe(real=torch.tensor(4.0), fake=torch.tensor(1.0))
    assert game.k.item() == pytest.approx(0.1 * (0.5 * 4.0 - 1.0))
    game.observe(real=torch.tensor(0.0), fake=torch.tensor(9.0))
    assert game.k.item() == 0.0
    for _ in range(9):
        game.observe(real=torch.tensor(9.0), fake=torch.tensor(0.0))
    assert game.k.item() == 1.0
    assert torch.equal(game.state_dict()["k"], torch.tensor(1.0))  # a checkpoint holds it


@pytest.mark.parametrize("bad", [{"gamma": 0.0}, {"gamma": 1.5}, {"learning_rate": 0.0}, {"k": -0.1}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(UserError, match="BoundaryEquilibrium needs gamma"):
        BoundaryEquilibrium(**bad)
