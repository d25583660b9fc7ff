"""The prior's estimate of the likelihood beside the encoder's: on one model, both seen through the callbacks."""

import pytest
import torch
from lightning.pytorch import LightningModule

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.callbacks.naive_likelihood import NaiveLikelihood
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP


@pytest.fixture
def vae():
    """A decoder whose code tells much, and an encoder with the true posterior's means nearly."""
    torch.manual_seed(0)
    encoder, decoder = MLP((1, 4, 4), 2, [], params_per_output=2), MLP(2, (1, 4, 4), [])
    w = 2 * torch.linalg.qr(torch.randn(16, 2)).Q
    decoder.layers[0].weight.data, decoder.layers[0].bias.data = w, torch.zeros(16)
    encoder.layers[0].weight.data = torch.cat([w.T / 4.1, torch.zeros(2, 16)])
    encoder.layers[0].bias.data = torch.tensor([0.0, 0.0, -1.85, -1.85])
    return VAE(encoder, decoder, NormalHead(), NormalHead(scale=0.3), StandardNormal(2))


def test_both_agree_and_the_priors_is_the_rougher(vae, small_data, make_trainer):
    callbacks = [Likelihood(1000), NaiveLikelihood(1000)]
    (figures,) = make_trainer(*callbacks).test(vae, datamodule=small_data(), verbose=False)
    encoders, naive = "test/nll_nats_k1000", "test/nll_nats_naive_k1000"
    error = (figures[f"{encoders}_mc_se"] ** 2 + figures[f"{naive}_mc_se"] ** 2) ** 0.5
    assert figures[naive] == pytest.approx(figures[encoders], abs=4 * error)
    assert error < 0.05
    assert figures[f"{naive}_mc_se"] > 3 * figures[f"{encoders}_mc_se"]
    assert figures[f"{naive}_ess"] < figures[f"{encoders}_ess"] / 3
    assert callbacks[1].protocols[naive].startswith("naive Monte-Carlo, K=1000 draws from the prior, noise seed 0; 24 ")


def test_refuses_a_model_without_a_prior(small_data, make_trainer):
    class Sampler(LightningModule):
        def test_step(self, batch, batch_idx):
            pass

    with pytest.raises(UserError, match=r"NaiveLikelihood can't score a Sampler: it has no log_prior_weights"):
        make_trainer(NaiveLikelihood()).test(Sampler(), datamodule=small_data(), verbose=False)


def test_refuses_counts_below_one():
    with pytest.raises(UserError, match="NaiveLikelihood needs num_samples of at least 1"):
        NaiveLikelihood(num_samples=0)
