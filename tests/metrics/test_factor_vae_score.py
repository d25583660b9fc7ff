"""The score of codes that are the factors, mixtures of them, or nothing; and of what the votes are made."""

import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.metrics.factor_vae_score import _groups, factor_vae_score

SIZES = (3, 5, 6, 7)
GRID = torch.cartesian_prod(*(torch.arange(size) for size in SIZES))  # every combination once


def score(codes, factors=GRID, num_votes=1000, seed=0, **kwargs):
    return factor_vae_score(codes.float(), factors, num_votes, generator=torch.Generator().manual_seed(seed), **kwargs)


def test_codes_that_are_the_factors_score_one():
    assert score(GRID) == 1.0
    assert score(GRID[:, [3, 1, 0, 2]] * torch.tensor([-2.0, 9.0, 0.3, 1.0]) + 5) == 1.0
    # Coordinates that say nothing do no harm, nor does a factor told by two.
    more = torch.cat([GRID, GRID[:, :1] * 2.0, 0.01 * torch.randn(len(GRID), 3)], 1)
    assert score(more) == 1.0


def test_a_constant_code_scores_by_chance():
    """One over four factors, within the noise of 4,000 votes: 0.007 a standard deviation."""
    assert score(torch.ones(len(GRID), 3), num_votes=4000) == pytest.approx(0.25, abs=0.03)
    assert score(1e-3 * GRID, num_votes=4000) == pytest.approx(0.25, abs=0.03)
    noise = torch.randn(len(GRID), 4, generator=torch.Generator().manual_seed(2))
    assert score(noise, num_votes=4000) == pytest.approx(0.25, abs=0.05)


def test_a_code_that_leaves_a_factor_out_can_tell_the_others_alone():
    # Votes of the missing factor fall on whichever coordinate happens to vary least, each taken for its own factor.
    assert score(GRID[:, :3], num_votes=4000) == pytest.approx(0.75, abs=0.03)


def test_a_rotated_code_scores_lower():
    """Spread evenly over all coordinates, a fixed factor shrinks every one of them alike."""
    hadamard = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    unit = (GRID - GRID.float().mean(0)) / GRID.float().std(0)
    assert score(unit) == 1.0
    assert score(unit @ hadamard) < 0.5


def test_votes_follow_the_generator_and_nothing_else():
    noisy = GRID + 3 * torch.randn(GRID.shape, generator=torch.Generator().manual_seed(3))
    assert score(noisy) == score(noisy)
    assert score(noisy) != score(noisy, seed=1)
    assert 0.3 < score(noisy) < 1.0


def test_groups_share_a_value_and_values_are_as_likely():
    factor = torch.tensor([2, 0, 2, 2, 2, 5, 0, 2])  # unevenly many, not all values there
    rows = _groups(factor, 3000, 8, torch.Generator().manual_seed(0))
    values = factor[rows]
    assert (values == values[:, :1]).all()
    counts = values[:, 0].bincount()[[0, 2, 5]]
    assert (counts - 1000).abs().max() < 120
    within = rows[values[:, 0] == 2].flatten().bincount(minlength=8)[[0, 2, 3, 4, 7]].double()
    assert (within / within.sum() - 0.2).abs().max() < 0.02


def test_factors_of_one_value_are_left_out():
    assert score(GRID, torch.cat([GRID, torch.full((len(GRID), 1), 3)], 1)) == 1.0


@pytest.mark.parametrize(
    ("codes", "factors", "options", "message"),
    [
        (GRID, GRID, {"num_votes": 0}, "at least 1 votes, got 0"),
        (GRID, GRID, {"group_size": 1}, "at least 2 examples in a group, got 1"),
        (GRID / 0, GRID, {}, "aren't all finite"),
        (GRID, torch.ones_like(GRID), {}, "differ in some factor"),
    ],
)
def test_what_has_no_score_is_told(codes, factors, options, message):
    with pytest.raises(UserError, match=message):
        score(codes, factors, **options)
