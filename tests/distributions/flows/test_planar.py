from math import log

import pytest
import torch

from lit_gen.distributions.flows.planar import MARGIN, Planar, PlanarLayer


def test_it_is_the_papers_formula_where_the_constraint_does_not_bind():
    """For large w'u, m(w'u) is w'u up to its shift: u is moved along w alone, and z along u alone."""
    torch.manual_seed(0)
    u, w, b, z = torch.randn(3), torch.randn(3), torch.randn(1), torch.randn(3)
    moved = PlanarLayer(3)(z, torch.cat([u, w, b])).z - z
    allowed = (1 - MARGIN) * (torch.nn.functional.softplus(w @ u + log(torch.e - 1)) - 1)
    direction = u + (allowed - w @ u) * w / (w @ w)
    torch.testing.assert_close(moved, direction * torch.tanh(w @ z + b))


@pytest.mark.parametrize("inner", [-1000.0, -30.0, -1.0, 0.0, 30.0])
def test_it_is_increasing_along_w_whatever_the_encoder_says(inner):
    """Without the constraint w'u < -1 folds space over."""
    w = torch.tensor([2.0, 0.0], dtype=torch.float64)
    context = torch.tensor([inner / 2, 0.7, *w, 0.1], dtype=torch.float64)
    z = torch.stack([torch.linspace(-4, 4, 2001), torch.zeros(2001)], 1).double()
    mapped = PlanarLayer(2)(z, context.expand(2001, -1))
    assert (mapped.z[:, 0].diff() > 0).all()
    assert mapped.log_det.isfinite().all()


def test_nothing_read_is_the_identity():
    z = torch.randn(4, 3)
    mapped = Planar(3, 5)(z, torch.zeros(4, 35))
    assert torch.equal(mapped.z, z)
    assert (mapped.log_det == 0).all()


def test_a_short_w_does_not_throw_codes_far():
    """The appendix's m(x), with m(0) = log 2 - 1, would move them by 0.3 / |w|."""
    torch.manual_seed(0)
    u, w = torch.randn(100, 3), 1e-6 * torch.randn(100, 3)
    context = torch.cat([u, w, torch.ones(100, 1)], 1).requires_grad_()
    z = torch.randn(100, 3)
    mapped = PlanarLayer(3)(z, context)
    assert ((mapped.z - z).norm(dim=1) <= 1.01 * u.norm(dim=1)).all()
    (mapped.z.sum() + mapped.log_det.sum()).backward()
    assert context.grad.isfinite().all()


def test_each_layer_reads_its_numbers():
    assert Planar(10, 4).context_dim == 84
    assert not list(Planar(10, 4).parameters())
