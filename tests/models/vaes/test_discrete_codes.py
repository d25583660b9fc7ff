"""A VAE with a discrete code against the sum over all codes."""

import itertools
import math

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn import functional as F

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.gumbel_softmax import GumbelSoftmaxHead
from lit_gen.distributions.one_hot import UniformCategorical
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import ELBO, ImportanceWeighted, LinearWarmup

X = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()


def make(num_variables=2, num_classes=3, seed=0, prior=None, **kwargs):
    torch.manual_seed(seed)
    dim = num_variables * num_classes
    encoder = MLP((1, 4, 4), num_variables, [8], torch.nn.Tanh, params_per_output=num_classes)
    decoder = MLP(dim, (1, 4, 4), [8], torch.nn.Tanh)
    head = GumbelSoftmaxHead(num_classes, kwargs.pop("temperature", 1.0), kwargs.pop("straight_through", False))
    prior = UniformCategorical(num_variables, num_classes) if prior is None else prior
    vae = VAE(encoder, decoder, head, BernoulliHead(), prior, **kwargs)
    with torch.no_grad():
        for network in (encoder, decoder):  # far from uniform
            for parameter in network.parameters():
                parameter.mul_(3)
    return vae


@torch.no_grad()
def enumerated(vae, x, num_variables=2, num_classes=3):
    """(C, B) of all codes c: log p(x, c) and log q(c|x); and (B,) log p(x)."""
    classes = torch.tensor(list(itertools.product(range(num_classes), repeat=num_variables)))
    codes = F.one_hot(classes, num_classes).flatten(1).float()
    log_pc = -num_variables * math.log(num_classes)
    joint = torch.stack([vae.likelihood_at(c.expand(len(x), -1)).log_prob(x) + log_pc for c in codes])
    log_q = vae.encoder(x).log_softmax(1)  # (B, K, N)
    posterior = torch.stack([sum(log_q[:, k, n] for n, k in enumerate(row.tolist())) for row in classes])
    return joint, posterior, joint.logsumexp(0)


@torch.no_grad()
def test_importance_weights_are_those_of_the_discrete_model():
    vae = make().eval()
    joint, posterior, exact = enumerated(vae, X)
    log_weights = vae.log_importance_weights(X, 50)
    # Each is the ratio at one of the nine codes.
    nearest = (log_weights - (joint - posterior)[:, None]).abs().amin(0)
    assert nearest.max() < 1e-3
    torch.manual_seed(0)
    many = torch.stack([ImportanceWeighted(20_000)(vae.inference(X)).lower_bound for _ in range(3)])
    torch.testing.assert_close(many, exact.expand(3, 12), atol=0.1, rtol=0)


@torch.no_grad()
def test_the_bounds_are_their_sums_over_all_codes():
    torch.manual_seed(0)
    vae = make().eval()
    joint, posterior, exact = enumerated(vae, X)
    elbo = (posterior.exp() * (joint - posterior)).sum(0)
    assert (elbo < exact).all()
    for objective in (ELBO(4000), ELBO(4000, closed_form_kl=False)):
        bound = objective.eval()(vae.inference(X)).lower_bound
        spread = (posterior.exp() * (joint - posterior - elbo) ** 2).sum(0).sqrt()
        assert ((bound - elbo).abs() < 5 * spread / 4000**0.5 + 1e-3).all()
    five = torch.stack([ImportanceWeighted(5)(vae.inference(X)).lower_bound for _ in range(500)])
    assert (elbo < five.mean(0)).all()
    assert (five.mean(0) - 5 * five.std(0) / 500**0.5 < exact).all()


@torch.no_grad()
def test_at_the_true_posterior_every_weight_is_the_likelihood():
    vae = make(num_variables=1, num_classes=4).eval()
    joint, _, exact = enumerated(vae, X, 1, 4)
    vae.encoder = torch.nn.Module()
    vae.encoder.forward = lambda x: joint.T[:, :, None]  # (B, K, 1): unnormalized log p(c|x)
    torch.testing.assert_close(vae.log_importance_weights(X, 7), exact.expand(7, 12))


@torch.no_grad()
def test_validation_reports_the_discrete_models_bound_whatever_the_temperature():
    found = []
    for temperature in (0.1, 10.0):
        vae = make(temperature=temperature).eval()
        torch.manual_seed(0)
        found.append(vae.bound(X).lower_bound)
    assert torch.equal(*found)


def test_training_by_the_relaxed_gradient_raises_the_likelihood():
    """The sum over all codes itself, which training never sees."""
    vae = make(num_variables=2, num_classes=3)
    x = torch.zeros(9, 1, 4, 4)
    for i in range(9):  # nine pictures: as many as there are codes
        x[i, 0, i % 3], x[i, 0, 3, i // 3] = 1.0, 1.0
    before = enumerated(vae.eval(), x)[2].mean()
    optimizer = torch.optim.Adam(vae.train().parameters(), lr=0.02)
    torch.manual_seed(0)
    for _ in range(400):
        optimizer.zero_grad()
        (-vae.bound(x.repeat(4, 1, 1, 1)).value.mean()).backward()
        optimizer.step()
    after = enumerated(vae.eval(), x)[2].mean()
    assert after > before + 5
    assert after > -4  # with a code for each picture it is -log 9 at best


class Temperatures(torch.nn.Module):
    """Keeps the temperature that each training step was made with."""

    def __init__(self, head):
        super().__init__()
        self.head, self.seen = head, []

    def forward(self, params):
        if self.training:
            self.seen.append(self.head.temperature)
        return self.head(params)


def test_the_temperature_is_annealed_by_the_step_and_a_resumed_run_goes_on(tiny, tmp_path):
    schedule = LinearWarmup(start=1.0, end=0.5, num_steps=5)
    runs = {}
    for name, steps, resume in (("half", 4, None), ("resumed", 6, tmp_path / "at.ckpt"), ("whole", 6, None)):
        vae = make(temperature=schedule, objective=ImportanceWeighted(2, gradient="stl"))
        vae.posterior = Temperatures(vae.posterior)
        save = ModelCheckpoint(tmp_path, filename="at" if name == "half" else name, every_n_train_steps=4)
        trainer = tiny.trainer(max_steps=steps, callbacks=[save])
        trainer.fit(vae, tiny.Loader(X, 6), ckpt_path=resume)
        runs[name] = (vae.posterior.seen[::2], vae.state_dict())  # stl asks the head twice a step
    assert runs["whole"][0] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert runs["half"][0] + runs["resumed"][0] == runs["whole"][0]
    assert all(torch.equal(value, runs["whole"][1][key]) for key, value in runs["resumed"][1].items())


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (UniformCategorical(3, 3), r"codes of shape \(6,\), but the prior's have shape \(9,\)"),
        (StandardNormal(6), "codes are discrete, but a StandardNormal is a density: take the prior UniformCategorical"),
        (UniformCategorical(3, 2), "2 variables of 3 classes, but the prior's has 3 of 2"),
    ],
)
def test_codes_of_wrong_sizes_are_told_before_the_first_step(tiny, prior, message):
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(make(prior=prior), tiny.TensorData(X, 6))
    assert "\n" not in str(error.value)
