"""Mode coverage by closed forms, and summed over parts as ranks hold them."""

import math

import pytest
import torch

from lit_gen.data.toy import GaussianMixture, Grid, Ring
from lit_gen.errors import UserError
from lit_gen.metrics.mode_coverage import ClassModes, ModeCoverage, kl_of_counts


def of(data, x, **kwargs):
    metric = ModeCoverage(data.modes, data.std, data.weights, **kwargs)
    metric.update(x)
    return metric.compute()


@pytest.mark.parametrize("data", [Ring(), Grid(), GaussianMixture([[0.0, 0.0], [9.0, 9.0]], 0.3, [1, 3])])
def test_draws_of_the_density_itself(data):
    count = 20_000
    result = of(data, data.sample(count, torch.Generator().manual_seed(1)))
    assert result.num_covered == len(data.modes) and result.num_samples == count
    expected = 1 - math.exp(-4.5)
    assert abs(result.high_quality - expected) < 5 * math.sqrt(expected * (1 - expected) / count)
    # 2 N KL is chi-squared with K - 1 degrees of freedom.
    degrees = len(data.modes) - 1
    assert 0 <= result.kl < (degrees + 6 * math.sqrt(2 * degrees)) / (2 * count)


def test_a_point_on_each_of_some_modes():
    ring = Ring()
    assert of(ring, ring.modes[:1].expand(50, 2)) == (1, 1.0, pytest.approx(math.log(8)), 50)
    assert of(ring, ring.modes[[0, 4]].repeat(5, 1)) == (2, 1.0, pytest.approx(math.log(4)), 10)
    # Unequal weights: KL = log(1 / w) of the one mode that there is.
    mixture = GaussianMixture([[0.0, 0.0], [1.0, 0.0]], 0.1, [1, 3])
    assert of(mixture, mixture.modes[1:]).kl == pytest.approx(math.log(4 / 3))
    assert of(mixture, mixture.modes[[0, 1, 1, 1]]).kl == pytest.approx(0, abs=1e-12)


def test_far_samples_belong_to_a_mode_but_do_not_cover_it():
    ring = Ring(std=0.01)
    at = torch.tensor([[1.0 + 0.0299, 0.0], [1.0 + 0.0301, 0.0], [0.0, 5.0]])
    result = of(ring, at)
    assert result.num_covered == 1 and result.high_quality == pytest.approx(1 / 3)
    # Two nearest to mode 0, one to mode 2: the KL divergence looks at all three.
    expected = 2 / 3 * math.log(2 / 3 * 8) + 1 / 3 * math.log(1 / 3 * 8)
    assert result.kl == pytest.approx(expected)
    assert of(ring, at, num_std=3.1).high_quality == pytest.approx(2 / 3)


def test_samples_that_are_not_finite_are_of_low_quality():
    ring = Ring()
    x = torch.cat([ring.modes[:1], torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [0.0, -math.inf]])])
    assert of(ring, x) == (1, 0.25, pytest.approx(math.log(8)), 4)
    nothing = of(ring, torch.full((3, 2), math.nan))
    assert nothing.num_covered == 0 and nothing.high_quality == 0 and math.isnan(nothing.kl)


def test_parts_add_up_as_over_ranks():
    grid = Grid()
    parts = grid.sample(999, torch.Generator().manual_seed(0)).split([500, 0, 499])
    metrics = [ModeCoverage(grid.modes, grid.std, grid.weights) for _ in parts]
    for metric, part in zip(metrics, parts, strict=True):
        metric.update(part)
    joint = metrics[0]
    assert all(reduction is not None for reduction in joint._reductions.values())
    for name in joint._reductions:
        setattr(joint, name, joint._reductions[name](torch.stack([getattr(m, name) for m in metrics])))
    assert joint.compute() == of(grid, torch.cat(parts))


def test_class_modes():
    metric = ClassModes(1000)
    metric.update(torch.arange(1000))
    assert metric.compute() == (1000, pytest.approx(0, abs=1e-12), 1000)
    metric.reset()
    metric.update(torch.arange(100).repeat(3))
    metric.update(torch.arange(100))
    assert metric.compute() == (100, pytest.approx(math.log(10)), 400)
    weighted = ClassModes(3, torch.tensor([2.0, 1.0, 1.0]))
    weighted.update(torch.tensor([0, 0, 1, 2]))
    assert weighted.compute().kl == pytest.approx(0, abs=1e-12)
    assert math.isnan(ClassModes(3).compute().kl)


def test_kl_where_the_truth_has_no_weight():
    p = torch.tensor([1.0, 0.0]).double()
    assert kl_of_counts(torch.tensor([3, 0]), p) == 0
    assert kl_of_counts(torch.tensor([3, 1]), p) == math.inf


def test_what_does_not_fit_is_refused():
    modes, std = torch.zeros(2, 2), torch.ones(2)
    for make, match in (
        (lambda: ModeCoverage(modes, torch.ones(3)), "K positive standard deviations"),
        (lambda: ModeCoverage(modes, torch.zeros(2)), "positive"),
        (lambda: ModeCoverage(modes, std, num_std=0.0), "num_std"),
        (lambda: ModeCoverage(modes, std, torch.ones(3)), "2 modes need as many weights"),
        (lambda: ClassModes(2, torch.tensor([-1.0, 2.0])), "none negative"),
        (lambda: ClassModes(2, torch.zeros(2)), "not all 0"),
    ):
        with pytest.raises(UserError, match=match):
            make()
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        ModeCoverage(modes, std).update(torch.zeros(4, 3))
