"""Precision, recall, density and coverage against torch-fidelity, brute force and what must hold."""

import math
import sys

import pytest
import torch
from torch_fidelity.metric_prc import calculate_precision_recall_full

from lit_gen.errors import UserError
from lit_gen.metrics.precision_recall import PrecisionRecall, in_balls, neighbour_radii, precision_recall


def points(count: int, dim: int = 5, seed: int = 0, shift: float = 0.0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + shift


def by_brute_force(real, fake, k, k_density):
    real, fake = real.double().tolist(), fake.double().tolist()

    def radii(of, k):
        return [sorted(math.dist(a, b) for j, b in enumerate(of) if j != i)[k - 1] for i, a in enumerate(of)]

    def inside(queries, of, k):
        return [[math.dist(q, p) <= r for p, r in zip(of, radii(of, k), strict=True)] for q in queries]

    dense = inside(fake, real, k_density)
    return (
        sum(any(row) for row in inside(fake, real, k)) / len(fake),
        sum(any(row) for row in inside(real, fake, k)) / len(real),
        sum(sum(row) for row in dense) / (k_density * len(fake)),
        sum(any(column) for column in zip(*dense, strict=True)) / len(real),
    )


@pytest.mark.parametrize("k,k_density,chunk_size", [(3, 5, 1024), (1, 2, 7), (4, 4, 1)])
def test_meets_brute_force_at_any_chunk_size(k, k_density, chunk_size):
    real, fake = points(60), points(45, seed=1, shift=0.5)
    found = precision_recall(real, fake, k, k_density, chunk_size)
    assert found == pytest.approx(by_brute_force(real, fake, k, k_density), abs=1e-12)
    assert 0 < found.precision < 1 and 0 < found.recall < 1 and 0 < found.coverage < 1


@pytest.mark.parametrize("distance", [0.0, 1e3, 1e6])
def test_ties_are_ties_where_balls_are_small_against_the_norm(distance):
    """Two far groups on a grid of 2^-10, where many neighbours are equally near: against differences, exact there."""
    generator = torch.Generator().manual_seed(0)

    def group(count, sign):
        return torch.randint(0, 6, (count, 3), generator=generator).double() * 2.0**-10 + sign * distance

    real = torch.cat([group(40, 1), group(40, -1)])
    fake = torch.cat([group(30, 1), group(30, -1)])
    assert precision_recall(real, fake, 3, 5, 16) == pytest.approx(by_brute_force(real, fake, 3, 5), abs=1e-12)
    assert precision_recall(real, fake, 1, 2) == pytest.approx(by_brute_force(real, fake, 1, 2), abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_radii_of_far_groups_are_those_of_differences(k):
    points_of = torch.cat([points(50, 4, 0) * 1e-3 + 1e4, points(50, 4, 1) * 1e-3 - 1e4]).double()
    distance = (points_of[:, None] - points_of).square().sum(2).sqrt().fill_diagonal_(torch.inf)
    torch.testing.assert_close(neighbour_radii(points_of, k), distance.sort(1).values[:, k - 1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_meets_torch_fidelity(k):
    real, fake = points(700, dim=12), points(600, dim=12, seed=1) * 0.9 + 0.2
    expected = calculate_precision_recall_full(fake.double(), real.double(), k)
    found = precision_recall(real, fake, k, chunk_size=128)
    assert (found.precision, found.recall) == pytest.approx(expected, abs=1e-6)
    assert 0.1 < found.recall < 0.99


def test_equal_distributions_have_the_expected_density_and_coverage():
    """E density = 1 and E coverage = 1 - 2^-k for many points (Naeem et al., Section 3.2), in any dimension."""
    for dim in (1, 3):
        results = [precision_recall(points(2000, dim, 2 * n), points(2000, dim, 2 * n + 1), 3, 5) for n in range(3)]
        assert sum(r.density for r in results) / 3 == pytest.approx(1, abs=0.03)
        assert sum(r.coverage for r in results) / 3 == pytest.approx(1 - 2**-5, abs=0.01)


def test_the_same_set_and_sets_far_apart():
    x = points(50) + 1000  # far from the origin, where squares lose digits
    same = precision_recall(x, x.clone())
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert precision_recall(x, x + 100) == (0, 0, 0, 0)
    moved = precision_recall(x - 1000, x[:30] - 1000 + 0.01)
    assert precision_recall(x, x[:30] + 0.01) == pytest.approx(moved, abs=0.05)


def test_repeated_samples_have_balls_of_radius_zero():
    real = points(40)
    collapsed = real[:1].expand(40, -1)
    assert neighbour_radii(collapsed, 3).tolist() == [0.0] * 40
    found = precision_recall(real, collapsed)
    assert found.precision == 1 and found.recall == pytest.approx(1 / 40) and found.coverage < 0.5


def test_balls_are_closed():
    line = torch.tensor([[0.0], [1.0], [3.0]])
    assert neighbour_radii(line, 1).tolist() == [1, 1, 2]
    assert neighbour_radii(line, 2).tolist() == [3, 2, 3]
    held = in_balls(torch.tensor([[-1.0], [2.0], [9.0]]), line, torch.tensor([1.0, 1.0, 2.0]))
    assert held.num_balls.tolist() == [1, 2, 0] and held.hit.tolist() == [True, True, True]


def test_memory_is_that_of_a_chunk(monkeypatch):
    room = sys.modules[precision_recall.__module__]
    sizes, distances = [], room._squared_distances

    def spy(a, b):
        sizes.append(len(a))
        return distances(a, b)

    monkeypatch.setattr(room, "_squared_distances", spy)
    precision_recall(points(100), points(90), chunk_size=16)
    assert max(sizes) == 16


def test_batches_are_put_together():
    real, fake = points(64), points(50, seed=3)
    metric = PrecisionRecall(2, 3)
    for part in real.split(10):
        metric.update(part, real=True)
    for part in (*fake.split(7), fake[:0]):
        metric.update(part, real=False)
    assert metric.compute() == precision_recall(real, fake, 2, 3)
    assert set(metric._reductions) == {"real", "fake"}


def test_what_is_refused():
    with pytest.raises(UserError, match="5 points have no 5 other"):
        neighbour_radii(points(5), 5)
    with pytest.raises(UserError, match="no 0 other"):
        neighbour_radii(points(5), 0)
    with pytest.raises(UserError, match="aren't all finite"):
        precision_recall(points(9), points(9) / 0)
