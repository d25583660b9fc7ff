import math

import pytest
import torch
from torch.distributions import kl_divergence

from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal, Uniform
from lit_gen.errors import UserError


def test_the_kl_of_a_diagonal_posterior_is_the_closed_form():
    """Kingma & Welling (2014), Appendix B."""
    mean, log_scale = torch.randn(2, 6, 4)
    q = NormalHead(min_scale=0.0)(torch.stack([mean, log_scale], 1))
    expected = -0.5 * (1 + 2 * log_scale - mean**2 - (2 * log_scale).exp()).sum(1)
    torch.testing.assert_close(kl_divergence(q, StandardNormal(4)()), expected)


def test_the_kl_is_the_mean_log_ratio():
    torch.manual_seed(0)
    q = NormalHead()(torch.tensor([[[0.5, -1.0], [-0.3, 0.2]]]))
    prior = StandardNormal(2)()
    z = q.rsample((200_000,))
    ratio = (q.log_prob(z) - prior.log_prob(z)).mean(0)
    torch.testing.assert_close(kl_divergence(q, prior), ratio, atol=0.02, rtol=0)


def test_it_is_standard_normal():
    z = torch.randn(5, 3)
    expected = -0.5 * (z**2).sum(1) - 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(StandardNormal(3)().log_prob(z), expected)
    torch.manual_seed(0)
    draws = StandardNormal(3)().sample((50_000,))
    torch.testing.assert_close(torch.cov(draws.T), torch.eye(3), atol=0.03, rtol=0)


def test_quantiles_invert_the_distribution_function():
    p = torch.tensor([[0.025, 0.5], [0.8413447, 0.999]])
    z = StandardNormal(2).quantile(p)
    torch.testing.assert_close(0.5 * (1 + torch.erf(z / math.sqrt(2))), p)
    assert z[0, 1].item() == 0.0
    assert z[1, 0].item() == pytest.approx(1.0, abs=1e-5)


def test_it_follows_a_move_and_saves_nothing():
    prior = StandardNormal(3)
    assert prior().sample((2,)).dtype == torch.float32
    assert prior() is prior()
    prior.double()
    assert prior().sample((2,)).dtype == torch.float64
    assert not prior.state_dict()
    assert not list(prior.parameters())


def test_refuses_no_dimensions():
    with pytest.raises(UserError, match="at least 1"):
        StandardNormal(0)


def test_uniform_is_uniform_between_its_bounds():
    prior = Uniform(3, -1.0, 3.0)
    torch.manual_seed(0)
    z = prior().sample((50_000,))
    assert z.shape == (50_000, 3) and float(z.min()) >= -1 and float(z.max()) <= 3
    torch.testing.assert_close(torch.cov(z.T), torch.eye(3) * 16 / 12, atol=0.03, rtol=0)
    torch.testing.assert_close(z.mean(0), torch.ones(3), atol=0.03, rtol=0)
    inside = prior().log_prob(z[:4])
    torch.testing.assert_close(inside, torch.full((4,), -3 * math.log(4)))
    assert prior().log_prob(torch.tensor([0.0, 0.0, 3.5])).item() == -math.inf
    shares = (z.flatten()[:, None] <= prior.quantile(torch.tensor([0.1, 0.5, 0.9]))).float().mean(0)
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.5, 0.9]), atol=0.01, rtol=0)
    assert Uniform(2).double()().sample((2,)).dtype == torch.float64 and not prior.state_dict()


def test_uniform_refuses_what_is_no_interval():
    with pytest.raises(UserError, match="at least 1"):
        Uniform(0)
    for bounds in ((1.0, 1.0), (1.0, 0.0)):
        with pytest.raises(UserError, match="low must be below its high"):
            Uniform(1, *bounds)
