"""The tilted uniform density against Gauss-Legendre quadrature, on both sides of where its series ends."""

import numpy as np
import pytest
import torch

from lit_gen.distributions import tilted_uniform

NODES, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(80))
U, W = (NODES + 1) / 2, WEIGHTS / 2
TILTS = [-60.0, -8.0, -0.7, -0.5001, -0.4999, -0.1, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 0.1, 0.4999, 0.5001, 0.7, 8.0, 60.0]
T = torch.tensor(TILTS, dtype=torch.float64)


def quadrature():
    weights = W * (T[:, None] * U).exp()
    total = weights.sum(1)
    return total.log(), (weights * U).sum(1) / total


def test_normalizer_and_mean_are_the_integrals():
    log_z, mean = quadrature()
    torch.testing.assert_close(tilted_uniform.log_normalizer(T), log_z, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(tilted_uniform.mean(T), mean, atol=1e-10, rtol=1e-10)


def test_single_precision_loses_nothing_near_zero_nor_far_out():
    log_z, mean = quadrature()
    t = T.float().requires_grad_()
    ours = tilted_uniform.log_normalizer(t)
    torch.testing.assert_close(ours.double(), log_z, atol=2e-7, rtol=2e-7)
    ours.sum().backward()
    torch.testing.assert_close(t.grad.double(), mean, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(tilted_uniform.mean(t).double(), mean, atol=5e-7, rtol=5e-7)


def test_derivatives():
    t = T.clone().requires_grad_()
    assert torch.autograd.gradcheck(tilted_uniform.log_normalizer, t)
    assert torch.autograd.gradgradcheck(tilted_uniform.log_normalizer, t)
    assert torch.autograd.gradcheck(tilted_uniform.mean, t)


@pytest.mark.parametrize("t", [-1e6, -200.0, 200.0, 1e6])
def test_extremes_stay_finite(t):
    t = torch.tensor(t, requires_grad=True)
    log_z, mean = tilted_uniform.log_normalizer(t), tilted_uniform.mean(t)
    assert log_z.item() == pytest.approx(max(t.item(), 0.0) - np.log(abs(t.item())), rel=1e-6)
    assert 0 <= mean.item() <= 1
    (log_z + mean).backward()
    assert t.grad.isfinite()


def test_quantiles_invert_the_distribution_function():
    probability = torch.tensor([0.0, 0.01, 0.5, 0.99, 1.0], dtype=torch.float64)
    for t in TILTS:
        t = torch.tensor(t, dtype=torch.float64)
        u = tilted_uniform.quantile(t, probability)
        # P(U <= u) = u Z(t u) / Z(t)
        back = u * (tilted_uniform.log_normalizer(t * u) - tilted_uniform.log_normalizer(t)).exp()
        torch.testing.assert_close(back, probability, atol=1e-6, rtol=0)
        assert u[0] == pytest.approx(0.0, abs=1e-12)
        assert u[-1] == pytest.approx(1.0)
