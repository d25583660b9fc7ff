import torch

from lit_gen.objectives.adversarial.least_squares import LeastSquares

REAL, FAKE = torch.tensor([0.0, 2.0]), torch.tensor([1.0, -1.0])


def test_at_known_scores():
    game = LeastSquares()
    assert game.discriminator_loss(real=REAL, fake=FAKE).tolist() == [1.0, 1.0]
    assert game.generator_loss(real=None, fake=FAKE).tolist() == [0.0, 2.0]


def test_with_the_targets_of_pearsons_divergence():
    """At the optimum D = (p - q) / (p + q) the generator's criterion is chi^2(p + q, 2 q) / 2: Eq. 5 to 8."""
    game = LeastSquares(fake_target=-1.0, real_target=1.0, generator_target=0.0)
    p, q = torch.tensor([0.1, 0.2, 0.7]), torch.tensor([0.3, 0.4, 0.3])
    scores = ((p - q) / (p + q)).requires_grad_()
    loss = (p * game.discriminator_loss(real=scores, fake=torch.full_like(p, -1.0))).sum()
    loss = loss + (q * game.discriminator_loss(real=torch.ones_like(p), fake=scores)).sum()
    [slope] = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(slope, torch.zeros(3), atol=1e-6, rtol=0)
    criterion = (
        p * game.generator_loss(real=None, fake=scores) + q * game.generator_loss(real=None, fake=scores)
    ).sum()
    torch.testing.assert_close(2 * criterion.detach(), ((2 * q - (p + q)).square() / (p + q)).sum())
