import math

import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.objectives.variational import LinearWarmup, elbo, importance_bound


def test_the_bound_keeps_its_terms_apart():
    log_px_z, kl = torch.tensor([-10.0, -20.0]), torch.tensor([3.0, 4.0])
    bound = elbo(log_px_z=log_px_z, kl=kl)
    assert bound.value.tolist() == [-13.0, -24.0]
    weighted = elbo(log_px_z=log_px_z, kl=kl, beta=0.5)
    assert weighted.value.tolist() == [-11.5, -22.0]
    assert weighted.kl.tolist() == [3.0, 4.0]
    assert weighted.log_likelihood.tolist() == [-10.0, -20.0]


def test_the_importance_bound_is_the_log_of_the_mean_weight():
    weights = torch.tensor([[0.1, 2.0], [0.3, 4.0], [0.2, 9.0]])
    torch.testing.assert_close(importance_bound(weights.log()), torch.tensor([0.2, 5.0]).log())


def test_large_weights_win_and_nothing_overflows():
    """A softmax over errors in the place of weights would prefer the worst draw."""
    log_weights = torch.tensor([[-1000.0], [-5000.0]], requires_grad=True)
    bound = importance_bound(log_weights)
    assert bound.item() == pytest.approx(-1000.0 - math.log(2))
    bound.sum().backward()
    assert log_weights.grad.flatten().tolist() == [1.0, 0.0]


def test_one_sample_is_its_own_bound():
    log_weights = torch.randn(1, 7)
    torch.testing.assert_close(importance_bound(log_weights), log_weights[0])


def test_warm_up_is_a_straight_line_that_ends():
    weight = LinearWarmup(start=0.2, end=1.0, num_steps=4)
    assert [weight(step) for step in (0, 1, 2, 4, 400)] == pytest.approx([0.2, 0.4, 0.6, 1.0, 1.0])
    with pytest.raises(UserError, match="num_steps"):
        LinearWarmup(num_steps=0)
