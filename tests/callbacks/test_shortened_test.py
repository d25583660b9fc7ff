"""What of a test is done after a shortened training: how much, of what, and under which name."""

from itertools import pairwise

import pytest
import torch

from lit_gen.callbacks.fid import FID
from lit_gen.callbacks.likelihood import Likelihood, estimate_log_px, group_size_of
from lit_gen.callbacks.precision_recall import PrecisionRecall
from lit_gen.callbacks.shortened_test import ShortenedTest, spread
from lit_gen.metrics.features import LeNet
from lit_gen.randomness import seeded
from tests.callbacks.test_likelihood import CPU, KnownDensity, LinearGaussian, Points, draw, score


@pytest.mark.parametrize(
    ("share", "passes", "whole", "cost", "count"),
    [
        (0.01, 0, 10_000, 5000, 100),  # the share
        (0.2, 0, 10_000, 5000, 2_000),
        (0.2501, 0, 10_000, 1, 2_600),  # in hundreds
        (0.001, 0, 10_000, 5000, 100),  # no fewer than that
        (0.001, 0, 60, 5000, 60),  # or than there are
        (0.001, 5_000_000, 10_000, 5000, 1_000),  # what the training's own passes pay for
        (0.5, 5_000_000, 10_000, 5000, 5_000),
        (0.001, 5_000_000, 10_000, 100, 10_000),  # a test that is quick beside the training is whole
    ],
)
def test_how_many_are_scored(share, passes, whole, cost, count):
    assert ShortenedTest(share, passes).count(whole, cost) == count


def test_a_metric_has_as_many_as_it_needs():
    assert ShortenedTest(0.0, 0).count(10_000, least=2_049) == 2_100
    assert FID(LeNet(), num_samples=10_000).least_samples == 100
    assert PrecisionRecall(num_neighbours=150).least_samples == 151


def test_what_was_left_out_is_noted_once_and_what_was_not_is_not():
    shortened = ShortenedTest(0.1, 0)
    for _ in range(2):
        shortened.note("nll", 100, 10_000, "test examples")
        shortened.note("fid", 50, 50, "samples")
    assert shortened.left_out == ["nll on 100 of 10,000 test examples"]


@pytest.mark.parametrize(
    ("whole", "group_size", "count"), [(10, 1, 4), (10, 3, 4), (10_000, 50, 100), (7, 500, 3), (5, 1, 5)]
)
def test_whole_groups_evenly_spaced(whole, group_size, count):
    is_chosen, total = spread(whole, group_size, count)
    numbers = [number for number in range(whole) if is_chosen(number)]
    assert len(numbers) == total >= count or total >= whole - group_size
    groups = sorted({number // group_size for number in numbers})
    assert numbers == [number for number in range(whole) if number // group_size in groups], "groups are whole"
    apart = [b - a for a, b in pairwise(groups)]
    assert not apart or max(apart) - min(apart) <= 1
    assert groups[0] == 0, "the first one is always among them"


class Counted(Points):
    def num_examples(self, split: str) -> int:
        return 700


@pytest.mark.parametrize("batch_size", [700, 33])
@pytest.mark.parametrize("num_samples", [7, 600])
def test_the_likelihood_of_some_examples_is_theirs_in_the_whole_test(num_samples, batch_size):
    x, model = draw(700), LinearGaussian()
    with seeded(0, CPU), torch.no_grad():
        every = estimate_log_px(model, x, list(range(700)), num_samples, 2500, seed=0).log_px
    whole = Likelihood(num_samples=num_samples)
    assert score(model, Counted(x, 700), whole)[f"test/nll_nats_k{num_samples}"] == pytest.approx(-every.mean().item())
    callback = Likelihood(num_samples=num_samples)
    callback.shortened = ShortenedTest(0.1, 0)
    found = score(model, Counted(x, batch_size), callback)
    is_chosen, count = spread(700, group_size_of(num_samples, 2500), 100)
    name = f"test/nll_nats_k{num_samples}_n{count}"
    chosen = [number for number in range(700) if is_chosen(number)]
    assert len(chosen) == count < 200
    assert found[name] == pytest.approx(-every[chosen].mean().item(), rel=1e-6)
    assert f"test/nll_nats_k{num_samples}" not in found, "the name of the whole test is kept for the whole test"
    assert f"{count} of 700 test examples, evenly spaced" in callback.protocols[name]
    assert callback.shortened.left_out == [f"nll_nats_k{num_samples} on {count} of 700 test examples"]


def test_validation_is_never_shortened_nor_is_a_density_that_costs_one_pass():
    callback = Likelihood(num_samples=600, val_num_samples=600)
    callback.shortened = ShortenedTest(0.0, 0)
    assert "val/nll_nats_k600" in score(LinearGaussian(), Counted(draw(700), 700), callback, verb="validate")
    callback = Likelihood()
    callback.shortened = ShortenedTest(0.0, 0)
    assert "test/nll_nats_exact" in score(KnownDensity(), Counted(draw(700), 700), callback)


def test_a_batch_of_which_nothing_is_scored_costs_nothing():
    model, callback = LinearGaussian(), Likelihood(num_samples=600)
    callback.shortened = ShortenedTest(0.0, 0)
    score(model, Counted(draw(700), 7), callback)
    assert len(model.calls) == 100, "one call for each example that is scored"
