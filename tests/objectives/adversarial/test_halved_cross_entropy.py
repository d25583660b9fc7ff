import torch

from lit_gen.objectives.adversarial.halved_cross_entropy import HalvedCrossEntropy
from lit_gen.objectives.adversarial.non_saturating import NonSaturating


def test_is_half_of_the_non_saturating_game():
    real, fake = torch.randn(2, 7)
    half, whole = HalvedCrossEntropy(0.1), NonSaturating(0.1)
    for loss in ("discriminator_loss", "generator_loss"):
        torch.testing.assert_close(
            2 * getattr(half, loss)(real=real, fake=fake), getattr(whole, loss)(real=real, fake=fake)
        )
