"""What every flow owes, over every member: its determinant, its inverse, and a context of each example's own."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.distributions import MultivariateNormal

from lit_gen.distributions.flows.base import FlowSequence, Reversal
from lit_gen.distributions.flows.distribution import FlowDistribution
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.flows.planar import Planar
from lit_gen.distributions.flows.realnvp import RealNVP
from lit_gen.distributions.normal import DiagonalNormal
from lit_gen.errors import UserError

FLOWS = {
    "planar": partial(Planar, num_layers=3),
    "iaf": partial(IAF, num_steps=3, hidden_dims=[8, 6], context_dim=3),
    "iaf_global": partial(IAF, num_steps=2, hidden_dims=[8]),
    "iaf_affine": partial(IAF, num_steps=2, hidden_dims=[], context_dim=2),
    "realnvp": partial(RealNVP, num_layers=3, hidden_dims=[8, 8], context_dim=3),
    "realnvp_global": partial(RealNVP, num_layers=4, hidden_dims=[8]),
    "reversal": Reversal,
    "several": lambda dim: FlowSequence([Planar(dim, 1), IAF(dim, 1, [8], 2), RealNVP(dim, 1, [8])]),
}
INVERTIBLE = [name for name in FLOWS if name not in ("planar", "several")]
DOUBLE = {"dtype": torch.float64}


def make(name, dim, size=0.5):
    """A flow far from where it starts, and contexts of five examples."""
    torch.manual_seed(3)
    flow = FLOWS[name](dim).double()
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=size)
    return flow, 2 * size * torch.randn(5, flow.context_dim, **DOUBLE) if flow.context_dim else None


def row(context, i):
    return None if context is None else context[i : i + 1]


@pytest.mark.parametrize("size", [0.3, 0.8])
@pytest.mark.parametrize("dim", [2, 4])
@pytest.mark.parametrize("name", FLOWS)
def test_the_log_determinant_is_autograds(name, dim, size):
    flow, context = make(name, dim, size)
    z = torch.randn(5, dim, **DOUBLE)
    log_det = flow(z, context).log_det
    for i in range(5):
        exact = torch.linalg.slogdet(jacobian(lambda own, i=i: flow(own[None], row(context, i)).z[0], z[i]))
        torch.testing.assert_close(log_det[i], exact.logabsdet, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dim", [2, 6])
@pytest.mark.parametrize("name", INVERTIBLE)
def test_the_inverse_gives_back_the_code_and_the_determinant(name, dim):
    flow, context = make(name, dim)
    z = torch.randn(7, 5, dim, **DOUBLE)
    there = flow(z, context)
    back = flow.inverse(there.z, context)
    torch.testing.assert_close(back.z, z, rtol=0, atol=1e-8)
    torch.testing.assert_close(back.log_det + there.log_det, torch.zeros(7, 5, **DOUBLE))


@pytest.mark.parametrize("name", [name for name in INVERTIBLE if name != "reversal"])
def test_the_inverses_gradient_is_that_of_the_map(name):
    """Objectives that score a code anew differentiate through the inverse: d f^-1 / dz is the inverse of d f / dz."""
    flow, context = make(name, 4)
    z = torch.randn(4, **DOUBLE)
    forward = jacobian(lambda own: flow(own[None], row(context, 0)).z[0], z)
    at = flow(z[None], row(context, 0)).z[0].detach()
    backward = jacobian(lambda own: flow.inverse(own[None], row(context, 0)).z[0], at)
    torch.testing.assert_close(forward @ backward, torch.eye(4, **DOUBLE), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", FLOWS)
def test_each_example_is_mapped_by_its_own_context_however_many_codes_it_has(name):
    flow, context = make(name, 4)
    z = torch.randn(3, 5, 4, **DOUBLE)
    whole = flow(z, context)
    for i in range(5):
        own = flow(z[:, i : i + 1], row(context, i))
        torch.testing.assert_close(own.z, whole.z[:, i : i + 1])
        torch.testing.assert_close(own.log_det, whole.log_det[:, i : i + 1])
    if context is not None:
        moved = flow(z, context + torch.randn_like(context)).z
        assert ((moved - whole.z).abs().sum(-1) > 1e-6).all()


def planar_normal(flow, context):
    loc, scale = torch.tensor([[0.3, -0.2]], **DOUBLE), torch.tensor([[0.8, 1.2]], **DOUBLE)
    return FlowDistribution(DiagonalNormal(loc, scale), flow, row(context, 0))


@pytest.mark.parametrize("name", INVERTIBLE)
def test_the_density_integrates_to_one_and_is_that_of_the_draws(name):
    flow, context = make(name, 2, 0.4)
    q = planar_normal(flow, context)
    with torch.no_grad():
        z, log_prob = q.rsample_with_log_prob((40_000,))
        torch.testing.assert_close(q.log_prob(z), log_prob, rtol=0, atol=1e-8)
        low, high = z.amin((0, 1)) - 2.0, z.amax((0, 1)) + 2.0
        axes = [torch.linspace(float(a), float(b), 601, **DOUBLE) for a, b in zip(low, high, strict=True)]
        grid = torch.cartesian_prod(*axes)[:, None]
        mass = q.log_prob(grid).exp() * (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    assert mass.sum().item() == pytest.approx(1.0, abs=2e-3)
    for statistic in (lambda z: z, lambda z: z.tanh(), lambda z: (z.prod(-1, keepdim=True)).tanh()):
        expected, found = (statistic(grid) * mass.unsqueeze(-1)).sum(0), statistic(z)
        error = found.std(0) / len(z) ** 0.5
        assert ((found.mean(0) - expected).abs() < 5 * error + 2e-3).all()


@pytest.mark.parametrize("name", FLOWS)
def test_the_densities_of_the_draws_are_those_of_a_distribution(name):
    """E_q[r / q] is the mass of r, any density r: holds for flows without an inverse too."""
    flow, context = make(name, 2, 0.4)
    with torch.no_grad():
        z, log_prob = planar_normal(flow, context).rsample_with_log_prob((200_000,))
        where = MultivariateNormal(z[:, 0].median(0).values, 0.05 * torch.eye(2, **DOUBLE))
        ratio = (where.log_prob(z) - log_prob).exp()
    assert ratio.mean().item() == pytest.approx(1.0, abs=5 * ratio.std().item() / len(z) ** 0.5)
    assert ratio.std().item() / len(z) ** 0.5 < 0.03


@pytest.mark.parametrize("name", ["planar", "several"])
def test_what_has_no_inverse_says_so_in_a_line(name):
    flow, context = make(name, 2)
    with pytest.raises(UserError, match=r"planar flow has no inverse.*stl and dreg") as error:
        flow.inverse(torch.zeros(5, 2, **DOUBLE), context)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FLOWS)
def test_sizes_out_of_range_are_refused(name):
    with pytest.raises(UserError, match="at least 1, got 0"):
        FLOWS[name](0)
