"""Neighbours, votes and precision against scikit-learn and by brute force."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from lit_gen.errors import UserError
from lit_gen.metrics.nearest_neighbours import majority, nearest_neighbours, precision


def points(count: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_neighbours_are_scikit_learns(distance, offset):
    queries, reference = points(50, 7, 0) + offset, points(300, 7, 1) + offset
    found = nearest_neighbours(queries, reference, 9, distance, chunk_size=16)
    search = NearestNeighbors(n_neighbors=9, metric=distance, algorithm="brute").fit(reference.double().numpy())
    expected_distance, expected = search.kneighbors(queries.double().numpy())
    assert (found.index.numpy() == expected).all()  # also of angles of 1e-3
    np.testing.assert_allclose(found.distance, expected_distance, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1.0, 1e-2])
def test_neighbours_within_groups_that_lie_far_apart(spread, dtype):
    """Single precision's product knows nothing of distances within a group: sixty are equally near to it."""
    ends = torch.tensor([-1e5, 1e5]).double()[:, None, None]
    queries = (points(2 * 20, 5, 0).view(2, 20, 5).double() * spread + ends).flatten(0, 1).to(dtype)
    reference = (points(2 * 60, 5, 1).view(2, 60, 5).double() * spread + ends).flatten(0, 1).to(dtype)
    found = nearest_neighbours(queries, reference, 3, chunk_size=7)
    distance = (queries.double()[:, None] - reference.double()).square().sum(2).sqrt()
    expected = distance.sort(dim=1, stable=True)
    assert torch.equal(found.index, expected.indices[:, :3])
    torch.testing.assert_close(found.distance, expected.values[:, :3], rtol=1e-12, atol=0)


def test_small_angles_are_told_apart():
    """1 - cos of a millionth of a radian is 5e-13, which a cosine in double precision has three digits of."""
    angles = torch.tensor([3e-6, 1e-6, 2e-6, 4e-6]).double()
    reference = torch.stack([angles.cos(), angles.sin()], 1)
    found = nearest_neighbours(torch.tensor([[2.0, 0.0]]).double(), reference, 4, "cosine")
    assert found.index.tolist() == [[1, 2, 0, 3]]
    expected = 2 * (torch.tensor([1e-6, 2e-6, 3e-6, 4e-6]).double() / 2).sin().square()
    torch.testing.assert_close(found.distance[0], expected, rtol=1e-9, atol=0)


def test_chunks_make_no_difference():
    queries, reference = points(33, 5, 2), points(90, 5, 3)
    whole = nearest_neighbours(queries, reference, 4, chunk_size=100)
    for chunk_size in (1, 7, 33):
        found = nearest_neighbours(queries, reference, 4, chunk_size=chunk_size)
        assert torch.equal(found.index, whole.index) and torch.equal(found.distance, whole.distance)


def test_what_single_precision_cannot_tell_apart_is_told_in_double():
    """Six points a millionth apart, and others so far that the squares about their mean round that off."""
    near = torch.arange(6, 0, -1)[:, None] * 1e-6  # the nearest is the last of them
    reference = torch.cat([near, torch.full((20, 1), 100.0)])
    found = nearest_neighbours(torch.zeros(1, 1), reference, 2)
    assert found.index.tolist() == [[5, 4]]
    torch.testing.assert_close(found.distance, torch.tensor([[1e-6, 2e-6]]).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_of_equally_near_points_those_of_the_lower_rows(distance):
    reference = torch.cat([points(1, 3, 4).expand(50, 3), points(1, 3, 5).expand(50, 3)])
    reference = reference[torch.arange(100).view(2, 50).T.flatten()]  # the two by turns
    found = nearest_neighbours(reference[:2], reference, 5, distance)
    assert found.index.tolist() == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    torch.testing.assert_close(found.distance, torch.zeros(2, 5, dtype=torch.float64), atol=1e-6, rtol=0)
    same = torch.ones(40, 2)
    assert nearest_neighbours(same[:3], same, 40, distance).index.tolist() == [list(range(40))] * 3


def test_a_point_at_the_origin_is_at_a_right_angle_to_all():
    reference = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    found = nearest_neighbours(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), reference, 4, "cosine")
    assert found.index.tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]
    expected = torch.tensor([[0.0, 1 - 0.5**0.5, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    torch.testing.assert_close(found.distance.float(), expected, atol=1e-6, rtol=0)


def test_votes_are_scikit_learns():
    digits = load_digits()
    x, label = torch.from_numpy(digits.data).float(), torch.from_numpy(digits.target)
    for k in (1, 4, 15):
        found = nearest_neighbours(x[1200:], x[:1200], k)
        expected = KNeighborsClassifier(k, algorithm="brute").fit(x[:1200].numpy(), label[:1200].numpy())
        agreement = majority(label[found.index], 10).numpy() == expected.predict(x[1200:].numpy())
        # Whole grey levels give equal distances, of which scikit-learn takes any: a vote may hang on that.
        assert agreement.mean() > 0.995
    jittered = x + 1e-3 * points(len(x), 64, 6)
    found = nearest_neighbours(jittered[1200:], jittered[:1200], 4)
    expected = KNeighborsClassifier(4, algorithm="brute").fit(jittered[:1200].double().numpy(), label[:1200].numpy())
    assert (majority(label[found.index], 10).numpy() == expected.predict(jittered[1200:].double().numpy())).all()


def test_votes_and_precision_by_hand():
    labels = torch.tensor([[2, 2, 1], [0, 1, 2], [1, 0, 1]])
    assert majority(labels, 3).tolist() == [2, 0, 1]
    assert precision(labels, torch.tensor([2, 2, 0])).tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3])


def test_precision_by_brute_force():
    queries, reference = points(20, 4, 7), points(60, 4, 8)
    wanted, labels = torch.arange(20) % 3, torch.arange(60) % 3
    found = nearest_neighbours(queries, reference, 6)
    value = precision(labels[found.index], wanted).mean()
    total = 0
    for query, label in zip(queries, wanted, strict=True):
        order = sorted(range(60), key=lambda row: float((reference[row] - query).norm()))
        total += sum(int(labels[row]) == int(label) for row in order[:6]) / 6
    assert float(value) == pytest.approx(total / 20)


def test_what_is_refused():
    x = points(5, 2, 9)
    for k in (0, 6, -1):
        with pytest.raises(UserError, match=f"from 1 to the 5 points there are, got {k}"):
            nearest_neighbours(x, x, k)
    with pytest.raises(UserError, match="'manhattan'"):
        nearest_neighbours(x, x, 1, "manhattan")
    with pytest.raises(UserError, match=r"queries .* aren't all finite"):
        nearest_neighbours(x * float("nan"), x, 1)
