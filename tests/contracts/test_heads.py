"""What every head owes, over every member: parameters -> a distribution with batch (B,) and the event's shape."""

from functools import partial

import pytest
import torch

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.categorical import CategoricalHead
from lit_gen.distributions.continuous_bernoulli import ContinuousBernoulliHead
from lit_gen.distributions.discretized_logistic import DiscretizedLogisticHead
from lit_gen.distributions.discretized_logistic_mixture import DiscretizedLogisticMixtureHead
from lit_gen.distributions.laplace import LaplaceHead
from lit_gen.distributions.location_scale import LearnedScale
from lit_gen.distributions.normal import NormalHead
from lit_gen.errors import UserError

HEADS = {
    "bernoulli": BernoulliHead,
    "normal_fixed": partial(NormalHead, scale=0.5),
    "normal_learned": NormalHead,
    "normal_one_scale": lambda: NormalHead(LearnedScale(0.3)),
    "laplace_fixed": partial(LaplaceHead, scale=0.5),
    "laplace_learned": LaplaceHead,
    "continuous_bernoulli": ContinuousBernoulliHead,
    "categorical": CategoricalHead,
    "discretized_logistic": DiscretizedLogisticHead,
    "discretized_logistic_mixture": partial(DiscretizedLogisticMixtureHead, 3),
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


def test_half_precision_parameters_are_summed_in_single(head, event_shape):
    params, x = params_for(head, event_shape).bfloat16(), torch.rand(5, *event_shape)
    p = head(params)
    assert p.log_prob(x).dtype == torch.float32
    assert torch.equal(p.log_prob(x), head(params.float()).log_prob(x))
    assert p.mean.dtype == torch.float32


@pytest.mark.parametrize("size", [1, 10])
def test_single_precision_follows_double(head, event_shape, size):
    params, x = params_for(head, event_shape) * size, torch.rand(5, *event_shape)
    values, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        own = params.to(dtype, copy=True).requires_grad_()
        log_prob = head(own).log_prob(x)
        log_prob.sum().backward()
        values.append(log_prob.detach().double())
        gradients.append(own.grad.double())
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_too_few_parameters_are_told_in_one_line(head):
    if head.params_per_output > 1:
        with pytest.raises(UserError, match=f"params_per_output {head.params_per_output}$") as error:
            head(torch.zeros(5, 1, 4, 4))
        assert "\n" not in str(error.value)
    else:
        assert head(torch.zeros(5, 1, 4, 4)).event_shape == (1, 4, 4)
