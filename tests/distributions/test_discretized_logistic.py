"""Rounded logistic variables against sums over all levels and against the formula of the paper in double precision."""

import math
from functools import partial

import pytest
import torch

from lit_gen.distributions.discretized_logistic import (
    PAPERS_FLOOR,
    DiscretizedLogistic,
    DiscretizedLogisticHead,
    logistic_level_log_prob,
    logistic_level_mean,
)
from lit_gen.distributions.discretized_logistic_mixture import DiscretizedLogisticMixtureHead
from lit_gen.distributions.pixel_logistic_mixture import PixelLogisticMixtureHead
from lit_gen.errors import UserError

LEVELS = torch.arange(256) / 255
LOCS = [-40.0, -1.0, -0.3, 0.0, 0.999, 1.7]
LOG_SCALES = [-7.0, -4.0, -1.0, 0.0, 3.0, 15.0]


@pytest.mark.parametrize("loc", LOCS)
@pytest.mark.parametrize("log_scale", LOG_SCALES)
def test_probabilities_of_all_levels_sum_to_one_and_give_the_mean(loc, log_scale):
    loc, log_scale = torch.tensor(loc), torch.tensor(log_scale)
    probability = logistic_level_log_prob(LEVELS, loc, log_scale).exp()
    assert probability.sum().item() == pytest.approx(1.0, abs=2e-5)
    mean = logistic_level_mean(loc, log_scale)
    assert mean.item() == pytest.approx((probability * LEVELS).sum().item(), abs=2e-5)


def test_it_is_the_difference_of_distribution_functions():
    """Eq. 2, with the edges' bins to infinity, in units of pixels from -1 to 1."""
    torch.manual_seed(0)
    loc = torch.rand(256, dtype=torch.float64) * 2 - 1
    log_scale = torch.randn(256, dtype=torch.float64) - 2
    levels = torch.arange(256, dtype=torch.float64) / 255
    x = 2 * levels - 1
    upper = ((x + 1 / 255 - loc) / log_scale.exp()).sigmoid()
    lower = ((x - 1 / 255 - loc) / log_scale.exp()).sigmoid()
    upper[255], lower[0] = 1.0, 0.0
    ours = logistic_level_log_prob(levels, loc, log_scale)
    reference = upper - lower
    trusted = reference > 1e-9  # the difference loses the digits of what is less
    assert trusted.sum() > 200
    torch.testing.assert_close(ours[trusted].exp(), reference[trusted], rtol=1e-6, atol=0)


def test_pixels_are_summed_and_the_head_reads_location_then_scale():
    params = torch.randn(3, 2, 1, 4, 4)
    x = torch.randint(256, (3, 1, 4, 4)) / 255
    floored = (params[:, 1].exp() + PAPERS_FLOOR).log()
    expected = logistic_level_log_prob(x, params[:, 0], floored).sum((1, 2, 3))
    torch.testing.assert_close(DiscretizedLogisticHead()(params).log_prob(x), expected)


def test_values_between_levels_count_as_the_nearest():
    p = DiscretizedLogisticHead()(torch.randn(1, 2, 3))
    near = torch.tensor([[3.4, 3.6, 254.7]]) / 255
    assert p.log_prob(near).item() == p.log_prob(torch.tensor([[3.0, 4.0, 255.0]]) / 255).item()


@pytest.mark.parametrize(("loc", "log_scale"), [(0.2, -1.5), (-1.2, -2.0), (0.0, 2.0), (0.9, -3.0)])
def test_draws_are_levels_in_the_right_shares(loc, log_scale):
    torch.manual_seed(0)
    p = DiscretizedLogistic(torch.tensor([[loc]]), torch.tensor([[log_scale]]))
    draws = p.sample((40_000,))
    assert draws.shape == (40_000, 1, 1)
    level = draws.flatten() * 255
    torch.testing.assert_close(level, level.round(), atol=1e-4, rtol=0)
    seen = torch.bincount(level.round().long(), minlength=256) / 40_000
    probability = logistic_level_log_prob(LEVELS, torch.tensor(loc), torch.tensor(log_scale)).exp()
    torch.testing.assert_close(seen.cumsum(0), probability.cumsum(0), atol=0.012, rtol=0)


HEADS = {
    "one logistic": (DiscretizedLogisticHead, [0.0, -100.0]),
    "two alike, mixed": (partial(DiscretizedLogisticMixtureHead, 2), [0.0, 0.0, 0.0, 0.0, -100.0, -100.0]),
    "of whole pixels": (partial(PixelLogisticMixtureHead, 2, num_channels=1), [0.0, 0.0, 0.0, 0.0, -100.0, -100.0]),
}


@pytest.mark.parametrize("kind", HEADS)
def test_density_mean_and_draws_share_the_floor(kind):
    """A scale clamped in sampling but not in the density (or the reverse) is a likelihood of another model."""
    torch.manual_seed(0)
    make, params = HEADS[kind]
    p = make(min_scale=0.05)(torch.tensor(params).view(1, -1, 1, 1, 1))
    # of a logistic variable: pi * scale / sqrt(3), here in units of [0, 1]
    expected = pytest.approx(0.5 * 0.05 * math.pi / math.sqrt(3), rel=0.02)
    assert p.sample((50_000,)).std().item() == expected
    probability = make(min_scale=0.05)(torch.tensor(params).view(1, -1, 1, 1, 1).expand(256, -1, 1, 1, 1))
    share = probability.log_prob(LEVELS.view(-1, 1, 1, 1)).exp()
    assert ((share * LEVELS.square()).sum() - (share * LEVELS).sum().square()).sqrt().item() == expected


@pytest.mark.parametrize("log_scale", [-1e4, -100.0, 0.0, 60.0, 1e4])
@pytest.mark.parametrize("loc", [-1e4, -1.0, 0.5, 1e4])
def test_extreme_parameters_stay_finite_in_single_precision(loc, log_scale):
    params = torch.tensor([loc, log_scale])[None, :, None].repeat(256, 1, 1).requires_grad_()
    p = DiscretizedLogisticHead()(params)
    log_prob = p.log_prob(LEVELS[:, None])
    assert log_prob.isfinite().all()
    log_prob.sum().backward()
    assert params.grad.isfinite().all()
    assert p.mean.isfinite().all()
    draws = p.sample()
    assert draws.min() >= 0
    assert draws.max() <= 1


def test_a_scale_far_too_wide_still_learns():
    """The bin's probability underflows in single precision; its logarithm and gradient do not."""
    params = torch.tensor([0.0, 100.0])[None, :, None].requires_grad_()
    log_prob = DiscretizedLogisticHead()(params).log_prob(torch.tensor([[128 / 255]]))
    assert log_prob.item() == pytest.approx(math.log(2 / 255) - math.log(4) - 100.0, rel=1e-6)
    log_prob.sum().backward()
    assert params.grad[0, 1, 0].item() == pytest.approx(-1.0)


def test_single_precision_follows_double():
    torch.manual_seed(0)
    exact = torch.stack([1.5 * torch.randn(64, 50), 3 * torch.randn(64, 50) - 3], 1).double().requires_grad_()
    single = exact.detach().float().requires_grad_()
    x = torch.randint(256, (64, 50)) / 255
    ours, reference = DiscretizedLogisticHead()(single).log_prob(x), DiscretizedLogisticHead()(exact).log_prob(x)
    torch.testing.assert_close(ours.double(), reference, rtol=1e-5, atol=0)
    ours.sum().backward()
    reference.sum().backward()
    torch.testing.assert_close(single.grad.double(), exact.grad, rtol=1e-3, atol=1e-3)


def test_gradients_against_finite_differences():
    params = torch.tensor([[[-1.1, 0.2, 0.9, 0.0], [-3.0, -2.0, 0.5, 2.0]]], dtype=torch.float64, requires_grad=True)
    for levels in ([0.0, 100.0, 255.0, 128.0], [255.0, 0.0, 3.0, 0.0]):
        x = torch.tensor([levels], dtype=torch.float64) / 255
        assert torch.autograd.gradcheck(lambda a, x=x: DiscretizedLogisticHead()(a).log_prob(x), params)
    assert torch.autograd.gradcheck(lambda a: DiscretizedLogisticHead(5)(a).mean, params)


def test_says_what_it_needs():
    with pytest.raises(UserError, match=r"a DiscretizedLogisticHead needs .* params_per_output 2"):
        DiscretizedLogisticHead()(torch.zeros(2, 3, 4))
    with pytest.raises(UserError, match="num_levels must be at least 2, got 1"):
        DiscretizedLogisticHead(1)
    with pytest.raises(UserError, match="min_scale must be positive, got 0"):
        DiscretizedLogisticHead(min_scale=0.0)
