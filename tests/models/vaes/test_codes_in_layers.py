"""Two stochastic layers against a linear-Gaussian chain: bottom-up posteriors and ladders alike."""

import itertools

import pytest
import torch
from torch import nn

from lit_gen.distributions.hierarchical import HierarchicalHead, HierarchicalPrior
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.networks.bottom_layer import BottomLayer
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import ELBO, ImportanceWeighted

SAMPLED = ELBO(closed_form_kl=False)
X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()


@pytest.fixture(params=["upwards", "ladder"])
def make(request, layers):
    return getattr(layers, request.param)


@torch.no_grad()
def test_at_the_true_posterior_every_weight_is_the_likelihood(make, layers):
    """p(x, z_1, z_2) / q(z_1, z_2|x) = p(x) whatever is drawn: a layer left out, a layer in another's place, or a KL
    in the weights would all show."""
    vae = make()
    torch.testing.assert_close(vae.log_importance_weights(layers.problem.x, 7), layers.problem.exact.expand(7, 5))
    for objective in (SAMPLED, ImportanceWeighted(4)):
        torch.testing.assert_close(objective(vae.inference(layers.problem.x)).value, layers.problem.exact)


@torch.no_grad()
def test_the_bounds_rise_to_the_likelihood(make, layers):
    torch.manual_seed(0)
    vae, x, exact = make(off=0.35), layers.problem.x, layers.problem.exact
    means = []
    for objective, repeats in ((SAMPLED, 20_000), (ImportanceWeighted(5), 10_000), (ImportanceWeighted(50), 2000)):
        bounds = objective(vae.inference(x.repeat(repeats, 1))).lower_bound.view(repeats, 5)
        means.append(bounds.mean(0))
        assert (means[-1] < exact).all()
    for lower, higher in itertools.pairwise(means):
        assert (lower + 0.02 < higher).all()
    many = ImportanceWeighted(20_000)(vae.inference(x)).value
    torch.testing.assert_close(many, exact, atol=0.05, rtol=0)


def gradients(vae, x, objective, repeats):
    """(repeats, P): estimates of the gradient of everything but the decoder of x."""
    parameters = [p for name, p in vae.named_parameters() if not name.startswith("decoder")]
    estimates = []
    for _ in range(repeats):
        found = torch.autograd.grad(objective(vae.inference(x)).value.mean(), parameters)
        estimates.append(torch.cat([gradient.flatten() for gradient in found]))
    return torch.stack(estimates)


@pytest.mark.parametrize(("name", "samples"), [("stl", 1), ("dreg", 5)])
def test_other_gradients_are_unbiased_through_the_layers(make, layers, name, samples):
    """The ladder's prior is a part of its posterior: there the gradient has both parts' shares."""
    torch.manual_seed(0)
    vae, x = make(off=0.2), layers.problem.x.repeat(20, 1)
    standard = gradients(vae, x, ImportanceWeighted(samples), 150)
    other = gradients(vae, x, ImportanceWeighted(samples, gradient=name), 150)
    error = ((standard.var(0) + other.var(0)) / 150).sqrt() + 1e-9
    assert ((standard.mean(0) - other.mean(0)).abs() < 5 * error).all()
    assert not torch.allclose(standard[0], other[0])


@pytest.mark.parametrize("name", ["stl", "dreg"])
def test_the_encoders_gradient_vanishes_without_noise_at_the_true_posterior(make, layers, name):
    vae, x = make(), layers.problem.x
    inference_alone = [*vae.encoder.parameters(), *vae.posterior.parameters()]
    for objective in (ImportanceWeighted(4, gradient=name), ImportanceWeighted(4)):
        found = torch.autograd.grad(objective(vae.inference(x)).value.sum(), inference_alone)
        largest = max(gradient.abs().max() for gradient in found)
        assert largest < 1e-9 if objective.gradient == name else largest > 0.01


@torch.no_grad()
def test_samples_have_the_models_moments(make, layers):
    torch.manual_seed(0)
    problem, vae = layers.problem, make()
    means = vae.sample(50_000)  # of p(x|z_1): its noise is not in them
    torch.testing.assert_close(means.mean(0), problem.w @ problem.bias_1 + problem.b, atol=0.05, rtol=0)
    expected = problem.w @ problem.prior_covariance @ problem.w.T
    torch.testing.assert_close(torch.cov(means.T), expected, atol=0.06, rtol=0)


@torch.no_grad()
def test_codes_are_the_posteriors_means(make, layers):
    """Exact here, where every mean is affine in the layer before."""
    torch.manual_seed(0)
    vae, x = make(), layers.problem.x
    codes = vae.encode(x)
    assert codes.shape == (5, 5)
    draws = vae.posterior_at(vae.encoder(x)).rsample((40_000,))
    torch.testing.assert_close(codes, draws.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(vae.decode(codes), codes[:, :3] @ layers.problem.w.T + layers.problem.b)


def test_a_closed_form_is_refused_in_one_line(make, layers):
    with pytest.raises(UserError, match="closed_form_kl false"):
        make().bound(layers.problem.x)


def parts(dims=(3, 2), up=2, down=2, above=2):
    """Of a VAE on 4x4 pixels whose layers have 3 and 2 units, unless told otherwise."""
    bottom = dims[0]
    prior = HierarchicalPrior(StandardNormal(down), NormalHead(), [MLP(down, 5 - down, [], params_per_output=2)])
    return {
        "encoder": MLP((1, 4, 4), bottom, [], params_per_output=2),
        "posterior": HierarchicalHead(NormalHead(), [MLP(3, up, [], params_per_output=2)]),
        "decoder": BottomLayer(MLP(3, (1, 4, 4), []), above),
        "prior": prior,
        "objective": SAMPLED,
    }


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dims": (4, 2)}, r"network 0 takes inputs of shape \(3,\), but the layer before it has shape \(4,\)"),
        ({"up": 4}, r"codes of shape \(7,\), but the prior's have shape \(5,\)"),
        ({"down": 3, "above": 2}, r"lengths \(3, 2\), but the prior's have \(2, 3\)"),
        ({"above": 3}, r"the decoder takes inputs of shape \(6,\), but the prior's codes have shape \(5,\)"),
    ],
)
def test_layers_of_wrong_sizes_are_told_before_the_first_step(tiny, sizes, message):
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(tiny.vae(**parts(**sizes)), tiny.TensorData(X, 6))
    assert "\n" not in str(error.value)


def test_layers_train_and_start_at_the_mean(tiny):
    vae = tiny.vae(**parts())
    tiny.trainer(max_steps=2).fit(vae, tiny.TensorData(X, 6))
    vae.start_at_mean(torch.full((1, 4, 4), 0.3))
    nn.init.zeros_(vae.decoder.network.layers[-1].weight)
    torch.testing.assert_close(vae.sample(3), torch.full((3, 1, 4, 4), 0.3))
