"""Codes in layers against the joint distribution that they make up."""

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from lit_gen.distributions.hierarchical import HierarchicalHead, HierarchicalPrior
from lit_gen.distributions.mixture import MixturePrior
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.networks.mlp import MLP

DOUBLE = {"dtype": torch.float64}


def step(before, after, hidden=()):
    return MLP(before, after, list(hidden), nn.Tanh, params_per_output=2).double()


def linear_prior():
    """z_3 in one dimension, z_2 in two, z_1 in three; every conditional's scale is constant."""
    torch.manual_seed(0)
    networks = [step(1, 2), step(2, 3)]
    for network in networks:
        linear = network.layers[0]
        linear.weight.data[len(linear.weight) // 2 :] = 0.0
    return HierarchicalPrior(StandardNormal(1), NormalHead(min_scale=0.0), networks).double()


def joint(prior):
    """The same as one normal distribution of (z_1, z_2, z_3)."""
    mean, covariance = torch.zeros(1, **DOUBLE), torch.eye(1, **DOUBLE)
    blocks = [(slice(0, 1), mean)]
    for network in prior.networks:
        weight, scale_weight = network.layers[0].weight.detach().chunk(2)
        bias, log_scale = network.layers[0].bias.detach().chunk(2)
        assert not scale_weight.any()
        last = blocks[-1][0]
        cross = weight @ covariance[last]
        new = weight @ covariance[last, last] @ weight.T + torch.diag(torch.exp(2 * log_scale))
        covariance = torch.cat([torch.cat([covariance, cross.T], 1), torch.cat([cross, new], 1)])
        blocks.append((slice(last.stop, last.stop + len(bias)), weight @ blocks[-1][1] + bias))
    order = torch.cat([torch.arange(block.start, block.stop) for block, _ in reversed(blocks)])
    return MultivariateNormal(torch.cat([mean for _, mean in reversed(blocks)]), covariance[order][:, order])


@torch.no_grad()
def test_three_layers_downwards_are_their_joint_distribution():
    prior = linear_prior()
    p, expected = prior(), joint(prior)
    assert (prior.dim, prior.dims) == (6, (3, 2, 1))
    assert (p.batch_shape, p.event_shape) == ((), (6,))
    z = torch.randn(7, 5, 6, **DOUBLE)
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(p.log_prob(z[0]), expected.log_prob(z[0]))
    torch.testing.assert_close(p.log_prob(z[0, 0]), expected.log_prob(z[0, 0]))
    torch.testing.assert_close(p.center, expected.mean)
    draws = p.sample((100_000,))
    torch.testing.assert_close(draws.mean(0), expected.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), expected.covariance_matrix, atol=0.06, rtol=0)


@pytest.mark.parametrize("sample_shape", [(), (4,), (4, 2)])
def test_draws_come_with_their_density(sample_shape):
    head = HierarchicalHead(NormalHead(), [step(2, 3, [4]), step(3, 1, [4])])
    q = head(torch.randn(5, 2, 2, **DOUBLE))
    assert (q.batch_shape, q.event_shape, q.dims) == ((5,), (6,), (2, 3, 1))
    z, log_prob = q.rsample_with_log_prob(sample_shape)
    assert z.shape == (*sample_shape, 5, 6)
    torch.testing.assert_close(q.log_prob(z), log_prob)
    assert log_prob.shape == (*sample_shape, 5)
    assert q.center.shape == (5, 6)


def test_each_example_has_its_own_layers():
    head, params = HierarchicalHead(NormalHead(), [step(2, 3, [4])]), torch.randn(5, 2, 2, **DOUBLE)
    z = torch.randn(3, 5, 5, **DOUBLE)
    parts = [head(params[i : i + 1]).log_prob(z[:, i : i + 1]) for i in range(5)]
    torch.testing.assert_close(head(params).log_prob(z), torch.cat(parts, 1))


@pytest.mark.parametrize("upwards", [True, False])
@torch.no_grad()
def test_the_density_integrates_to_one_and_draws_follow_it(upwards):
    torch.manual_seed(1)
    network = step(1, 1, [5])
    if upwards:
        params = torch.tensor([[[0.3], [-0.4]]], **DOUBLE)
        p = HierarchicalHead(NormalHead(), [network])(params)
    else:
        p = HierarchicalPrior(StandardNormal(1), NormalHead(), [network]).double()()
    side = torch.linspace(-7, 7, 561, **DOUBLE)
    grid = torch.cartesian_prod(side, side)
    density = p.log_prob(grid[:, None] if upwards else grid).exp().view(561, 561)
    assert torch.trapezoid(torch.trapezoid(density, side), side).item() == pytest.approx(1.0, abs=1e-5)
    draws = p.sample((100_000,)).view(-1, 2)
    moment = draws.prod(1)
    expected = torch.trapezoid(torch.trapezoid(density * grid.prod(1).view(561, 561), side), side)
    assert abs(moment.mean() - expected) < 5 * moment.std() / 100_000**0.5


def test_the_top_may_be_a_mixture():
    torch.manual_seed(0)
    p = HierarchicalPrior(MixturePrior(2, 3), NormalHead(), [step(2, 3)]).double()()
    z, log_prob = p.rsample_with_log_prob((4, 5))
    torch.testing.assert_close(p.log_prob(z), log_prob)
    assert p.sample((4,)).shape == (4, 5)
    assert not p.has_rsample


def test_gradients_pass_through_all_layers():
    head = HierarchicalHead(NormalHead(), [step(2, 3, [4])])
    params = torch.randn(5, 2, 2, **DOUBLE, requires_grad=True)
    head(params).rsample((2,))[..., 2:].sum().backward()  # z_2 alone
    assert params.grad.abs().min() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_without_networks_it_is_the_head_alone():
    params, z = torch.randn(5, 2, 3), torch.randn(4, 5, 3)
    torch.testing.assert_close(HierarchicalHead(NormalHead(), [])(params).log_prob(z), NormalHead()(params).log_prob(z))


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([MLP(3, 2, [])], r"HierarchicalPrior's network 0 takes inputs of shape \(3,\), but the .* \(4,\)"),
        ([MLP(4, 2, []), MLP(3, 2, [])], r"network 1 takes inputs of shape \(3,\), but the layer before it .* \(2,\)"),
        ([MLP(4, (1, 2, 2), [])], r"must give a vector, not shape \(1, 2, 2\)"),
        ([nn.Linear(4, 4)], "need an in_shape and an out_shape, .* a Linear hasn't"),
    ],
)
def test_networks_that_do_not_fit_are_told_in_one_line(networks, message):
    with pytest.raises(UserError, match=message) as error:
        HierarchicalPrior(StandardNormal(4), NormalHead(), networks)
    assert "\n" not in str(error.value)
