"""Models whose samples are a function of latents: which ones are, and that the latents are those of their samples."""

import pytest
import torch

from lit_gen.protocols import FromLatents
from tests.contracts.test_models import MODELS

WITH_LATENTS = [name for name, make in MODELS.items() if isinstance(make(), FromLatents)]
WITHOUT = ("conditional", "vq_vae", "autoregressive", "autoencoder", "rbm")
"""Their samples depend on a class or on codes of a finite number, or aren't made of a prior's draws."""


def test_all_models_with_a_prior_of_one_tensor_have_them():
    assert {name for name in MODELS if not any(word in name for word in WITHOUT)} == set(WITH_LATENTS)
    assert len(WITH_LATENTS) > 10


@pytest.mark.parametrize("name", WITH_LATENTS)
def test_samples_are_made_of_the_latents_drawn(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        torch.manual_seed(1)
        samples = model.sample(5)
        torch.manual_seed(1)
        z = model.draw_latents(5)
        assert z.dim() == 2 and len(z) == 5
        assert torch.equal(model.from_latents(z), samples)
        torch.testing.assert_close(model.from_latents(z[2:3]), samples[2:3])  # each on its own
