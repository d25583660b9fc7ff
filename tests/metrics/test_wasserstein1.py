"""The 1-Wasserstein distance against scipy's and against closed forms."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from lit_gen.errors import UserError
from lit_gen.metrics.wasserstein1 import Wasserstein1, wasserstein1, wasserstein1_from_quantiles


def normal_quantile(mean: float, std: float):
    return lambda u: mean + std * torch.special.ndtri(u)


def of_normals(mean: float, std: float) -> float:
    """E |mean + std Z|, std >= 0: W1 of two normal distributions by the differences of their means and deviations."""
    if std == 0:
        return abs(mean)
    ratio = mean / std
    return std * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2) + mean * math.erf(ratio / math.sqrt(2))


@pytest.mark.parametrize("sizes", [(1, 1), (7, 7), (50, 13), (300, 1000)])
def test_two_samples_as_scipy(sizes):
    generator = np.random.default_rng(0)
    for spread in (1.0, 3.0):
        # rounded, so that values are repeated within and among the samples
        x, y = generator.normal(size=sizes[0]).round(1), generator.normal(0.5, spread, size=sizes[1]).round(1)
        ours = wasserstein1(torch.from_numpy(x), torch.from_numpy(y))
        assert ours == pytest.approx(scipy.stats.wasserstein_distance(x, y), abs=1e-12)
    assert wasserstein1(torch.from_numpy(x), torch.from_numpy(x)) == 0


@pytest.mark.parametrize("mean,std", [(0.0, 1.0), (1.0, 1.0), (0.0, 2.0), (-0.5, 1.5)])
def test_two_normals_in_closed_form(mean, std):
    """A sample of 200,000 quantiles in the middle of their intervals stands for the first of them."""
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    x = torch.special.ndtri(u)[torch.randperm(200_000, generator=torch.Generator().manual_seed(0))]
    ours = wasserstein1_from_quantiles(x, normal_quantile(mean, std))
    assert ours == pytest.approx(of_normals(mean, std - 1), abs=3e-5)


def test_one_point_of_a_uniform_distribution():
    for point, expected in ((0.5, 0.25), (0.0, 0.5), (2.0, 1.5), (0.3, 0.29)):  # (p^2 + (1 - p)^2) / 2 within
        assert wasserstein1_from_quantiles(torch.tensor([point]), lambda u: u) == pytest.approx(expected, abs=1e-6)


def test_a_sample_of_the_truth_is_as_near_as_scipy_says():
    x = torch.randn(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = (np.arange(400_000) + 0.5) / 400_000
    reference = scipy.stats.wasserstein_distance(x.numpy(), scipy.stats.norm.ppf(u))
    assert wasserstein1_from_quantiles(x, normal_quantile(0, 1)) == pytest.approx(reference, abs=2e-5)


def test_batches_are_one_sample():
    x = torch.randn(103, 1, generator=torch.Generator().manual_seed(2))
    metric = Wasserstein1(normal_quantile(0.0, 1.0))
    metric.update(torch.empty(0))
    for part in x.split(20):
        metric.update(part)
    assert metric.compute() == wasserstein1_from_quantiles(x[:, 0], normal_quantile(0.0, 1.0))
    metric.reset()
    metric.update(x[:7])
    assert metric.compute() == wasserstein1_from_quantiles(x[:7, 0], normal_quantile(0.0, 1.0))


def test_what_is_no_sample_is_refused():
    for x in (torch.empty(0), torch.tensor([0.0, math.nan]), torch.tensor([math.inf])):
        with pytest.raises(UserError, match="some and finite"):
            wasserstein1_from_quantiles(x, lambda u: u)
        with pytest.raises(UserError, match="some and finite"):
            wasserstein1(torch.zeros(3), x)
    with pytest.raises(ValueError, match=r"\(N,\)"):
        wasserstein1(torch.zeros(3, 1), torch.zeros(3))
