import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lit_gen.errors import UserError
from lit_gen.objectives.adversarial.non_saturating import NonSaturating


def test_smoothed_loss_is_the_cross_entropy_with_smoothed_labels():
    real, fake = torch.randn(2, 7)
    loss = NonSaturating(real_smoothing=0.1, fake_smoothing=0.2).discriminator_loss(real=real, fake=fake)
    expected = binary_cross_entropy_with_logits(real, torch.full((7,), 0.9), reduction="none")
    expected += binary_cross_entropy_with_logits(fake, torch.full((7,), 0.2), reduction="none")
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("name", ["real_smoothing", "fake_smoothing"])
def test_a_smoothing_outside_its_range_is_refused(name, value):
    with pytest.raises(UserError, match=rf"NonSaturating's {name} must be in \[0, 1\)"):
        NonSaturating(**{name: value})
