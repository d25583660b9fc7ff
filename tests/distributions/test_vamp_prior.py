import math

import pytest
import torch

from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.vamp_prior import VampPrior
from lit_gen.errors import UserError


def test_pseudo_inputs_are_pixels():
    torch.manual_seed(0)
    prior = VampPrior(2, (1, 4, 4), 50)
    u = prior.pseudo_inputs()
    assert u.shape == (50, 1, 4, 4)
    assert u.min() > 0
    assert u.max() < 1
    assert prior.dim == 2
    assert VampPrior(2, 7, 3).pseudo_inputs().shape == (3, 7)


def test_it_is_the_equal_mixture_of_the_posteriors():
    torch.manual_seed(0)
    prior, head = VampPrior(2, 4, 6).double(), NormalHead()
    seen = []

    def posterior(u):
        seen.append(u)
        return head(u.view(-1, 2, 2))

    p = prior(posterior)
    assert len(seen) == 1
    assert torch.equal(seen[0], prior.pseudo_inputs())
    z = torch.randn(7, 2).double()
    expected = posterior(seen[0]).log_prob(z[:, None]).logsumexp(1) - math.log(6)
    torch.testing.assert_close(p.log_prob(z), expected)
    (gradient,) = torch.autograd.grad(p.log_prob(z).sum(), prior.logits)
    assert (gradient.abs().sum(1) > 0).all()


def test_says_what_it_needs():
    with pytest.raises(UserError, match="num_pseudo_inputs must be at least 1, got 0"):
        VampPrior(2, (1, 4, 4), 0)
    with pytest.raises(UserError, match="event_shape must be at least 1, got 0"):
        VampPrior(2, (1, 0, 4), 3)
    with pytest.raises(UserError, match="take the model VampVAE"):
        VampPrior(2, 4, 3)()
