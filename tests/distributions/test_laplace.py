import math

import pytest
import torch
from torch.distributions import Independent, Laplace

from lit_gen.distributions.laplace import IndependentLaplace, LaplaceHead
from lit_gen.errors import UserError


@pytest.mark.parametrize("head", [LaplaceHead(scale=0.3), LaplaceHead()])
def test_the_density_integrates_to_one(head):
    grid = torch.linspace(-12, 12, 40_001, dtype=torch.float64)[:, None]
    params = torch.tensor([0.4], dtype=torch.float64).expand(len(grid), 1)
    if head.params_per_output == 2:
        params = torch.stack([params, torch.full_like(params, -0.7)], 1)
    density = head(params).log_prob(grid).exp()
    assert density.shape == (len(grid),)
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1.0, abs=1e-5)


def test_it_is_torchs_independent_laplace():
    loc, scale = torch.randn(4, 2, 3), torch.rand(4, 2, 3) + 0.1
    ours, theirs = IndependentLaplace(loc, scale, 2), Independent(Laplace(loc, scale), 2)
    x = torch.randn(7, 4, 2, 3)
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.variance, theirs.variance)
    torch.testing.assert_close(ours.stddev, theirs.variance.sqrt())
    torch.testing.assert_close(ours.mean, theirs.mean)


def test_a_fixed_scale_is_an_l1_loss_and_a_constant():
    params, x = torch.randn(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    expected = -(x - params).abs().sum((1, 2, 3)) / 0.25 - 16 * math.log(0.5)
    torch.testing.assert_close(LaplaceHead(scale=0.25)(params).log_prob(x), expected)


def test_draws_have_the_moments_and_the_gradients():
    torch.manual_seed(0)
    loc = torch.tensor([[0.5, -1.0]], requires_grad=True)
    scale = torch.tensor([[0.2, 3.0]], requires_grad=True)
    z = IndependentLaplace(loc, scale).rsample((50_000,))
    error = (z - loc).detach()
    torch.testing.assert_close(error.mean(0) / scale, torch.zeros(1, 2), atol=0.03, rtol=0)
    torch.testing.assert_close(error.abs().mean(0), scale.detach(), rtol=0.02, atol=0)
    torch.testing.assert_close(error.std(0), scale.detach() * 2**0.5, rtol=0.03, atol=0)
    z.sum().backward()
    torch.testing.assert_close(loc.grad, torch.full((1, 2), 50_000.0))
    torch.testing.assert_close(scale.grad, (error / scale.detach()).sum(0), rtol=1e-3, atol=1e-1)


def test_density_and_draws_share_the_floor():
    torch.manual_seed(0)
    params = torch.stack([torch.zeros(50_000, 1), torch.full((50_000, 1), -100.0)], 1)
    p = LaplaceHead(min_scale=0.05)(params)
    assert p.sample().abs().mean().item() == pytest.approx(0.05, rel=0.02)
    assert p.log_prob(torch.zeros(50_000, 1))[0].item() == pytest.approx(-math.log(0.1), rel=1e-5)


def test_says_what_it_needs():
    with pytest.raises(UserError, match=r"a LaplaceHead .* params_per_output 2"):
        LaplaceHead()(torch.zeros(4, 3, 8))
    with pytest.raises(UserError, match="a LaplaceHead's scale must be positive, got -1"):
        LaplaceHead(scale=-1)
    with pytest.raises(UserError, match="min_scale"):
        LaplaceHead(min_scale=-1.0)
