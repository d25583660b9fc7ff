"""Machines small enough that every sum over states can be taken, and what is exact about them."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
from lit_gen.models.energy.rbm import RBM


def make_rbm(visible=None, hidden=None, scale=1.0, seed=0, **kwargs) -> RBM:
    torch.manual_seed(seed)
    rbm = RBM(visible or BernoulliUnits(5), hidden or BernoulliUnits(4), **kwargs)
    with torch.no_grad():
        rbm.weight.normal_(0.0, scale)
        rbm.visible.bias.normal_(0.0, 0.5)
        rbm.hidden.bias.normal_(0.0, 0.5)
    return rbm


def binary(num: int) -> Tensor:
    """All states of ``num`` binary units, (2^num, num)."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * num).view(-1, num)


def log_joint(rbm: RBM, v: Tensor, h: Tensor) -> Tensor:
    """-E(v, h) for every pair of states, (num v, num h), by the formulas of the textbook."""
    weight, b, c = rbm.weight, rbm.visible.bias, rbm.hidden.bias
    if isinstance(rbm.visible, GaussianUnits):
        precision = rbm.visible.log_std.exp() ** -2
        own_v = -0.5 * (v**2 * precision).sum(1) + (v * precision) @ b
        scaled = v * precision
    else:
        own_v, scaled = v @ b, v
    if isinstance(rbm.hidden, GaussianUnits):
        assert torch.equal(rbm.hidden.log_std, torch.zeros_like(c))
        own_h = -0.5 * (h**2).sum(1) + h @ c
    else:
        own_h = h @ c
    return own_v[:, None] + own_h[None, :] + scaled @ weight.T @ h.T


def bars_and_stripes() -> Tensor:
    """The 14 pictures of 3 x 3 whose rows are equal or whose columns are, (14, 1, 3, 3)."""
    lines = binary(3)
    rows = lines[:, :, None].expand(-1, 3, 3)
    return torch.cat([rows, rows.transpose(1, 2)]).flatten(1).unique(dim=0).view(-1, 1, 3, 3)


@pytest.fixture
def small():
    return SimpleNamespace(rbm=make_rbm, binary=binary, log_joint=log_joint, bars_and_stripes=bars_and_stripes)
