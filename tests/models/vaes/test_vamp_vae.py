"""The VampVAE against the aggregate posterior by direct computation and a likelihood by quadrature."""

import itertools
import math

import pytest
import torch
from torch import nn

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.flows.distribution import FlowPosterior
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.hierarchical import HierarchicalHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.distributions.vamp_prior import VampPrior
from lit_gen.errors import UserError
from lit_gen.models.vaes.vae import VAE
from lit_gen.models.vaes.vamp_vae import VampVAE
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import ELBO, ImportanceWeighted, importance_bound

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def make(num_pseudo_inputs=6, dim=2, size=1.0, **kwargs):
    torch.manual_seed(0)
    parts = {
        "encoder": MLP((1, 4, 4), dim, [8], nn.Tanh, params_per_output=2),
        "decoder": MLP(dim, (1, 4, 4), [8], nn.Tanh),
        "posterior": NormalHead(),
        "likelihood": BernoulliHead(),
        "prior": VampPrior(dim, (1, 4, 4), num_pseudo_inputs),
        "objective": ELBO(closed_form_kl=False),
    }
    vae = VampVAE(**(parts | kwargs))
    for parameter in (*vae.encoder.parameters(), *vae.decoder.parameters()):
        nn.init.normal_(parameter, std=size)
    return vae


class Calls:
    """How many examples the encoder has seen, call by call."""

    def __init__(self, vae):
        self.sizes = []
        vae.encoder.register_forward_hook(lambda _, inputs, __: self.sizes.append(len(inputs[0])))


def test_pseudo_inputs_at_the_data_make_it_the_aggregate_posterior():
    vae = make(24).double()
    x = X.double().clamp(0.01, 0.99)
    vae.prior.logits.data = x.logit()
    z = torch.randn(7, 24, 2).double()
    each = torch.stack([vae.posterior(vae.encoder(x[i : i + 1])).log_prob(z.unsqueeze(-2))[..., 0] for i in range(24)])
    torch.testing.assert_close(vae.latent_prior().log_prob(z), each.logsumexp(0) - math.log(24))
    draws = vae.latent_prior().sample((20_000,))
    q = vae.posterior(vae.encoder(x))
    variance = q.mean.var(0, unbiased=False) + q.variance.mean(0)
    assert ((draws.mean(0) - q.mean.mean(0)).abs() < 5 * (variance / 20_000).sqrt()).all()
    torch.testing.assert_close(draws.var(0), variance, atol=0, rtol=0.1)


@pytest.mark.parametrize(
    "objective", [ELBO(closed_form_kl=False), ImportanceWeighted(3), ImportanceWeighted(3, 2, "dreg")]
)
def test_the_gradient_reaches_every_pseudo_input(objective):
    vae = make(objective=objective, size=0.5)
    vae.bound(X.round()).value.sum().backward()
    gradient = vae.prior.logits.grad.flatten(1)
    assert gradient.isfinite().all()
    assert (gradient.abs().sum(1) > 0).all()


@torch.no_grad()
def test_importance_weights_average_to_the_likelihood():
    """log p(x) by quadrature over the two coordinates of z."""
    vae, x = make(size=0.2).double().eval(), X[:4].double().round()
    vae.prior.logits *= 5.0  # components that differ
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_pz = vae.latent_prior().log_prob(grid) + 2 * math.log(0.04)
    assert log_pz.logsumexp(0).item() == pytest.approx(0.0, abs=1e-3)
    p = vae.likelihood_at(grid)
    exact = torch.stack([(p.log_prob(one.expand(len(grid), 1, 4, 4)) + log_pz).logsumexp(0) for one in x])
    log_weights = vae.log_importance_weights(x, 20_000)
    assert log_weights.shape == (20_000, 4)
    error = log_weights.softmax(0).square().sum(0).sqrt()  # of the log of a mean weight, by its effective sample size
    assert (error < 0.02).all()
    assert ((importance_bound(log_weights) - exact).abs() < 4 * error).all()
    bounds = importance_bound(log_weights.unflatten(0, (4000, 5))).mean(0)
    assert (log_weights.mean(0) < bounds).all()
    assert (bounds < exact + 4 * error).all()


def test_a_weight_is_the_ratio_at_its_own_draw():
    vae, x = make().eval(), X[:3].round()
    torch.manual_seed(2)
    found = vae.log_importance_weights(x, 4)
    torch.manual_seed(2)
    q = vae.posterior(vae.encoder(x))
    z = q.rsample((4,))
    u = vae.posterior(vae.encoder(vae.prior.pseudo_inputs()))
    log_pz = u.log_prob(z.unsqueeze(-2)).logsumexp(-1) - math.log(6)
    log_px = torch.stack([vae.likelihood_at(codes).log_prob(x) for codes in z])
    torch.testing.assert_close(found, log_px + log_pz - q.log_prob(z))


def test_pseudo_inputs_are_encoded_once_a_batch():
    vae = make(objective=ImportanceWeighted(5, 2))
    calls = Calls(vae)
    vae.bound(X)
    vae.bound(X)
    assert calls.sizes == [24, 6, 24, 6]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_an_evaluation_in_chunks_encodes_them_once_until_a_weight_changes(context):
    vae = make().eval()
    calls = Calls(vae)
    other = make(size=0.5).state_dict()
    z = torch.randn(5, 2)

    def log_pz():
        with context():
            return [vae.latent_prior().log_prob(z) for _ in range(3)][-1].clone()

    densities = [log_pz()]
    assert calls.sizes == [6]
    with torch.no_grad():
        vae.encoder.layers[0].weight.mul_(1.1)
    densities.append(log_pz())
    with torch.no_grad():
        vae.prior.logits[2].add_(1.0)
    densities.append(log_pz())
    vae.load_state_dict(other)
    densities.append(log_pz())
    vae.prior.logits.data = vae.prior.logits.data + 1.0
    densities.append(log_pz())
    assert calls.sizes == [6] * 5
    for before, after in itertools.pairwise(densities):
        assert not torch.allclose(before, after)
    fresh = make().eval()
    fresh.load_state_dict(vae.state_dict())
    torch.testing.assert_close(densities[-1], fresh.latent_prior().log_prob(z).detach())


def _through_data(vae):
    vae.encoder.layers[0].weight.data.mul_(1.3)


def _as_a_view(vae):
    vae.encoder.layers[0].weight.detach().numpy()[:] *= 1.3


def _new_storage(vae):
    vae.prior.logits.data = vae.prior.logits.data * 2


def _by_an_optimizer(vae):
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.1, foreach=True)
    with torch.enable_grad():
        vae.bound(X.round()).value.sum().backward()
    optimizer.step()


def _another_module(vae):
    vae.encoder = make(size=0.7).encoder


def _by_a_swap(vae):
    average = torch.optim.swa_utils.AveragedModel(make(size=0.5).encoder)
    for own, theirs in zip(vae.encoder.parameters(), average.parameters(), strict=True):
        own.data, theirs.data = theirs.data, own.data


def _by_a_part_in_training_mode(vae):
    vae.encoder.layers.append(nn.Dropout(0.5).train())


@pytest.mark.parametrize(
    "change",
    [
        _through_data,
        _as_a_view,
        _new_storage,
        _by_an_optimizer,
        _another_module,
        _by_a_swap,
        _by_a_part_in_training_mode,
    ],
)
def test_a_change_by_any_way_is_seen(change):
    vae = make().eval()
    z = torch.randn(5, 2)
    with torch.no_grad():
        before = vae.latent_prior().log_prob(z)
        assert vae.latent_prior() is vae.latent_prior()
        change(vae)
        torch.manual_seed(0)
        found = vae.latent_prior().log_prob(z)
        vae._kept = None
        torch.manual_seed(0)
        expected = vae.latent_prior().log_prob(z)
    assert torch.equal(found, expected)
    assert not torch.allclose(found, before)


def test_nothing_is_kept_where_gradients_are_recorded():
    vae = make().eval()
    with torch.no_grad():
        vae.latent_prior()
    assert vae.latent_prior().log_prob(torch.zeros(2)).requires_grad


@pytest.mark.parametrize("num_samples", [1, 4])
def test_any_posterior_will_do(num_samples):
    flow = IAF(2, 1, [8], 2)
    encoder = MLP((1, 4, 4), 2, [8], params_per_output=3)
    vae = make(encoder=encoder, posterior=FlowPosterior(NormalHead(), flow), size=0.3)
    bound = vae.bound(X)
    assert bound.value.isfinite().all()
    assert vae.sample(num_samples).shape == (num_samples, 1, 4, 4)
    bound.value.sum().backward()
    assert vae.prior.logits.grad.abs().sum() > 0


def test_parts_that_do_not_fit_are_told_before_the_first_step(tiny):
    trainer = tiny.trainer(max_steps=1)
    with pytest.raises(UserError, match=r"inputs of shape \(1, 4, 4\), but the prior's pseudo-inputs .*\(1, 5, 5\)"):
        trainer.fit(make(prior=VampPrior(2, (1, 5, 5), 3)), tiny.TensorData(X, 6))
    with pytest.raises(UserError, match="a VampPrior, not a StandardNormal: take the model VAE"):
        trainer.fit(make(prior=StandardNormal(2)), tiny.TensorData(X, 6))
    with pytest.raises(UserError, match="closed_form_kl false"):
        trainer.fit(make(objective=ELBO()), tiny.TensorData(X, 6))
    layers = HierarchicalHead(NormalHead(), [MLP(1, 1, [], params_per_output=2)])
    encoder = MLP((1, 4, 4), 1, [], params_per_output=2)
    with pytest.raises(UserError, match=r"a VampPrior mixes posteriors as NormalHead, .*, not a LayeredCode"):
        trainer.fit(make(encoder=encoder, posterior=layers), tiny.TensorData(X, 6))
    plain = tiny.vae(dim=2, prior=VampPrior(2, (1, 4, 4), 3))
    assert isinstance(plain, VAE)
    with pytest.raises(UserError, match="take the model VampVAE"):
        trainer.fit(plain, tiny.TensorData(X, 6))


def test_no_grid_can_be_laid_along_a_prior_without_quantiles():
    with pytest.raises(UserError, match="a VampPrior has no quantiles") as error:
        make().prior_quantile(torch.tensor([0.5]))
    assert "\n" not in str(error.value)
