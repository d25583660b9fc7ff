import torch

from lit_gen.objectives.adversarial.boundary_seeking import BoundarySeeking


def test_the_generator_seeks_the_boundary():
    fake = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    probability = fake.detach().sigmoid()
    loss = BoundarySeeking().generator_loss(real=None, fake=fake)
    torch.testing.assert_close(loss.detach(), 0.5 * (probability.log() - (1 - probability).log()).square())
    loss.sum().backward()
    torch.testing.assert_close(fake.grad, fake.detach())  # down towards a score of 0 from either side
