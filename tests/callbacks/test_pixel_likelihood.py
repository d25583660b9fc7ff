"""A density of pixels lent to a VAE-GAN: the figure is that of the VAE of the same parts."""

import pytest
import torch
from torch import nn

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.callbacks.pixel_likelihood import PixelLikelihood
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.location_scale import LearnedScale
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.conditional_vae import ClassConditionalVAE
from lit_gen.models.vaes.cvae_gan import CVAEGAN
from lit_gen.models.vaes.vae import VAE
from lit_gen.models.vaes.vae_gan import VAEGAN
from lit_gen.networks.conditioned import ConditionedMLP
from lit_gen.networks.feature_network import FeatureNetwork
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.minimax import Minimax

IMAGE = (1, 4, 4)


def features(num_outputs):
    return FeatureNetwork(MLP(IMAGE, 5, []), MLP(5, num_outputs, []))


def vae_gan_and_vae():
    encoder = MLP(IMAGE, 2, [8], params_per_output=2)
    decoder = MLP(2, IMAGE, [8], output_activation=nn.Sigmoid)
    gan = VAEGAN(encoder, decoder, features(()), NormalHead(), StandardNormal(2), Minimax())
    return gan, VAE(encoder, decoder, NormalHead(), NormalHead(scale=0.3), StandardNormal(2))


def cvae_gan_and_vae():
    encoder = ConditionedMLP(IMAGE, 3, 2, [8], params_per_output=2)
    decoder = ConditionedMLP(2, 3, IMAGE, [8], output_activation=nn.Sigmoid)
    gan = CVAEGAN(3, encoder, decoder, features(()), features(3), NormalHead(), StandardNormal(2))
    parts = {"posterior": NormalHead(), "likelihood": NormalHead(scale=0.3), "prior": StandardNormal(2)}
    return gan, ClassConditionalVAE(3, encoder=encoder, decoder=decoder, **parts)


@pytest.mark.parametrize("make", [vae_gan_and_vae, cvae_gan_and_vae])
def test_it_is_the_likelihood_of_the_vae_of_the_same_parts(make, small_data, make_trainer):
    torch.manual_seed(0)
    gan, vae = make()
    lent = PixelLikelihood(NormalHead(scale=0.3), num_samples=30, chunk_size=20)
    (figures,) = make_trainer(lent).test(gan, datamodule=small_data(), verbose=False)
    (own,) = make_trainer(Likelihood(30, chunk_size=20)).test(vae, datamodule=small_data(), verbose=False)
    for name in ("", "_se", "_ess", "_mc_se"):
        expected = own[f"test/nll_nats_k30{name}"]
        assert figures[f"test/nll_nats_pixel_k30{name}"] == pytest.approx(expected, rel=1e-6)
    assert "p(x|z) lent by NormalHead of scale 0.3" in lent.protocols["test/nll_nats_pixel_k30"]


@pytest.mark.parametrize("head", [NormalHead(), NormalHead(scale=LearnedScale(0.3))])
def test_refuses_a_density_that_images_alone_do_not_fix(head):
    with pytest.raises(UserError, match="take NormalHead or LaplaceHead with a fixed scale"):
        PixelLikelihood(head)


def test_refuses_counts_below_one_and_models_without_a_posterior(small_data, make_trainer):
    with pytest.raises(UserError, match="PixelLikelihood needs num_samples of at least 1"):
        PixelLikelihood(NormalHead(scale=0.1), num_samples=0)
    _, vae = vae_gan_and_vae()
    with pytest.raises(UserError, match="PixelLikelihood can't score a VAE"):
        make_trainer(PixelLikelihood(NormalHead(scale=0.1))).test(vae, datamodule=small_data(), verbose=False)


def test_logits_are_no_images():
    """A Bernoulli head would read pixels as logits: it is refused, having no scale that could be fixed."""
    with pytest.raises(UserError, match="fixed scale"):
        PixelLikelihood(BernoulliHead())
