import math

import pytest
import torch

from lit_gen.distributions.normal import NormalHead
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
    base = NormalHead(min_scale=0.01)(params).base_dist
    torch.testing.assert_close(base.mean, torch.full((1, 5), 1.5))
    torch.testing.assert_close(base.stddev, torch.full((1, 5), 0.21))


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
