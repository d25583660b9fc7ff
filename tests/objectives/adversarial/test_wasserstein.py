import torch

from lit_gen.objectives.adversarial.wasserstein import Wasserstein


def test_at_known_scores():
    game = Wasserstein()
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 5.0])
    assert game.discriminator_loss(real=real, fake=fake).tolist() == [-2.0, 3.0]
    assert game.generator_loss(real=None, fake=fake).tolist() == [1.0, -5.0]
    assert game.probability_real(real) is None
