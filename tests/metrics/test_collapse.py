"""Signs of collapse on draws of known densities and of digits: what is healthy, and what is not."""

import math

import pytest
import torch

from lit_gen.data.digits import Digits
from lit_gen.data.toy import Grid, Ring, TwoMoons
from lit_gen.metrics.collapse import Cells, relative_diversity

COUNT = 600


def draw(data, seed):
    return data.sample(COUNT, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("data", [Ring(), Grid(), TwoMoons()], ids=lambda data: type(data).__name__)
@pytest.mark.parametrize("seed", range(5))
def test_draws_of_the_density_itself(data, seed):
    real, fake = draw(data, 2 * seed), draw(data, 2 * seed + 1)
    assert 0.8 < relative_diversity(real, fake) < 1.25
    assert Cells(real, 20).left_out(fake) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_held_out_digits(seed):
    x = torch.cat([batch.x for batch in Digits().reference_loader("train")])
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    assert 0.9 < relative_diversity(x[:500], x[500:1000]) < 1.1
    assert Cells(x[:500], 20).left_out(x[500:1000]) < 0.1


def test_diversity_by_hand():
    line = torch.arange(10.0)[:, None]
    assert relative_diversity(line, 0.5 * line) == pytest.approx(0.5)
    assert relative_diversity(line, line[:1].expand(10, 1)) == 0
    assert math.isnan(relative_diversity(line[:1].expand(10, 1), line))


def test_cells_of_separate_clusters_are_the_clusters():
    corners = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    real = corners.repeat_interleave(torch.tensor([10, 20, 30, 40]), 0) + 0.1 * torch.rand(100, 2)
    cells = Cells(real, 4)
    assert sorted(cells.share.tolist()) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert cells.left_out(real) == 0
    # Only in the corner of 40, and far beyond it: the others are left out.
    assert cells.left_out(torch.full((50, 2), 20.0)) == pytest.approx(0.6)
    # A tenth of the fair share of a cell is enough, less is not.
    fake = torch.cat([corners[2:3].expand(97, 2), corners[3:4].expand(3, 2)])
    assert cells.left_out(fake) == pytest.approx(0.7)
    assert cells.left_out(torch.cat([fake[2:], corners[[3, 3]]])) == pytest.approx(0.3)


def test_cells_do_not_depend_on_where_the_examples_lie():
    """By differences in double precision: about 0 an expanded square of single precision knows no units at 3000."""
    real, fake = torch.randn(400, 8).double(), torch.randn(400, 8).double()
    for offset in (0.0, 3000.0):
        cells = Cells((real + offset).float(), 30)
        x = (fake + offset).float()
        nearest = (x.double()[:, None] - cells.centres.double()).square().sum(2).argmin(1)
        assert (cells.of(x) == nearest).float().mean() > 0.995
        assert cells.centres.sub(offset).abs().max() < 5


@pytest.mark.parametrize("num_modes,least", [(1, 0.8), (2, 0.7), (4, 0.45)])
def test_modes_that_are_left_out(num_modes, least):
    ring = Ring()
    fake = ring.modes[torch.arange(COUNT) % num_modes] + 0.01 * torch.randn(COUNT, 2)
    assert Cells(draw(ring, 0), 20).left_out(fake) > least
