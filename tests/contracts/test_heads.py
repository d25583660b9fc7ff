"""What every head owes, over every member: parameters -> a distribution with batch (B,) and the event's shape."""

from functools import partial

import pytest
import torch

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead

HEADS = {
    "bernoulli": BernoulliHead,
    "normal_fixed": partial(NormalHead, scale=0.5),
    "normal_learned": NormalHead,
}


@pytest.fixture(params=HEADS)
def head(request):
    return HEADS[request.param]()


@pytest.fixture(params=[(3,), (1, 4, 4)], ids=["vector", "image"])
def event_shape(request):
    return request.param


def params_for(head, event_shape):
    leading = (head.params_per_output,) if head.params_per_output > 1 else ()
    return torch.randn(5, *leading, *event_shape, generator=torch.Generator().manual_seed(0))


def test_batch_and_event(head, event_shape):
    p = head(params_for(head, event_shape))
    assert p.batch_shape == (5,)
    assert p.event_shape == event_shape
    assert p.mean.shape == (5, *event_shape)
    assert p.sample().shape == (5, *event_shape)
    assert p.log_prob(torch.rand(5, *event_shape)).shape == (5,)


def test_draws_have_the_mean(head, event_shape):
    torch.manual_seed(0)
    p = head(params_for(head, event_shape))
    draws = p.sample((4000,))
    error = (draws.mean(0) - p.mean).abs() / (draws.std(0) / 4000**0.5 + 1e-6)
    assert error.max() < 5  # standard errors


def test_the_gradient_of_the_density_is_finite_far_out(head, event_shape):
    params = (params_for(head, event_shape) * 20).requires_grad_()
    head(params).log_prob(torch.rand(5, *event_shape)).sum().backward()
    assert params.grad.isfinite().all()


def test_parameters_are_those_of_their_own_example(head, event_shape):
    params, x = params_for(head, event_shape), torch.rand(5, *event_shape)
    parts = torch.cat([head(params[i : i + 1]).log_prob(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(parts, head(params).log_prob(x))
