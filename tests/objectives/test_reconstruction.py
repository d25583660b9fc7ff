"""Reconstruction objectives against torch's distributions, their least values and their refusals."""

import pytest
import torch
from torch.distributions import Bernoulli, Multinomial, Normal

from lit_gen.errors import UserError
from lit_gen.objectives.reconstruction import CrossEntropy, SoftmaxCrossEntropy, SquaredError

GENERATOR = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(4, 1, 3, 3, dtype=torch.float64, generator=GENERATOR)
GREY = torch.rand(4, 1, 3, 3, dtype=torch.float64, generator=GENERATOR)


def test_squared_error_is_a_normal_likelihood_but_for_a_constant():
    value = SquaredError()(OUTPUT, GREY)
    log_prob = Normal(OUTPUT, 0.5**0.5).log_prob(GREY).flatten(1).sum(1)
    at_best = Normal(GREY, 0.5**0.5).log_prob(GREY).flatten(1).sum(1)
    torch.testing.assert_close(value, at_best - log_prob)
    assert SquaredError().mean(OUTPUT) is OUTPUT


def test_cross_entropy_of_binary_pixels_is_their_negative_log_likelihood():
    expected = -Bernoulli(logits=OUTPUT).log_prob(GREY.round()).flatten(1).sum(1)
    torch.testing.assert_close(CrossEntropy()(OUTPUT, GREY.round()), expected)
    torch.testing.assert_close(CrossEntropy().mean(OUTPUT), Bernoulli(logits=OUTPUT).mean)


def test_cross_entropy_of_grey_pixels_is_least_at_the_target_where_it_is_their_entropy():
    floor = Bernoulli(probs=GREY).entropy().flatten(1).sum(1)
    torch.testing.assert_close(CrossEntropy()(GREY.logit(), GREY), floor)
    assert (CrossEntropy()(OUTPUT, GREY) > floor).all()
    assert CrossEntropy()(torch.full((1, 2), 1e4), torch.tensor([[1.0, 0.0]])).isfinite().all()


def test_softmax_cross_entropy_of_counts_is_a_multinomial_likelihood_but_for_its_coefficient():
    output = torch.randn(3, 5, dtype=torch.float64, generator=GENERATOR)
    counts = torch.tensor([[2, 0, 1, 0, 4], [0, 0, 0, 7, 0], [1, 1, 1, 2, 2]]).double()
    log_prob = Multinomial(7, logits=output).log_prob(counts)
    coefficient = Multinomial(7, logits=output[:1].expand(3, 5) * 0).log_prob(counts) + 7 * torch.tensor(5.0).log()
    torch.testing.assert_close(SoftmaxCrossEntropy()(output, counts), coefficient - log_prob)
    shares = counts / 7
    torch.testing.assert_close(SoftmaxCrossEntropy()(output, shares), (coefficient - log_prob) / 7)
    torch.testing.assert_close(SoftmaxCrossEntropy().mean(output).sum(1), torch.ones(3).double())


@pytest.mark.parametrize("objective", [SquaredError(), CrossEntropy(), SoftmaxCrossEntropy()])
def test_values_are_sums_over_the_event_one_for_each_example(objective):
    value = objective(OUTPUT, GREY)
    assert value.shape == (4,)
    torch.testing.assert_close(objective(OUTPUT[2:3], GREY[2:3]), value[2:3])
    assert objective.mean(OUTPUT).shape == OUTPUT.shape


@pytest.mark.parametrize("bad", [-0.01, 1.01, 255.0, float("nan")])
def test_cross_entropy_refuses_values_outside_its_range(bad):
    target = GREY.clone()
    target[1, 0, 2, 2] = bad
    with pytest.raises(UserError, match=r"CrossEntropy needs targets in \[0, 1\], but there are values from"):
        CrossEntropy()(OUTPUT, target)


def test_softmax_cross_entropy_refuses_negative_counts():
    with pytest.raises(UserError, match="SoftmaxCrossEntropy needs targets of 0 or more"):
        SoftmaxCrossEntropy()(OUTPUT, GREY - 1.0)


def test_an_accelerator_is_not_kept_waiting_in_training_but_looked_at_in_evaluation():
    """On the meta device a look at a value is an error of its own."""
    output, target = (torch.zeros(2, 3, device="meta") for _ in range(2))
    for objective in (CrossEntropy(), SoftmaxCrossEntropy()):
        assert objective(output, target).shape == (2,)
        with torch.no_grad(), pytest.raises(RuntimeError, match="meta"):
            objective(output, target)
