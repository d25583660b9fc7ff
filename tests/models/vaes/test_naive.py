"""Draws from the prior as the proposal, on a linear-Gaussian model, whose likelihood is known.

z ~ N(0, I_2), x | z ~ N(W z + b, s^2 I_4): p(x) = N(b, W W' + s^2 I), and the posterior is normal too.
"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.mixture import MixturePrior
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.naive import NaiveMonteCarlo
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP

S = 0.8


class Problem(NamedTuple):
    naive: NaiveMonteCarlo
    vae: VAE  # the same decoder, and a posterior somewhat wider than the true one
    x: Tensor
    exact: Tensor  # (B,) log p(x)


@pytest.fixture
def problem() -> Problem:
    torch.manual_seed(0)
    w = torch.linalg.qr(torch.randn(4, 2)).Q * torch.tensor([1.2, 0.7])
    b = torch.randn(4)
    decoder, encoder = MLP(2, 4, []), MLP(4, 2, [], params_per_output=2)
    decoder.layers[0].weight.data, decoder.layers[0].bias.data = w, b
    covariance = torch.linalg.inv(torch.eye(2) + w.T @ w / S**2)
    gain = covariance @ w.T / S**2
    encoder.layers[0].weight.data = torch.cat([gain, torch.zeros_like(gain)])
    encoder.layers[0].bias.data = torch.cat([-gain @ b, covariance.diagonal().sqrt().log() + 0.2])
    prior, likelihood = StandardNormal(2), NormalHead(scale=S)
    x = torch.randn(3, 4) + b
    exact = MultivariateNormal(b, w @ w.T + S**2 * torch.eye(4)).log_prob(x)
    naive = NaiveMonteCarlo(decoder, likelihood, prior, num_samples=5)
    return Problem(naive, VAE(encoder, decoder, NormalHead(), likelihood, prior), x, exact)


@torch.no_grad()
@pytest.mark.parametrize("weights", ["objective", "proposal", "estimator"])
def test_the_mean_is_an_unbiased_estimate_of_the_density(problem, weights):
    """Of the density, not of its logarithm: exp of the bound at K = 5 has the exact p(x) for its mean."""
    torch.manual_seed(1)
    many = problem.x.repeat_interleave(40_000, 0)
    if weights == "objective":
        estimate = problem.naive.bound(many).value.exp()
    elif weights == "proposal":
        estimate = problem.naive.log_importance_weights(many, 5).exp().mean(0)
    else:
        estimate = problem.vae.log_prior_weights(many, 5).exp().mean(0)
    ratios = (estimate / problem.exact.exp().repeat_interleave(40_000)).view(3, -1)
    error = ratios.std(1) / 200
    assert (error < 0.02).all()
    assert ((ratios.mean(1) - 1).abs() < 4 * error).all()
    # Its logarithm is too low on average: the bound.
    assert (ratios.log().mean(1) < -5 * ratios.log().std(1) / 200).all()


@torch.no_grad()
def test_its_variance_is_the_known_one_and_far_above_the_encoders(problem):
    """E_z[p(x|z)^2] is a normal integral: p(x|z)^2 is p(x|z) at the scale s / sqrt(2), times (4 pi s^2)^(-D/2)."""
    torch.manual_seed(2)
    naive = (problem.vae.log_prior_weights(problem.x, 200_000) - problem.exact).exp()
    encoders = (problem.vae.log_importance_weights(problem.x, 200_000) - problem.exact).exp()
    w, b = problem.vae.decoder.layers[0].weight, problem.vae.decoder.layers[0].bias
    sharper = MultivariateNormal(b, w @ w.T + S**2 / 2 * torch.eye(4)).log_prob(problem.x)
    square = sharper - 2 * torch.tensor(4 * torch.pi * S**2).log() - 2 * problem.exact
    torch.testing.assert_close(naive.var(0), square.exp() - 1, rtol=0.05, atol=0)
    assert (naive.var(0) > 5 * encoders.var(0)).all()


def test_the_proposal_costs_nothing_and_its_draws_are_each_examples_own(problem):
    bound = problem.naive.bound(problem.x)
    assert torch.equal(bound.kl, torch.zeros(3))
    same = problem.x[:1].expand(3, -1)
    weights = problem.naive.log_importance_weights(same, 2)
    assert len(set(weights.flatten().tolist())) == 6


def test_training_approaches_the_datas_density():
    """One dimension of code suffices: the decoder comes near the best linear-Gaussian density, probabilistic PCA's."""
    torch.manual_seed(3)
    x = torch.randn(300, 1) * torch.tensor([1.5, -1.0, 0.5]) + 0.6 * torch.randn(300, 3) + 1.0
    model = NaiveMonteCarlo(MLP(1, 3, []), NormalHead(scale=0.6), StandardNormal(1), num_samples=50)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        optimizer.zero_grad()
        (-model.bound(x).value.mean()).backward()
        optimizer.step()
    w, b = model.decoder.layers[0].weight, model.decoder.layers[0].bias

    def score(mean: Tensor, weight: Tensor) -> float:
        return MultivariateNormal(mean, weight @ weight.T + 0.36 * torch.eye(3)).log_prob(x).mean().item()

    values, vectors = torch.linalg.eigh(x.T.cov())
    best = score(x.mean(0), vectors[:, -1:] * (values[-1] - 0.36).sqrt())
    assert score(b, w) == pytest.approx(best, abs=0.01)
    assert score(b, 0 * w) < best - 0.5


def test_a_learned_prior_whose_draws_have_no_gradient_learns_all_the_same():
    """Against the gradient of the exact log p(x), a mixture of normal densities."""
    torch.manual_seed(4)
    prior = MixturePrior(1, 2)
    prior.loc.data = torch.tensor([[-0.7], [0.9]])
    model = NaiveMonteCarlo(MLP(1, 1, []), NormalHead(scale=S), prior, num_samples=100_000)
    w, b = model.decoder.layers[0].weight, model.decoder.layers[0].bias
    w.data, b.data = torch.tensor([[1.3]]), torch.tensor([0.2])
    x = torch.tensor([[0.5], [-1.0], [2.0]])
    scale = (w.squeeze() ** 2 * (2 * prior.log_scale.squeeze()).exp() + S**2).sqrt()
    each = Normal(w.squeeze() * prior.loc.squeeze() + b, scale).log_prob(x)
    exact = (each + prior.logits.log_softmax(0)).logsumexp(1)
    learned = [prior.logits, prior.loc, prior.log_scale, w, b]
    bound = model.bound(x)
    torch.testing.assert_close(bound.value, exact, atol=0.02, rtol=0)
    assert torch.equal(bound.kl, torch.zeros(3))
    got, expected = (torch.autograd.grad(value.sum(), learned) for value in (bound.value, exact))
    torch.testing.assert_close(got, expected, atol=0.05, rtol=0)


def test_it_draws_pictures_and_refuses_grey_levels_out_of_range():
    model = NaiveMonteCarlo(MLP(2, (1, 4, 4), [8]), BernoulliHead(), StandardNormal(2))
    assert model.sample(3).shape == (3, 1, 4, 4)
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        model.check_data(torch.full((2, 1, 4, 4), 1.5))


def test_refuses_a_count_below_one():
    with pytest.raises(UserError, match="num_samples of at least 1"):
        NaiveMonteCarlo(MLP(2, 3, []), NormalHead(scale=1.0), StandardNormal(2), num_samples=0)


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (MLP(3, (1, 4, 4), []), r"takes inputs of shape \(3,\), but the prior's codes have shape \(2,\)"),
        (MLP(2, (1, 5, 5), []), r"examples of shape \(1, 5, 5\), but the data's have shape \(1, 4, 4\)"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_first_step(tiny, decoder, message):
    model = NaiveMonteCarlo(decoder, BernoulliHead(), StandardNormal(2))
    with pytest.raises(UserError, match=message):
        tiny.trainer(max_steps=1).fit(model, tiny.TensorData(torch.zeros(12, 1, 4, 4), 6))
