import torch

from lit_gen.objectives.adversarial.hinge import Hinge


def test_at_known_scores_the_discriminator_stops_at_the_margins():
    game = Hinge()
    real, fake = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, -1.0, -2.0])
    assert game.discriminator_loss(real=real, fake=fake).tolist() == [2.0, 0.0, 0.0]
    assert game.generator_loss(real=None, fake=fake).tolist() == [0.0, 1.0, 2.0]
