"""Bounds by their formulas, and on a linear-Gaussian model, whose likelihood and posterior are known."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.base import log_px_at, log_qz_alone
from lit_gen.objectives.variational import ELBO, ImportanceWeighted, Inference, LinearWarmup, elbo, importance_bound

DOUBLE = {"dtype": torch.float64}


class LinearGaussian:
    """z ~ N(0, I_2), x | z ~ N(W z, s^2 I_3); q(z|x) = N(A x + c, diag(t^2)), with A, c and t as parameters."""

    def __init__(self, off=0.0):
        generator = torch.Generator().manual_seed(0)
        self.s = 0.7
        # Orthogonal columns, so that the true posterior is diagonal.
        basis = torch.linalg.qr(torch.randn(3, 2, generator=generator, **DOUBLE)).Q
        self.w = (basis * torch.tensor([1.4, 0.6], **DOUBLE)).requires_grad_()
        w = self.w.detach()
        covariance = torch.linalg.inv(torch.eye(2, **DOUBLE) + w.T @ w / self.s**2)
        self.gain = (covariance @ w.T / self.s**2 + 0.3 * off).requires_grad_()
        self.log_scale = (covariance.diagonal().sqrt().log() + off).requires_grad_()
        self.x = torch.randn(4, 3, generator=generator, **DOUBLE)
        marginal = MultivariateNormal(torch.zeros(3, **DOUBLE), w @ w.T + self.s**2 * torch.eye(3, **DOUBLE))
        self.exact = marginal.log_prob(self.x)
        self.head = NormalHead(min_scale=0.0)

    def inference(self, repeats=1):
        x = self.x.repeat(repeats, 1)
        loc = x @ self.gain.T
        parameters = torch.stack([loc, self.log_scale.expand_as(loc)], 1)
        scale = torch.tensor(self.s, **DOUBLE)
        return Inference(
            posterior=self.head(parameters),
            prior=StandardNormal(2).double()(),
            log_px=lambda z: log_px_at(x, z, lambda code: DiagonalNormal(code @ self.w.T, scale)),
            log_qz_alone=lambda z: log_qz_alone(z, self.head, parameters),
        )


OBJECTIVES = {
    "elbo": ELBO,
    "elbo_3": partial(ELBO, num_samples=3),
    "elbo_sampled": partial(ELBO, closed_form_kl=False),
    "iwae_1": partial(ImportanceWeighted, 1),
    "iwae_5": partial(ImportanceWeighted, 5),
    "iwae_5_by_3": partial(ImportanceWeighted, 5, 3),
    "iwae_5_stl": partial(ImportanceWeighted, 5, gradient="stl"),
    "iwae_5_dreg": partial(ImportanceWeighted, 5, gradient="dreg"),
}


def test_the_bound_keeps_its_terms_apart():
    log_px_z, kl = torch.tensor([-10.0, -20.0]), torch.tensor([3.0, 4.0])
    bound = elbo(log_px_z=log_px_z, kl=kl)
    assert bound.value.tolist() == [-13.0, -24.0]
    weighted = elbo(log_px_z=log_px_z, kl=kl, beta=0.5)
    assert weighted.value.tolist() == [-11.5, -22.0]
    assert weighted.lower_bound.tolist() == [-13.0, -24.0]
    assert weighted.kl.tolist() == [3.0, 4.0]
    assert weighted.log_likelihood.tolist() == [-10.0, -20.0]


def test_the_importance_bound_is_the_log_of_the_mean_weight():
    weights = torch.tensor([[0.1, 2.0], [0.3, 4.0], [0.2, 9.0]])
    torch.testing.assert_close(importance_bound(weights.log()), torch.tensor([0.2, 5.0]).log())


def test_large_weights_win_and_nothing_overflows():
    """A softmax over errors in the place of weights would prefer the worst draw."""
    log_weights = torch.tensor([[-1000.0], [-5000.0]], requires_grad=True)
    bound = importance_bound(log_weights)
    assert bound.item() == pytest.approx(-1000.0 - math.log(2))
    bound.sum().backward()
    assert log_weights.grad.flatten().tolist() == [1.0, 0.0]


def test_one_sample_is_its_own_bound():
    log_weights = torch.randn(1, 7)
    torch.testing.assert_close(importance_bound(log_weights), log_weights[0])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_has_one_value_an_example_and_is_its_own_bound_without_weights(name):
    torch.manual_seed(0)
    bound = OBJECTIVES[name]()(LinearGaussian(0.3).inference())
    assert all(part.shape == (4,) and part.isfinite().all() for part in bound)
    assert torch.equal(bound.value, bound.lower_bound)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_bound_lies_below_the_likelihood(name):
    torch.manual_seed(0)
    problem = LinearGaussian(0.5)
    bounds = OBJECTIVES[name]()(problem.inference(5000)).lower_bound.view(5000, 4)
    error = bounds.std(0) / 5000**0.5
    assert (bounds.mean(0) + 5 * error < problem.exact).all()


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if "iwae" in name] + ["elbo_sampled"])
def test_at_the_true_posterior_every_draw_gives_the_likelihood(name):
    """An analytic KL inside the weights, a lost constant or a flipped sign would all show."""
    problem = LinearGaussian()
    bound = OBJECTIVES[name]()(problem.inference())
    torch.testing.assert_close(bound.lower_bound, problem.exact)
    torch.testing.assert_close(bound.value, problem.exact)


def test_one_importance_sample_is_the_elbo_with_a_sampled_kl_to_the_bit_of_its_gradient():
    problem = LinearGaussian(0.4)
    values = []
    for objective in (ImportanceWeighted(1), ELBO(closed_form_kl=False)):
        torch.manual_seed(0)
        bound = objective(problem.inference())
        values.append([*bound, *torch.autograd.grad(bound.value.sum(), [problem.w, problem.gain, problem.log_scale])])
    torch.testing.assert_close(*values)


def test_the_bound_rises_with_the_samples_and_not_with_the_bounds_that_are_averaged():
    torch.manual_seed(0)
    problem = LinearGaussian(0.7)
    means = {
        (k, m): ImportanceWeighted(k, m)(problem.inference(4000)).value.view(4000, 4).mean(0).detach()
        for k, m in [(1, 1), (5, 1), (50, 1), (5, 10)]
    }
    assert (means[1, 1] < means[5, 1]).all()
    assert (means[5, 1] < means[50, 1]).all()
    assert (means[50, 1] < problem.exact + 1e-3).all()
    torch.testing.assert_close(means[5, 1], means[5, 10], atol=0.02, rtol=0)
    assert (means[50, 1] - means[5, 10] > 0.02).all()


def test_sampled_and_closed_form_kl_agree_on_average():
    torch.manual_seed(0)
    problem = LinearGaussian(0.5)
    sampled = ELBO(closed_form_kl=False)(problem.inference(20_000)).kl.view(20_000, 4)
    closed = ELBO()(problem.inference()).kl
    error = (sampled.mean(0) - closed).abs() / (sampled.std(0) / 20_000**0.5)
    assert error.max() < 5


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_other_gradients_leave_the_bound_and_the_decoders_gradient_alone(gradient):
    problem = LinearGaussian(0.4)
    found = []
    for objective in (ImportanceWeighted(6, 2), ImportanceWeighted(6, 2, gradient=gradient)):
        torch.manual_seed(0)
        bound = objective(problem.inference())
        found.append([bound.value, *torch.autograd.grad(bound.value.sum(), [problem.w, problem.gain])])
    torch.testing.assert_close(found[0][:2], found[1][:2])
    assert not torch.allclose(found[0][2], found[1][2])


def encoder_gradients(problem, objective, repeats, beta=1.0):
    """(repeats, 8): independent estimates of the gradient of the encoder's parameters."""
    estimates = []
    for _ in range(repeats):
        value = objective(problem.inference(), beta).value.sum()
        gain, log_scale = torch.autograd.grad(value, [problem.gain, problem.log_scale])
        estimates.append(torch.cat([gain.flatten(), log_scale]))
    return torch.stack(estimates)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_doubly_reparameterized_gradient_is_unbiased_and_steadier(beta):
    torch.manual_seed(0)
    problem = LinearGaussian(0.3)
    standard = encoder_gradients(problem, ImportanceWeighted(8), 4000, beta)
    dreg = encoder_gradients(problem, ImportanceWeighted(8, gradient="dreg"), 4000, beta)
    error = (standard.var(0) / 4000 + dreg.var(0) / 4000).sqrt()
    assert ((standard.mean(0) - dreg.mean(0)).abs() < 4.5 * error).all()
    assert (dreg.var(0) < 0.6 * standard.var(0)).all()


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_both_gradients_vanish_without_noise_at_the_true_posterior(gradient):
    problem = LinearGaussian()
    noise = encoder_gradients(problem, ImportanceWeighted(4, gradient=gradient), 3)
    torch.testing.assert_close(noise, torch.zeros_like(noise), atol=1e-9, rtol=0)
    assert encoder_gradients(problem, ImportanceWeighted(4), 3).abs().max() > 0.01


def test_sticking_the_landing_is_unbiased_for_one_sample():
    torch.manual_seed(0)
    problem = LinearGaussian(0.3)
    standard = encoder_gradients(problem, ELBO(), 4000)
    stl = encoder_gradients(problem, ImportanceWeighted(1, gradient="stl"), 4000)
    error = (standard.var(0) / 4000 + stl.var(0) / 4000).sqrt()
    assert ((standard.mean(0) - stl.mean(0)).abs() < 4.5 * error).all()


@pytest.mark.parametrize("objective", [ELBO(), ELBO(2, closed_form_kl=False), ImportanceWeighted(4)])
def test_a_weight_changes_the_value_and_not_the_bound(objective):
    problem = LinearGaussian(0.4)
    bounds = []
    for beta in (1.0, 0.25):
        torch.manual_seed(0)
        bounds.append(objective(problem.inference(), beta))
    torch.testing.assert_close(bounds[0].lower_bound, bounds[1].lower_bound)
    assert not torch.allclose(bounds[1].value, bounds[1].lower_bound)


def test_free_bits_charge_each_dimension_at_least_so_many_nats_in_training_alone():
    problem = LinearGaussian(0.4)
    inference = problem.inference()
    kl = torch.distributions.kl_divergence(inference.posterior.elementwise(), inference.prior.elementwise())  # (4, 2)
    small, large = sorted(kl.mean(0).tolist())
    objective = ELBO(free_bits=(small + large) / 2)
    bound = objective(inference)
    torch.testing.assert_close(bound.kl, kl.sum(1))
    charged = (bound.log_likelihood - bound.value).mean()
    torch.testing.assert_close(charged, torch.tensor((small + large) / 2 + large, **DOUBLE))
    # A dimension below the line costs nothing to move.
    inference = problem.inference()
    objective = ELBO(free_bits=large + 1)
    bound = objective(inference)
    gradient = torch.autograd.grad((bound.log_likelihood - bound.value).sum(), problem.log_scale, allow_unused=True)
    assert gradient[0] is None or gradient[0].abs().max() == 0
    bound = objective.eval()(inference)
    assert torch.equal(bound.value, bound.lower_bound)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(ELBO, 0), "ELBO needs num_samples of at least 1, got 0"),
        (partial(ImportanceWeighted, 0), "ImportanceWeighted needs num_samples of at least 1, got 0"),
        (partial(ImportanceWeighted, 1, 0), "num_monte_carlo of at least 1, got 0"),
        (partial(ELBO, free_bits=-1.0), "free_bits must not be negative"),
        (partial(ELBO, free_bits=1.0, closed_form_kl=False), "closed_form_kl"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_pair_without_a_closed_form_is_told_in_one_line():
    full = MultivariateNormal(torch.zeros(2), torch.eye(2)).expand((4,))
    inference = Inference(full, StandardNormal(2)(), lambda z: z.sum(-1), lambda z: z.sum(-1))
    with pytest.raises(UserError, match="closed_form_kl false"):
        ELBO()(inference)


def test_warm_up_is_a_straight_line_that_ends():
    weight = LinearWarmup(start=0.2, end=1.0, num_steps=4)
    assert [weight(step) for step in (0, 1, 2, 4, 400)] == pytest.approx([0.2, 0.4, 0.6, 1.0, 1.0])
    with pytest.raises(UserError, match="num_steps"):
        LinearWarmup(num_steps=0)


def test_objectives_hold_nothing_that_a_checkpoint_would_have_to_carry():
    assert all(not make().state_dict() and isinstance(make(), nn.Module) for make in OBJECTIVES.values())
