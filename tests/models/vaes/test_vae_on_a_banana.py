"""A posterior in the shape of a banana, whose likelihood is known: how near each family of posteriors comes to it."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from lit_gen.distributions.flows.distribution import FlowPosterior
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.flows.planar import Planar
from lit_gen.distributions.flows.realnvp import RealNVP
from lit_gen.distributions.full_normal import FullNormalHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import ELBO, importance_bound

X = torch.tensor([[-0.5]], dtype=torch.float64)


class Parabola(nn.Module):
    """x | z ~ N(z_2 + z_1 - z_1^2, 0.3^2): the codes that explain an x lie along a parabola."""

    def forward(self, z):
        return z[:, 1:] + z[:, :1] - z[:, :1].square()


def make(posterior):
    torch.manual_seed(0)
    encoder = MLP(1, 2, [], params_per_output=posterior.params_per_output)
    objective = ELBO(128, closed_form_kl=False)
    vae = VAE(encoder, Parabola(), posterior, NormalHead(scale=0.3), StandardNormal(2), objective=objective)
    return vae.double()


class Truth(NamedTuple):
    log_px: float
    mean: Tensor  # (2,), of p(z|x)
    std: Tensor  # (2,)


@torch.no_grad()
def truth():
    vae = make(NormalHead())
    axis = torch.linspace(-7, 7, 1401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_joint = vae.latent_prior().log_prob(grid) + vae.likelihood_at(grid).log_prob(X.expand(len(grid), 1))
    share = log_joint.softmax(0)[:, None]
    mean = (share * grid).sum(0)
    std = (share * (grid - mean).square()).sum(0).sqrt()
    return Truth(log_joint.logsumexp(0).item() + 2 * math.log(0.01), mean, std)


def train(vae, num_steps=250):
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.02)
    schedule = CosineAnnealingLR(optimizer, num_steps)
    for _ in range(num_steps):
        optimizer.zero_grad()
        (-vae.bound(X).value.mean()).backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)  # a code off the parabola costs thousands of nats
        optimizer.step()
        schedule.step()
    return vae


@pytest.fixture(scope="module")
def trained():
    posteriors = {
        "diagonal": NormalHead(),
        "full": FullNormalHead(2),
        "planar": FlowPosterior(NormalHead(), Planar(2, 8)),
        "iaf": FlowPosterior(NormalHead(), IAF(2, 2, [32])),
        "realnvp": FlowPosterior(NormalHead(), RealNVP(2, 4, [32])),
    }
    return {name: train(make(head)) for name, head in posteriors.items()}


@pytest.fixture
def log_weights(trained):
    """(40000,) log weights of each family: their mean is the ELBO."""
    torch.manual_seed(0)
    with torch.no_grad():
        return {name: vae.log_importance_weights(X, 40_000)[:, 0] for name, vae in trained.items()}


def test_richer_posteriors_tighten_the_bound(log_weights):
    elbo, exact = {name: own.mean().item() for name, own in log_weights.items()}, truth().log_px
    assert elbo["diagonal"] + 0.1 < elbo["full"]
    assert elbo["full"] + 0.2 < min(elbo["planar"], elbo["iaf"], elbo["realnvp"])
    assert elbo["realnvp"] > exact - 0.03
    for own in log_weights.values():
        assert own.mean().item() < exact + 5 * own.std().item() / len(own) ** 0.5


def test_importance_samples_bring_each_nearer_and_none_beyond(log_weights):
    exact = truth().log_px
    for own in log_weights.values():
        bounds = importance_bound(own.view(400, 100))  # 100 estimates
        assert own.mean() < bounds.mean() < exact + 5 * bounds.std() / 10


def test_the_draws_of_the_best_are_those_of_the_true_posterior(trained):
    torch.manual_seed(0)
    vae, true = trained["realnvp"], truth()
    with torch.no_grad():
        z = vae.posterior(vae.encoder(X)).sample((20_000,))[:, 0]
    torch.testing.assert_close(z.mean(0), true.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(0), true.std, atol=0.1, rtol=0)
