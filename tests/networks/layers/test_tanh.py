import pytest
import torch

from lit_gen.networks.layers.tanh import Tanh


@torch.no_grad()
def test_is_the_tangent_within_rounding():
    x = torch.cat([torch.linspace(-20, 20, 100_001), torch.tensor([0.0, 1e-8, -1e-4, torch.inf, -torch.inf])])
    before = x.clone()
    torch.testing.assert_close(Tanh()(x), x.double().tanh().float(), atol=2e-7, rtol=0)
    assert torch.equal(x, before)
    assert Tanh()(torch.tensor([torch.nan])).isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_a_gradient_it_is_pytorchs(dtype):
    x = torch.randn(50, dtype=dtype, requires_grad=True)
    y = Tanh()(x)
    assert torch.equal(y, x.tanh())
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, 1 - x.tanh() ** 2)


@torch.no_grad()
def test_double_precision_keeps_its_digits():
    x = torch.randn(50, dtype=torch.float64)
    assert torch.equal(Tanh()(x), x.tanh())
