import pytest
import torch
from torch import nn

from lit_gen.distributions.hierarchical import HierarchicalPrior
from lit_gen.distributions.ladder import LadderHead, precision_weighted
from lit_gen.distributions.laplace import LaplaceHead
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.networks.mlp import MLP

DOUBLE = {"dtype": torch.float64}


def normal(*shape):
    return DiagonalNormal(torch.randn(*shape, **DOUBLE), torch.rand(*shape, **DOUBLE) + 0.2)


def test_precision_weighting_is_the_normalized_product_of_the_densities():
    torch.manual_seed(0)
    a, b = normal(4, 3), normal(4, 3)
    product = precision_weighted(a, b)
    z = torch.randn(50, 4, 3, **DOUBLE)
    log_ratio = a.log_prob(z) + b.log_prob(z) - product.log_prob(z)
    torch.testing.assert_close(log_ratio, log_ratio[:1].expand(50, 4))  # the normalizer, whatever z
    # And that normalizer is the density of the one's mean about the other's, both variances added.
    expected = DiagonalNormal(b.loc, (a.variance + b.variance).sqrt()).log_prob(a.loc)
    torch.testing.assert_close(log_ratio[0], expected)


def problem(head=None):
    torch.manual_seed(0)
    head = NormalHead(min_scale=0.0) if head is None else head
    prior = HierarchicalPrior(StandardNormal(2), head, [MLP(2, 3, [4], nn.Tanh, head.params_per_output)]).double()
    return LadderHead(head), prior


def test_each_layer_is_the_product_of_its_estimate_and_the_prior_given_the_layer_above():
    ladder, prior = problem()
    params = torch.randn(4, 2, 5, **DOUBLE)
    q = ladder(params, prior)
    assert (q.batch_shape, q.event_shape, q.dims) == ((4,), (5,), (3, 2))
    z = torch.randn(6, 4, 5, **DOUBLE)
    for draw in range(6):
        z_1, z_2 = z[draw].split([3, 2], -1)
        given = NormalHead(min_scale=0.0)(prior.networks[0](z_2))
        expected = precision_weighted(NormalHead(min_scale=0.0)(params[..., :3]), given).log_prob(z_1)
        expected = expected + NormalHead(min_scale=0.0)(params[..., 3:]).log_prob(z_2)
        torch.testing.assert_close(q.log_prob(z[draw]), expected)
        torch.testing.assert_close(q.log_prob(z)[draw], expected)
    drawn, log_prob = q.rsample_with_log_prob((6,))
    torch.testing.assert_close(q.log_prob(drawn), log_prob)


def test_where_the_data_say_nothing_of_the_lower_layer_it_keeps_to_the_prior():
    ladder, prior = problem()
    params = torch.randn(4, 2, 5, **DOUBLE)
    params[:, 1, :3] = 20.0  # the estimate's log scale
    z = torch.randn(4, 5, **DOUBLE)
    top = NormalHead(min_scale=0.0)(params[..., 3:]).log_prob(z[:, 3:])
    lower = ladder(params, prior).log_prob(z) - top
    torch.testing.assert_close(lower, prior().log_prob(z) - StandardNormal(2).double()().log_prob(z[:, 3:]))


def test_it_says_what_it_needs():
    ladder, prior = problem()
    with pytest.raises(UserError, match="a LadderHead needs a HierarchicalPrior, not a StandardNormal"):
        ladder(torch.randn(4, 2, 5), StandardNormal(5))
    with pytest.raises(UserError, match=r"layers of 6 numbers in all, but the prior's layers \(3, 2\) have 5"):
        ladder(torch.randn(4, 2, 6, **DOUBLE), prior)
    ladder, prior = problem(LaplaceHead())
    with pytest.raises(UserError, match="give it and the HierarchicalPrior a NormalHead"):
        ladder(torch.randn(4, 2, 5, **DOUBLE), prior).rsample()
