"""Conditional VAEs against linear-Gaussian ones, whose p(y|c) is known."""

import math
from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.conditional_prior import ConditionalPrior
from lit_gen.distributions.flows.distribution import FlowPosterior
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.condition import GivenHalf
from lit_gen.models.vaes.conditional_vae import ClassConditionalVAE, ConditionalVAE
from lit_gen.networks.conditioned import ConditionedMLP
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import importance_bound
from lit_gen.protocols import Batch, Codes, Completes, Conditional, Samples, SamplesOfClasses

NUM_CLASSES, SCALE = 3, 0.6


class LinearGaussian(NamedTuple):
    vae: ClassConditionalVAE
    x: Tensor  # (5, 4)
    label: Tensor  # (5,)
    means: Tensor  # (3, 4), E[x|c]
    covariance: Tensor  # (4, 4), of x given any class
    truth: MultivariateNormal  # p(z|x, c)

    def exact(self, label: Tensor) -> Tensor:
        """(B,) log p(x|c)."""
        return MultivariateNormal(self.means[label], self.covariance).log_prob(self.x)


def linear_gaussian(off: float = 0.0) -> LinearGaussian:
    """z|c ~ N(U c + u, diag(t^2)), x|z, c ~ N(W z + V c + b, s^2 I); W's columns are orthogonal, so that the posterior
    is diagonal. The encoder gives it with its means moved and its scales stretched by ``off``."""
    torch.manual_seed(0)
    random = lambda *shape: torch.randn(*shape, dtype=torch.float64)  # noqa: E731
    w = torch.linalg.qr(random(4, 2)).Q * torch.tensor([1.5, 0.7], dtype=torch.float64)
    v, b, u_c, u = random(4, NUM_CLASSES), random(4), random(2, NUM_CLASSES), random(2)
    t = torch.tensor([0.5, 1.3], dtype=torch.float64)
    covariance = torch.linalg.inv(torch.diag(t**-2) + w.T @ w / SCALE**2)
    gain, pull = covariance @ w.T / SCALE**2, covariance @ torch.diag(t**-2)

    encoder = ConditionedMLP(4, NUM_CLASSES, 2, [], params_per_output=2).double()
    encoder.layers[0].weight.data = torch.cat(
        [torch.cat([gain, pull @ u_c - gain @ v], 1), torch.zeros_like(w.new_zeros(2, 7))]
    )
    encoder.layers[0].bias.data = torch.cat([pull @ u - gain @ b + off, covariance.diagonal().sqrt().log() + off])
    decoder = ConditionedMLP(2, NUM_CLASSES, 4, []).double()
    decoder.layers[0].weight.data, decoder.layers[0].bias.data = torch.cat([w, v], 1), b
    network = MLP(NUM_CLASSES, 2, [], params_per_output=2).double()
    network.layers[0].weight.data = torch.cat([u_c, torch.zeros_like(u_c)])
    network.layers[0].bias.data = torch.cat([u, t.log()])
    head = NormalHead(min_scale=0.0)
    parts = {"encoder": encoder, "decoder": decoder, "posterior": head, "likelihood": NormalHead(scale=SCALE)}
    vae = ClassConditionalVAE(NUM_CLASSES, prior=ConditionalPrior(2, network, head), **parts).double()

    means = (w @ (u_c + u[:, None]) + v + b[:, None]).T
    label = torch.tensor([0, 1, 2, 2, 0])
    x = random(5, 4) + means[label]
    c = nn.functional.one_hot(label, NUM_CLASSES).double()
    posterior_mean = (x - c @ v.T - b) @ gain.T + (c @ u_c.T + u) @ pull.T
    spread = w @ torch.diag(t**2) @ w.T + SCALE**2 * torch.eye(4, dtype=torch.float64)
    return LinearGaussian(vae, x, label, means, spread, MultivariateNormal(posterior_mean, covariance))


@torch.no_grad()
def test_at_the_true_posterior_every_single_weight_is_the_conditional_likelihood():
    problem = linear_gaussian()
    log_weights = problem.vae.log_importance_weights(problem.x, 7, problem.label)
    assert log_weights.shape == (7, 5)
    torch.testing.assert_close(log_weights, problem.exact(problem.label).expand(7, 5))


@torch.no_grad()
def test_the_bound_is_below_the_conditional_likelihood_by_the_posteriors_divergence():
    problem = linear_gaussian(off=0.3)
    many, labels = problem.x.repeat_interleave(40_000, 0), problem.label.repeat_interleave(40_000)
    inference = problem.vae.inference(problem.x, problem.label)
    q = inference.posterior
    gap = kl_divergence(MultivariateNormal(q.mean, torch.diag_embed(q.variance)), problem.truth)
    assert (gap > 0.2).all()
    expected = problem.exact(problem.label) - gap
    elbo = problem.vae.bound(many, label=labels).value.view(5, -1).mean(1)
    torch.testing.assert_close(elbo, expected, atol=0.03, rtol=0)
    one = importance_bound(problem.vae.log_importance_weights(many, 1, labels)).view(5, -1).mean(1)
    torch.testing.assert_close(one, expected, atol=0.03, rtol=0)
    better = (
        importance_bound(
            problem.vae.log_importance_weights(
                problem.x.repeat_interleave(20, 0), 5000, problem.label.repeat_interleave(20)
            )
        )
        .view(5, -1)
        .mean(1)
    )
    torch.testing.assert_close(better, problem.exact(problem.label), atol=0.03, rtol=0)


@torch.no_grad()
def test_summed_over_labels_it_is_the_density_of_the_mixture():
    """p(x) = sum_c p(c) p(x|c), and what ``sample`` draws is of that mixture: its mean is the mean of the classes'."""
    problem = linear_gaussian()
    terms = torch.stack(
        [
            importance_bound(problem.vae.log_importance_weights(problem.x, 3, torch.full((5,), c)))
            - math.log(NUM_CLASSES)
            for c in range(NUM_CLASSES)
        ]
    )
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(NUM_CLASSES, dtype=torch.float64)),
        MultivariateNormal(problem.means, problem.covariance),
    )
    torch.testing.assert_close(terms.logsumexp(0), mixture.log_prob(problem.x))
    torch.manual_seed(0)
    draws = problem.vae.sample(40_000)
    torch.testing.assert_close(draws.mean(0), problem.means.mean(0), atol=0.05, rtol=0)
    for c in range(NUM_CLASSES):
        draws = problem.vae.sample_classes(torch.full((40_000,), c))
        torch.testing.assert_close(draws.mean(0), problem.means[c], atol=0.05, rtol=0)
        noise = SCALE**2 * torch.eye(4, dtype=torch.float64)  # samples are means of p(x|z, c), without it
        torch.testing.assert_close(draws.T.cov(), problem.covariance - noise, atol=0.1, rtol=0)


X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()
LABEL = torch.arange(24) % NUM_CLASSES


class Data(LightningDataModule):
    def __init__(self, num_classes: int | None = NUM_CLASSES):
        super().__init__()
        self.event_shape, self.num_classes = (1, 4, 4), num_classes

    def train_dataloader(self):
        label = (None,) * 4 if self.num_classes is None else LABEL.split(6)
        return Batches([Batch(*parts) for parts in zip(X.split(6), label, torch.arange(24).split(6), strict=True)])

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class Batches:
    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


def by_class(prior=None, **kwargs):
    torch.manual_seed(0)
    parts = {
        "encoder": ConditionedMLP((1, 4, 4), NUM_CLASSES, 3, [8], params_per_output=2),
        "decoder": ConditionedMLP(3, NUM_CLASSES, (1, 4, 4), [8]),
    }
    heads = {"posterior": NormalHead(), "likelihood": BernoulliHead()}
    return ClassConditionalVAE(NUM_CLASSES, prior=prior or StandardNormal(3), **(parts | heads | kwargs))


def of_half(side="left", prior=None, **kwargs):
    torch.manual_seed(0)
    condition = GivenHalf((1, 4, 4), side)
    parts = {
        "encoder": ConditionedMLP(condition.shape, condition.shape, 3, [8], params_per_output=2),
        "decoder": ConditionedMLP(3, condition.shape, condition.shape, [8]),
    }
    heads = {"posterior": NormalHead(), "likelihood": BernoulliHead()}
    return ConditionalVAE(condition, prior=prior or StandardNormal(3), **(parts | heads | kwargs))


def test_only_the_class_conditional_model_is_one_to_draw_from():
    assert isinstance(by_class(), Samples)
    assert isinstance(by_class(), SamplesOfClasses)
    for model in (by_class(), of_half()):
        assert isinstance(model, Completes)
        assert isinstance(model, Conditional)
        assert not isinstance(model, Codes)  # neither encoder nor decoder knows enough without the condition
    assert not isinstance(of_half(), Samples)


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
@torch.no_grad()
def test_of_half_an_image_the_likelihood_is_of_the_other_halfs_pixels(side):
    """A decoder that knows nothing costs log 2 for each of 8 pixels; the given ones cost nothing."""
    model = of_half(side)
    for network in (model.encoder, model.decoder):
        nn.init.zeros_(network.layers[-1].weight)
        nn.init.zeros_(network.layers[-1].bias)
    bound = model.bound(X)
    torch.testing.assert_close(bound.log_likelihood, torch.full((24,), -8 * math.log(2)))
    torch.testing.assert_close(bound.kl, torch.zeros(24), atol=1e-5, rtol=0)


@torch.no_grad()
def test_completions_keep_what_is_given_and_differ_in_the_rest():
    model = of_half("top")
    nn.init.normal_(model.decoder.layers[-1].weight)
    completed = model.complete(X, 4)
    assert completed.shape == (4, 24, 1, 4, 4)
    assert torch.equal(completed[:, :, :, :2], X[:, :, :2].expand(4, -1, -1, -1, -1))
    assert completed[:, :, :, 2:].std(0).min() > 0
    assert torch.equal(model.visible(X)[:, :, :2], X[:, :, :2])
    assert (model.visible(X)[:, :, 2:] == 0.5).all()


@torch.no_grad()
def test_each_code_meets_the_condition_of_its_own_example():
    """K draws of B examples: weights of a batch are those of each example alone."""
    model = by_class().eval()
    nn.init.normal_(model.decoder.layers[0].weight, std=3.0)
    given = model.condition.one_hot(LABEL[:5])
    z = torch.randn(4, 5, 3)
    together = model.likelihood_at(z.flatten(0, 1), given).logits.view(4, 5, 1, 4, 4)
    for k in range(4):
        for b in range(5):
            alone = model.likelihood_at(z[k, b : b + 1], given[b : b + 1]).logits[0]
            torch.testing.assert_close(together[k, b], alone)


def test_the_label_changes_likelihood_and_posterior():
    model = by_class().eval()
    same_noise = []
    for label in (LABEL, (LABEL + 1) % NUM_CLASSES):
        torch.manual_seed(0)
        same_noise.append(model.log_importance_weights(X, 3, label))
    assert (same_noise[0] != same_noise[1]).all()


def test_it_trains_validates_and_predicts_with_its_labels(tiny):
    model = by_class(prior=ConditionalPrior(3, MLP(NUM_CLASSES, 3, [], params_per_output=2), NormalHead()))
    gradients = tiny.Gradients()
    trainer = tiny.trainer(max_steps=4, callbacks=[gradients])
    trainer.fit(model, Data())
    assert len(gradients.steps) == 4
    assert all(gradient.abs().sum() > 0 for _, step in gradients.steps for gradient in step)  # the prior's too
    metrics = trainer.callback_metrics
    torch.testing.assert_close(metrics["val/bound"], metrics["val/reconstruction"] - metrics["val/kl"])
    predictions = trainer.predict(model, Data())
    assert torch.cat([prediction.reconstruction for prediction in predictions]).shape == X.shape
    halves = tiny.trainer().predict(of_half(), Data(None))
    assert torch.equal(torch.cat([half.reconstruction for half in halves])[..., :2], X[..., :2])


def test_it_predicts_by_the_center_of_a_posterior_without_a_known_mean(tiny):
    encoder = ConditionedMLP((1, 4, 4), NUM_CLASSES, 3, [8], params_per_output=2)
    model = by_class(encoder=encoder, posterior=FlowPosterior(NormalHead(), IAF(3, 1, [8])))
    predictions = tiny.trainer().predict(model, Data())
    given = model.condition.given(X, LABEL)
    torch.testing.assert_close(
        torch.cat([prediction.code for prediction in predictions]), model.posterior(model.encoder(X, given)).center
    )


@pytest.mark.parametrize(
    ("model", "num_classes", "message"),
    [
        (by_class, None, "needs labelled data, but these have no labels"),
        (by_class, 4, "the data have 4 classes, but the condition is one of 3"),
        (lambda: by_class(decoder=ConditionedMLP(3, 4, (1, 4, 4), [8])), 3, "the decoder does not take inputs"),
        (lambda: by_class(prior=StandardNormal(5)), 3, "make them equal"),
        (lambda: of_half(decoder=ConditionedMLP(3, (1, 4, 2), (1, 4, 4), [8])), 3, r"there is \(1, 4, 2\) to tell"),
        (lambda: of_half(encoder=ConditionedMLP((1, 4, 4), (1, 4, 2), 3, [8])), 3, "the encoder does not take inputs"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(tiny, model, num_classes, message):
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(model(), Data(num_classes))
    assert "\n" not in str(error.value)


def test_a_batch_without_labels_is_refused_in_one_line(tiny):
    with pytest.raises(UserError, match="needs labelled examples"):
        by_class().log_importance_weights(X, 2)


def test_it_starts_at_the_mean_of_what_it_tells():
    model = of_half("left")
    nn.init.zeros_(model.decoder.layers[-1].weight)
    mean = torch.linspace(0.1, 0.9, 16).view(1, 4, 4)
    model.start_at_mean(mean)
    torch.testing.assert_close(model.complete(X, 1)[0, 0, :, :, 2:], mean[:, :, 2:])


@pytest.mark.parametrize("batch_size", [2, 5])
def test_the_likelihood_callback_gives_the_conditional_figure_and_says_so(tiny, batch_size):
    """Each example meets its own label, whatever the batches: at the true posterior the figure is exact."""
    problem = linear_gaussian()
    rows = torch.arange(5).split(batch_size)
    loader = Batches([Batch(problem.x[part], problem.label[part], part) for part in rows])
    callback = Likelihood(num_samples=3, chunk_size=7)
    [metrics] = tiny.trainer(callbacks=[callback], precision="64-true").test(problem.vae, loader, verbose=False)
    assert metrics["test/nll_nats_k3"] == pytest.approx(-problem.exact(problem.label).mean().item(), rel=1e-6)
    assert callback.protocols["test/nll_nats_k3"].startswith("conditional, given the class label; importance-weighted")
