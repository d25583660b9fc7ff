import math

import pytest
import torch

from lit_gen.metrics.nll import ImportanceEstimate, ImportanceSampling, NegativeLogLikelihood, StreamingLogMeanExp


def test_a_positive_number_of_nats_however_the_set_is_cut():
    log_px = -80 - 10 * torch.rand(103, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for size in (1, 10, 103):
        metric = NegativeLogLikelihood()
        for chunk in log_px.split(size):
            metric.update(chunk)
        estimate = metric.compute()
        # The last, partial batch counts by its examples, not as a batch.
        torch.testing.assert_close(estimate.mean, -log_px.mean(), rtol=1e-12, atol=0)
        torch.testing.assert_close(estimate.standard_error, log_px.std() / math.sqrt(103), rtol=1e-9, atol=0)
        assert estimate.count == 103
        assert 80 < estimate.mean < 90


def test_ranks_with_unequal_counts_make_the_mean_over_examples():
    first, second, whole = NegativeLogLikelihood(), NegativeLogLikelihood(), NegativeLogLikelihood()
    first.update(torch.tensor([-1.0, -2.0, -3.0]))
    second.update(torch.tensor([-10.0]))
    whole.update(torch.tensor([-1.0, -2.0, -3.0, -10.0]))
    first.merge_state(second)
    assert first.compute() == whole.compute()
    assert first.compute().mean == 4.0


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_a_non_finite_example_is_not_left_out(bad):
    metric = NegativeLogLikelihood()
    metric.update(torch.tensor([-1.0, -2.0]))
    metric.update(torch.tensor([-1.0, bad]))
    assert not metric.compute().mean.isfinite()


def test_no_error_can_be_given_for_one_example():
    metric = NegativeLogLikelihood()
    metric.update(torch.tensor([-3.0]))
    assert metric.compute().mean == 3
    assert metric.compute().standard_error.isnan()


def test_sums_in_float64():
    metric = NegativeLogLikelihood()
    metric.update(torch.full((1,), -1e8))
    for _ in range(100):
        metric.update(torch.full((1,), -1.0))
    assert metric.compute().mean == (1e8 + 100) / 101


def test_refuses_values_that_are_not_one_an_example():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        NegativeLogLikelihood().update(torch.zeros(2, 3))


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_chunks_make_no_difference(chunk):
    log_w = 300 * torch.randn(100, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    streamed = StreamingLogMeanExp()
    for part in log_w.split(chunk):
        streamed.update(part)
    estimate, share = streamed.compute(), log_w.softmax(0)
    torch.testing.assert_close(estimate.log_px, log_w.logsumexp(0) - math.log(100), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(estimate.effective_sample_size, 1 / share.square().sum(0), rtol=1e-9, atol=0)
    torch.testing.assert_close(estimate.largest_share, share.amax(0), rtol=1e-9, atol=0)


def test_the_mean_of_equal_weights_is_the_weight():
    streamed = StreamingLogMeanExp()
    streamed.update(torch.full((3, 2), -1234.5))
    streamed.update(torch.full((8, 2), -1234.5))
    log_px, size, share = streamed.compute()
    torch.testing.assert_close(log_px, torch.full((2,), -1234.5, dtype=torch.float64))
    torch.testing.assert_close(size, torch.full((2,), 11.0, dtype=torch.float64))
    torch.testing.assert_close(share, torch.full((2,), 1 / 11, dtype=torch.float64))


def test_impossible_samples_count_as_zero_and_nan_spreads():
    streamed = StreamingLogMeanExp()
    streamed.update(torch.full((2, 3), -math.inf))
    streamed.update(torch.tensor([[0.0, -math.inf, math.nan], [0.0, -math.inf, 0.0]]))
    half, impossible, undefined = streamed.compute().log_px.tolist()
    assert half == pytest.approx(-math.log(2))
    assert impossible == -math.inf
    assert math.isnan(undefined)


def test_known_weights_have_known_sample_sizes():
    streamed = StreamingLogMeanExp()
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.0], [2.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    streamed.update(weights.log() + 800)  # exp would overflow
    estimate = streamed.compute()
    torch.testing.assert_close(estimate.effective_sample_size, torch.tensor([16 / 6, 1.0], dtype=torch.float64))
    torch.testing.assert_close(estimate.largest_share, torch.tensor([0.5, 1.0], dtype=torch.float64))


def test_the_quality_of_all_ranks_is_that_of_all_examples():
    """The delta method's variance of log mean w is the squared standard error of mean w over the squared mean."""
    w = torch.rand(30, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
    whole, joint = ImportanceSampling(30), ImportanceSampling(30)
    for metric, parts in ((whole, [range(7)]), (joint, [range(3), range(3, 7)])):
        for columns in parts:
            streamed, share = StreamingLogMeanExp(), ImportanceSampling(30)
            streamed.update(w[:, columns].log())
            share.update(streamed.compute())
            metric.merge_state(share)
    assert list(map(float, joint.compute())) == pytest.approx(list(map(float, whole.compute())), rel=1e-12)
    expected = ((w.var(0) / 30 / w.mean(0) ** 2).sum()).sqrt() / 7
    torch.testing.assert_close(whole.compute().standard_error, expected, rtol=1e-9, atol=0)
    sizes = w.sum(0) ** 2 / w.square().sum(0)
    torch.testing.assert_close(whole.compute().effective_sample_size, sizes.mean(), rtol=1e-9, atol=0)
    assert whole.compute().count == 7


def test_one_draw_is_never_enough_and_what_is_no_number_neither():
    sampling = ImportanceSampling(1)
    sampling.update(ImportanceEstimate(torch.zeros(2), torch.ones(2), torch.tensor([1.0, torch.nan])))
    assert sampling.compute().num_dominated == 2
    assert sampling.compute().too_few_samples
    assert sampling.compute().standard_error.isnan()
