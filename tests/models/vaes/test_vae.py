"""The VAE against linear-Gaussian models, whose posterior and likelihood are known, and against its formulas."""

import itertools
import math
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence
from torch.optim import SGD
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.conv import ConvDecoder, ConvEncoder
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import LinearWarmup, importance_bound

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()


class LinearGaussian(NamedTuple):
    vae: VAE
    x: Tensor
    exact: Tensor  # (B,) log p(x)
    truth: MultivariateNormal  # p(z|x)

    def posterior_gap(self) -> Tensor:
        """(B,) KL(q(z|x) || p(z|x))."""
        q = self.vae.posterior(self.vae.encoder(self.x))
        return kl_divergence(MultivariateNormal(q.mean, torch.diag_embed(q.variance)), self.truth).detach()


def linear_gaussian(off: float) -> LinearGaussian:
    """z ~ N(0, I_2), x | z ~ N(W z + b, s^2 I_4); W's columns are orthogonal, so that the posterior is diagonal.

    The encoder gives the true posterior with its means moved and its scales stretched by ``off``.
    """
    torch.manual_seed(0)
    s = 0.6
    basis = torch.linalg.qr(torch.randn(4, 2, dtype=torch.float64)).Q
    w, b = basis * torch.tensor([1.5, 0.7], dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    precision = torch.eye(2, dtype=torch.float64) + w.T @ w / s**2
    covariance = torch.linalg.inv(precision)
    gain = covariance @ w.T / s**2

    decoder, encoder = MLP(2, 4, []).double(), MLP(4, 2, [], params_per_output=2).double()
    decoder.layers[0].weight.data, decoder.layers[0].bias.data = w, b
    encoder.layers[0].weight.data = torch.cat([gain, torch.zeros_like(gain)])
    encoder.layers[0].bias.data = torch.cat([-gain @ b + off, covariance.diagonal().sqrt().log() + off])
    vae = VAE(encoder, decoder, NormalHead(min_scale=0.0), NormalHead(scale=s), StandardNormal(2)).double()

    x = torch.randn(5, 4, dtype=torch.float64) + b
    exact = MultivariateNormal(b, w @ w.T + s**2 * torch.eye(4, dtype=torch.float64)).log_prob(x)
    return LinearGaussian(vae, x, exact, MultivariateNormal((x - b) @ gain.T, covariance))


@torch.no_grad()
def test_at_the_true_posterior_every_single_weight_is_the_likelihood():
    """p(x, z) / q(z|x) = p(x) whatever z. An analytic KL inside the weights, a lost constant or a flipped sign would
    all show."""
    problem = linear_gaussian(off=0.0)
    log_weights = problem.vae.log_importance_weights(problem.x, 7)
    assert log_weights.shape == (7, 5)
    torch.testing.assert_close(log_weights, problem.exact.expand(7, 5))
    torch.testing.assert_close(problem.posterior_gap(), torch.zeros(5).double(), atol=1e-9, rtol=0)


@torch.no_grad()
def test_the_bound_is_below_the_likelihood_by_the_posteriors_divergence():
    """log p(x) - E[ELBO] = KL(q(z|x) || p(z|x)), and of the one-sample importance bound too."""
    problem = linear_gaussian(off=0.3)
    many = problem.x.repeat_interleave(40_000, 0)
    elbo = problem.vae.bound(many).value.view(5, -1).mean(1)
    one = importance_bound(problem.vae.log_importance_weights(many, 1)).view(5, -1).mean(1)
    expected = problem.exact - problem.posterior_gap()
    assert (problem.posterior_gap() > 0.2).all()
    torch.testing.assert_close(elbo, expected, atol=0.03, rtol=0)
    torch.testing.assert_close(one, expected, atol=0.03, rtol=0)


@torch.no_grad()
def test_more_samples_tighten_the_bound_up_to_the_likelihood():
    problem = linear_gaussian(off=0.6)
    means = []
    for k, repeats in ((1, 20_000), (3, 20_000), (10, 10_000), (5000, 20)):
        many = problem.x.repeat_interleave(repeats, 0)
        means.append(importance_bound(problem.vae.log_importance_weights(many, k)).view(5, -1).mean(1))
    for lower, higher in itertools.pairwise(means):
        assert (lower < higher).all()
    assert (means[2] < problem.exact).all()
    torch.testing.assert_close(means[-1], problem.exact, atol=0.03, rtol=0)


def test_training_closes_the_gap():
    """Only the posterior is trained: it comes to be the exact one, where the bound is the likelihood."""
    problem = linear_gaussian(off=0.5)
    assert (problem.posterior_gap() > 0.5).all()
    problem.vae.decoder.requires_grad_(False)
    optimizer = torch.optim.Adam(problem.vae.encoder.parameters(), lr=0.02)
    for step in range(800):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 800)
        optimizer.zero_grad()
        (-problem.vae.bound(problem.x.repeat(20, 1)).value.mean()).backward()
        optimizer.step()
    assert (problem.posterior_gap() < 0.01).all()


def test_nats_are_summed_over_pixels(tiny):
    """A decoder that knows nothing costs log 2 a pixel; a posterior that says nothing costs no KL."""
    vae = tiny.vae()
    for network in (vae.encoder, vae.decoder):
        nn.init.zeros_(network.layers[-1].weight)
        nn.init.zeros_(network.layers[-1].bias)
    bound = vae.bound(X)
    torch.testing.assert_close(bound.log_likelihood, torch.full((24,), -16 * math.log(2)))
    torch.testing.assert_close(bound.kl, torch.zeros(24), atol=1e-5, rtol=0)  # the scale is 1 + min_scale
    terms = vae.validation_step(next(iter(tiny.Loader(X, 24))), 0)
    assert all(value.shape == (24,) for value in terms.values())


@pytest.mark.parametrize("beta", [0.00025, 4.0, LinearWarmup(num_steps=1000)])
def test_validation_reports_the_bound_itself_whatever_the_training_weighs(tiny, beta):
    vae = tiny.vae(beta=beta)
    trainer = tiny.trainer(max_steps=4)
    trainer.fit(vae, tiny.Loader(X, 6), tiny.Loader(X, 6))
    metrics = trainer.callback_metrics
    bound = metrics["val/reconstruction"] - metrics["val/kl"]
    torch.testing.assert_close(metrics["val/bound"], bound)
    torch.testing.assert_close(metrics["val/loss"], -bound)
    assert metrics["val/kl"] > 0
    weight = beta(3) if callable(beta) else beta
    expected = weight * metrics["train/kl"] - metrics["train/reconstruction"]
    torch.testing.assert_close(metrics["train/loss"], expected)
    torch.testing.assert_close(metrics["train/bound"], metrics["train/reconstruction"] - metrics["train/kl"])


def test_warm_up_counts_optimizer_steps(tiny):
    seen = []

    def beta(step):
        seen.append(step)
        return 1.0

    tiny.trainer(max_steps=5).fit(tiny.vae(beta=beta), tiny.Loader(X, 6))
    assert seen == [0, 1, 2, 3, 4]


def test_gradients_are_those_of_the_formula(tiny):
    vae, gradients = tiny.vae(optimizer=partial(SGD, lr=0.0)), tiny.Gradients()
    noise = []
    head = vae.posterior
    head.register_forward_hook(lambda _, __, q: noise.append(torch.get_rng_state()))
    tiny.trainer(max_steps=1, callbacks=[gradients]).fit(vae, tiny.Loader(X, 6))
    torch.set_rng_state(noise[0])
    mean, log_scale = vae.encoder(X[:6]).unbind(1)
    scale = log_scale.exp() + head.min_scale
    z = mean + scale * torch.randn(6, 3)
    p = vae.decoder(z).sigmoid()
    reconstruction = (X[:6] * p.log() + (1 - X[:6]) * (1 - p).log()).sum((1, 2, 3))
    kl = 0.5 * (mean**2 + scale**2 - 1 - 2 * scale.log()).sum(1)
    expected = torch.autograd.grad((kl - reconstruction).mean(), list(vae.parameters()))
    for got, want in zip(gradients.steps[0][1], expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_codes_reconstructions_and_quantiles(tiny):
    vae = tiny.vae()
    trainer = tiny.trainer()
    predictions = trainer.predict(vae, tiny.Loader(X, 10))
    codes = torch.cat([prediction.code for prediction in predictions])
    torch.testing.assert_close(codes, vae.encode(X).detach())
    torch.testing.assert_close(codes, vae.encoder(X).detach()[:, 0])
    reconstructions = torch.cat([prediction.reconstruction for prediction in predictions])
    torch.testing.assert_close(reconstructions, vae.decoder(codes).detach().sigmoid())
    z = vae.prior_quantile(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(torch.special.ndtr(z), torch.tensor([0.1, 0.5, 0.9]))


def test_normal_means_are_confined_to_pixels_and_points_are_not(tiny):
    pictures = tiny.vae(likelihood=NormalHead(scale=0.1))
    nn.init.constant_(pictures.decoder.layers[-1].bias, 3.0)
    assert pictures.sample(4).max() == 1.0
    points = tiny.vae(event_shape=(2,), likelihood=NormalHead(scale=0.1))
    nn.init.constant_(points.decoder.layers[-1].bias, 3.0)
    assert points.sample(4).min() > 1.0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("likelihood", [BernoulliHead(), NormalHead(scale=0.1), NormalHead(min_scale=0.01)])
def test_it_learns_under_every_likelihood_and_precision(tiny, likelihood, precision):
    decoder = MLP(3, (1, 4, 4), [8], params_per_output=likelihood.params_per_output)
    vae = tiny.vae(decoder=decoder, likelihood=likelihood, optimizer=partial(torch.optim.Adam, lr=0.02))
    stripes = torch.tensor([0.0, 1.0]).repeat(24, 1, 4, 2)
    trainer = tiny.trainer(max_steps=40, precision=precision)
    [start] = trainer.validate(vae, tiny.Loader(stripes, 6), verbose=False)
    trainer.fit(vae, tiny.Loader(stripes, 6))
    [end] = trainer.validate(vae, tiny.Loader(stripes, 6), verbose=False)
    assert end["val/loss"] < start["val/loss"] - 4
    assert all(parameter.isfinite().all() for parameter in vae.parameters())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": MLP((1, 4, 4), 5, [], params_per_output=2)}, r"codes of shape \(5,\), but the prior's .* \(3,\)"),
        ({"decoder": MLP(6, (1, 4, 4), [])}, r"takes inputs of shape \(6,\), but the prior's codes have shape \(3,\)"),
        ({"decoder": MLP(3, (1, 5, 5), [])}, r"examples of shape \(1, 5, 5\), but the data's have shape \(1, 4, 4\)"),
        (
            {"encoder": MLP((3, 4, 4), 3, [], params_per_output=2)},
            r"\(3, 4, 4\), but the data's examples .*\(1, 4, 4\)",
        ),
        ({"encoder": MLP((1, 4, 4), 3, [])}, r"params_per_output 2"),
        ({"decoder": nn.Linear(6, 16)}, r"the decoder does not take inputs of shape \(3,\).*2x3 and 6x16"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_first_step(tiny, parts, message):
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(tiny.vae(**parts), tiny.TensorData(X, 6))
    assert "\n" not in str(error.value)


def test_convolutional_networks_fit(tiny):
    x = torch.rand(6, 1, 8, 8)
    vae = tiny.vae(
        encoder=ConvEncoder((1, 8, 8), 3, base_channels=2), decoder=ConvDecoder(3, (1, 8, 8), base_channels=2)
    )
    trainer = tiny.trainer(max_steps=1)
    trainer.fit(vae, tiny.TensorData(x, 3))
    assert vae.sample(2).shape == (2, 1, 8, 8)


def test_schedules_count_optimizer_steps(tiny):
    schedule = partial(LinearLR, start_factor=1.0, end_factor=0.5, total_iters=6)
    trainer = tiny.trainer(max_steps=6)
    trainer.fit(tiny.vae(optimizer=partial(SGD, lr=1e-3), scheduler=schedule), tiny.Loader(X, 6))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(5e-4)


def test_a_schedule_may_watch_the_validation_loss(tiny):
    watch = partial(ReduceLROnPlateau, patience=0, factor=0.1, threshold=1e6)
    trainer = tiny.trainer(max_epochs=3)
    vae = tiny.vae(optimizer=partial(SGD, lr=1e-3), scheduler=watch)
    trainer.fit(vae, tiny.Loader(X, 6), tiny.Loader(X, 6))
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-3


def test_an_example_that_is_not_finite_shows_in_the_figure_that_chooses_checkpoints(tiny):
    model = tiny.vae()
    values = torch.arange(6.0)
    model.validation_step = lambda batch, batch_idx: {"loss": values[batch.index]}
    data = tiny.TensorData(torch.rand(6, 1, 4, 4), 4)
    trainer = tiny.trainer()
    assert trainer.validate(model, datamodule=data, verbose=False)[0]["val/loss"] == 2.5
    values[5] = torch.nan
    assert math.isnan(trainer.validate(model, datamodule=data, verbose=False)[0]["val/loss"])
