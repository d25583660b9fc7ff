import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from lit_gen.distributions.flows.base import Reversal
from lit_gen.distributions.flows.distribution import FlowDistribution, FlowPosterior, FlowPrior
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.flows.planar import Planar
from lit_gen.distributions.flows.realnvp import RealNVP
from lit_gen.distributions.full_normal import FullNormalHead
from lit_gen.distributions.mixture import MixturePrior
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError


def realnvp(dim=4, context_dim=0):
    torch.manual_seed(0)
    flow = RealNVP(dim, 2, [8], context_dim)
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.3)
    return flow


def test_a_flow_that_only_permutes_permutes_the_density():
    loc, scale = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    q = FlowDistribution(DiagonalNormal(loc, scale), Reversal(3))
    z = torch.randn(7, 5, 3)
    torch.testing.assert_close(q.log_prob(z), DiagonalNormal(loc.flip(-1), scale.flip(-1)).log_prob(z))


def test_draws_and_their_densities_share_their_noise_and_carry_gradients():
    flow = realnvp()
    loc = torch.zeros(5, 4, requires_grad=True)
    q = FlowDistribution(DiagonalNormal(loc, torch.ones(5, 4)), flow)
    torch.manual_seed(1)
    z, log_prob = q.rsample_with_log_prob((3,))
    torch.manual_seed(1)
    torch.testing.assert_close(q.rsample((3,)), z)
    torch.testing.assert_close(q.log_prob(z), log_prob)
    gradients = torch.autograd.grad(z.sum() + log_prob.sum(), [loc, *flow.parameters()])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    assert not q.sample().requires_grad


def test_the_head_counts_its_numbers_and_reads_them_in_order():
    head = FlowPosterior(NormalHead(min_scale=0.0), Planar(4, 2))
    assert head.params_per_output == 2 + 5  # 18 numbers in rows of 4
    params = torch.randn(5, 7, 4)
    q = head(params)
    torch.testing.assert_close(q.base.loc, params[:, 0])
    torch.testing.assert_close(q.base.scale, params[:, 1].exp())
    assert torch.equal(q.context, params[:, 2:].reshape(5, 20)[:, :18])
    assert FlowPosterior(FullNormalHead(4), realnvp()).params_per_output == 4
    fixed = FlowPosterior(NormalHead(scale=0.5), realnvp())
    assert fixed.params_per_output == 1
    assert fixed(torch.randn(5, 4)).batch_shape == (5,)


def test_the_center_is_the_bases_mean_carried_along():
    flow, params = realnvp(context_dim=2), torch.randn(5, 3, 4)
    q = FlowPosterior(NormalHead(), flow)(params)
    torch.testing.assert_close(q.center, flow(params[:, 0], params[:, 2]).z)


def test_a_flow_has_no_kl_in_closed_form():
    q = FlowPosterior(NormalHead(), realnvp())(torch.randn(5, 2, 4))
    with pytest.raises(NotImplementedError):
        kl_divergence(q, StandardNormal(4)())


def test_parameters_of_another_shape_are_told_in_one_line():
    head = FlowPosterior(NormalHead(), IAF(4, 2, [8], 4))
    with pytest.raises(UserError, match=r"FlowPosterior of this IAF .* params_per_output 4$"):
        head(torch.randn(5, 2, 4))
    with pytest.raises(UserError, match="codes of 4 dimensions, but got parameters of shape"):
        head(torch.randn(5, 4, 6))


def test_a_prior_through_a_flow_has_the_density_of_its_draws():
    prior = FlowPrior(StandardNormal(2), realnvp(2)).double()
    p = prior()
    assert (prior.dim, p.batch_shape, p.event_shape) == (2, (), (2,))
    torch.manual_seed(0)
    with torch.no_grad():
        z = p.sample((40_000,))
        axis = torch.linspace(-25, 25, 1001, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        mass = p.log_prob(grid).exp() * 0.05**2
    assert mass.sum().item() == pytest.approx(1.0, abs=2e-3)
    expected = (grid * mass[:, None]).sum(0)
    assert ((z.mean(0) - expected).abs() < 5 * z.std(0) / 200).all()


def test_a_prior_refuses_flows_that_read_examples_or_do_not_fit():
    with pytest.raises(UserError, match="this Planar reads 18 numbers of each"):
        FlowPrior(StandardNormal(4), Planar(4, 2))
    with pytest.raises(UserError, match="codes of 6 dimensions, but its base has 4"):
        FlowPrior(StandardNormal(4), realnvp(6))


def test_a_prior_may_carry_the_draws_of_a_mixture():
    torch.manual_seed(0)
    prior = FlowPrior(MixturePrior(4, 3), realnvp())
    z = prior().sample((5,))
    assert z.shape == (5, 4)
    assert not z.requires_grad
    assert not prior().has_rsample
    torch.testing.assert_close(prior().log_prob(z), prior.base().log_prob(prior.flow.inverse(z).z)
                               + prior.flow.inverse(z).log_det)  # fmt: skip
