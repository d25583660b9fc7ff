"""The gap of codes whose mutual information with the factors is known, and against scikit-learn's."""

import math

import pytest
import torch
from sklearn.metrics import mutual_info_score

from lit_gen.errors import UserError
from lit_gen.metrics.mig import mutual_information_gap

SIZES = (3, 4, 5)
GRID = torch.cartesian_prod(*(torch.arange(size) for size in SIZES))  # every combination once


def test_codes_that_are_the_factors_score_one():
    gap = mutual_information_gap(GRID.float(), GRID)
    assert float(gap.mean) == pytest.approx(1.0, abs=1e-12)
    expected = torch.diag(torch.tensor([math.log(size) for size in SIZES], dtype=torch.float64))
    torch.testing.assert_close(gap.information, expected, atol=1e-12, rtol=0)
    moved = GRID.float()[:, [2, 0, 1]] * torch.tensor([-3.0, 0.5, 100.0]) + 7  # whatever the order, sign and units
    assert float(mutual_information_gap(moved, GRID).mean) == pytest.approx(1.0, abs=1e-12)


def test_a_factor_told_twice_has_no_gap_and_a_split_one_has_its_difference():
    twice = torch.cat([GRID, GRID[:, :1]], 1).float()
    assert mutual_information_gap(twice, GRID).gaps.tolist() == pytest.approx([0.0, 1.0, 1.0], abs=1e-12)
    # Factor 1 of four values by its two bits: each coordinate knows log 2 of log 4.
    bits = torch.stack([GRID[:, 0], GRID[:, 1] // 2, GRID[:, 1] % 2, GRID[:, 2]], 1).float()
    assert mutual_information_gap(bits, GRID).gaps.tolist() == pytest.approx([1.0, 0.0, 1.0], abs=1e-12)
    coarse = torch.stack([GRID[:, 0], GRID[:, 1] // 2, GRID[:, 2]], 1).float()
    assert mutual_information_gap(coarse, GRID).gaps.tolist() == pytest.approx([1.0, 0.5, 1.0], abs=1e-12)


def test_a_code_that_mixes_its_coordinates_or_says_nothing_scores_near_zero():
    generator = torch.Generator().manual_seed(0)
    factors = torch.stack([torch.randint(0, 10, (10_000,), generator=generator) for _ in range(4)], 1)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    assert mutual_information_gap(factors.float(), factors).mean > 0.98
    assert mutual_information_gap(factors.float() @ rotation, factors).mean < 0.2
    # The finite sample's bias is the same for all coordinates and leaves little of a gap.
    assert mutual_information_gap(torch.randn(10_000, 4, generator=generator), factors).mean < 0.005
    assert mutual_information_gap(torch.ones(10_000, 4), factors).mean == 0
    assert mutual_information_gap(0.01 * factors.float(), factors, min_variance=0.05).mean == 0


def test_mutual_information_is_scikit_learns():
    generator = torch.Generator().manual_seed(1)
    codes = torch.randn(60, 2, generator=generator) + GRID[:, :2]
    information = mutual_information_gap(codes, GRID, num_bins=6).information
    for z in range(2):
        low, high = codes[:, z].min(), codes[:, z].max()
        edges = torch.linspace(float(low), float(high), 7)[1:-1]
        bins = torch.bucketize(codes[:, z].contiguous(), edges, right=True)
        for f in range(3):
            assert float(information[z, f]) == pytest.approx(mutual_info_score(bins, GRID[:, f]), abs=1e-9)


def test_one_coordinate_alone_is_compared_with_nothing():
    gap = mutual_information_gap(GRID[:, 1:2].float(), GRID)
    assert gap.gaps.tolist() == pytest.approx([0.0, 1.0, 0.0], abs=1e-12)


def test_factors_that_do_not_vary_are_left_out_of_the_mean():
    factors = torch.cat([GRID, torch.full((60, 1), 2)], 1)
    gap = mutual_information_gap(GRID.float(), factors)
    assert gap.gaps[3].isnan() and float(gap.mean) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("codes", "factors", "bins", "message"),
    [
        (GRID.float(), GRID, 1, "at least 2 bins, got 1"),
        (GRID.float() / 0, GRID, 20, "aren't all finite"),
        (GRID.float(), torch.ones_like(GRID), 20, "differ in some factor"),
    ],
)
def test_what_has_no_gap_is_told(codes, factors, bins, message):
    with pytest.raises(UserError, match=message):
        mutual_information_gap(codes, factors, bins)
