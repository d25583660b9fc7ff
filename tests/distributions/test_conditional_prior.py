import pytest
import torch
from torch.distributions import kl_divergence

from lit_gen.distributions.conditional_prior import ConditionalPrior
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.errors import UserError
from lit_gen.networks.mlp import MLP


def test_each_condition_has_a_prior_of_its_own():
    torch.manual_seed(0)
    prior = ConditionalPrior(2, MLP(3, 2, [], params_per_output=2), NormalHead(min_scale=0.0))
    c = torch.eye(3)
    p = prior(c)
    assert (p.batch_shape, p.event_shape) == ((3,), (2,))
    mean, log_scale = prior.network(c).unbind(1)
    torch.testing.assert_close(p.mean, mean)
    torch.testing.assert_close(p.stddev, log_scale.exp())
    q = DiagonalNormal(torch.zeros(3, 2), torch.ones(3, 2))
    closed = kl_divergence(q, p)
    z = q.rsample((100_000,))
    torch.testing.assert_close((q.log_prob(z) - p.log_prob(z)).mean(0), closed, atol=0.03, rtol=0)
    closed.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in prior.parameters())


def test_a_latent_without_length_is_refused():
    with pytest.raises(UserError, match="at least 1"):
        ConditionalPrior(0, MLP(3, 1, []), NormalHead())
