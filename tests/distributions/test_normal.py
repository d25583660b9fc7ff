import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from lit_gen.distributions.normal import DiagonalNormal, NormalHead, UnitNormal
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError


@pytest.mark.parametrize("head", [NormalHead(scale=0.3), NormalHead()])
def test_the_density_integrates_to_one(head):
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    params = torch.tensor([0.4], dtype=torch.float64).expand(len(grid), 1)
    if head.params_per_output == 2:
        params = torch.stack([params, torch.full_like(params, -0.7)], 1)
    density = head(params).log_prob(grid).exp()
    assert density.shape == (len(grid),)
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1.0, abs=1e-6)


def test_the_constant_is_there_and_elements_are_summed():
    log_prob = NormalHead(scale=2.0)(torch.zeros(1, 3, 4)).log_prob(torch.zeros(1, 3, 4))
    assert log_prob.item() == pytest.approx(-12 * (math.log(2.0) + 0.5 * math.log(2 * math.pi)), rel=1e-6)


def test_a_learned_scale_is_the_second_parameter():
    params = torch.stack([torch.full((1, 5), 1.5), torch.full((1, 5), math.log(0.2))], 1)
    p = NormalHead(min_scale=0.01)(params)
    torch.testing.assert_close(p.mean, torch.full((1, 5), 1.5))
    torch.testing.assert_close(p.stddev, torch.full((1, 5), 0.21))


def test_density_and_draws_share_the_floor():
    """A scale clamped in sampling but not in the density (or the reverse) is a likelihood of another model."""
    torch.manual_seed(0)
    params = torch.stack([torch.zeros(50_000, 1), torch.full((50_000, 1), -100.0)], 1)
    distribution = NormalHead(min_scale=0.05)(params)
    assert distribution.rsample().std().item() == pytest.approx(0.05, rel=0.02)
    assert distribution.log_prob(torch.zeros(50_000, 1))[0].item() == pytest.approx(
        -math.log(0.05) - 0.5 * math.log(2 * math.pi), rel=1e-5
    )


def test_the_floor_leaves_a_gradient_finite():
    params = torch.stack([torch.zeros(1, 2), torch.full((1, 2), -50.0)], 1).requires_grad_()
    NormalHead()(params).log_prob(torch.ones(1, 2)).sum().backward()
    assert params.grad.isfinite().all()


def test_says_what_it_needs():
    with pytest.raises(UserError, match="params_per_output 2"):
        NormalHead()(torch.zeros(4, 3, 8))
    with pytest.raises(UserError, match="positive"):
        NormalHead(scale=0.0)
    with pytest.raises(UserError, match="min_scale"):
        NormalHead(min_scale=-1.0)


def test_it_is_torchs_independent_normal():
    loc, scale = torch.randn(4, 2, 3), torch.rand(4, 2, 3) + 0.1
    ours, theirs = DiagonalNormal(loc, scale, 2), Independent(Normal(loc, scale), 2)
    x = torch.randn(7, 4, 2, 3)
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.variance, theirs.variance)
    torch.manual_seed(0)
    draws = ours.rsample((7,))
    torch.manual_seed(0)
    torch.testing.assert_close(draws, theirs.rsample((7,)))


def test_kl_divergences_are_torchs():
    parameters = [torch.randn(4, 3), torch.rand(4, 3) + 0.1]
    q, p = parameters, [torch.randn(3), torch.rand(3) + 0.1]
    expected = kl_divergence(Independent(Normal(*q), 1), Independent(Normal(*p), 1))
    torch.testing.assert_close(kl_divergence(DiagonalNormal(*q), DiagonalNormal(*p)), expected)
    unit = [torch.zeros(3), torch.ones(3)]
    expected = kl_divergence(Independent(Normal(*q), 1), Independent(Normal(*unit), 1))
    torch.testing.assert_close(kl_divergence(DiagonalNormal(*q), UnitNormal(*unit)), expected)
    torch.testing.assert_close(kl_divergence(DiagonalNormal(*q), DiagonalNormal(*unit)), expected)


def test_draws_carry_gradients_of_both_parameters():
    loc, scale = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    z = DiagonalNormal(loc, scale).rsample((5,))
    z.sum().backward()
    torch.testing.assert_close(loc.grad, torch.full((2, 3), 5.0))
    torch.testing.assert_close(scale.grad, z.detach().sum(0))
    assert not DiagonalNormal(loc, scale).sample().requires_grad


@pytest.mark.parametrize(
    "distribution", [DiagonalNormal(torch.randn(3, 4), torch.rand(3, 4) + 0.1), StandardNormal(4)()]
)
def test_draws_that_come_with_their_density_are_the_usual_ones(distribution):
    torch.manual_seed(0)
    z, log_prob = distribution.rsample_with_log_prob((5,))
    torch.manual_seed(0)
    torch.testing.assert_close(z, distribution.rsample((5,)), rtol=0, atol=0)
    torch.testing.assert_close(log_prob, distribution.log_prob(z), rtol=1e-5, atol=1e-5)
