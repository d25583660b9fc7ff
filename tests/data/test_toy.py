"""Toy densities: exact log-probabilities that integrate to one and that the samplers obey."""

import math

import pytest
import torch
from sklearn.datasets import make_moons

from lit_gen.data.toy import Dice, GaussianMixture, Grid, PointMasses, Ring, TwoMoons
from lit_gen.errors import UserError

SMALL = {"num_train": 50, "num_validation": 20, "num_test": 30}
DENSITIES = [
    # and half the width of a square that holds all of it, and the spacing of points that resolve it
    (Ring(std=0.05, **SMALL), 1.5, 0.025),
    (Grid(num_per_side=3, spacing=0.6, std=0.05, **SMALL), 1.5, 0.025),
    (GaussianMixture([[0.0, 0.5], [-0.5, -0.2]], [0.1, 0.2], [3, 1], **SMALL), 2.0, 0.05),
    (TwoMoons(noise=0.1, **SMALL), 3.0, 0.05),
]


@pytest.mark.parametrize("density,half_width,step", DENSITIES)
def test_log_prob_integrates_to_one(density, half_width, step):
    axis = torch.arange(-half_width, half_width, step, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    mass = sum(density.log_prob(part).exp().sum() for part in points.split(2000)) * step**2
    assert abs(float(mass) - 1) < 1e-6


@pytest.mark.parametrize("density,half_width,step", DENSITIES)
def test_samples_obey_the_density(density, half_width, step):
    """The mean of log p over samples is minus the entropy, and every quarter plane has its mass, within 5 sigma."""
    count = 4000
    axis = torch.arange(-half_width, half_width, step, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    log_p = torch.cat([density.log_prob(part) for part in points.split(2000)])
    p = log_p.exp() * step**2
    x = density.sample(count, torch.Generator().manual_seed(3))
    assert x.shape == (count, 2) and x.dtype == torch.float32

    def check(values, expected_of):
        mean = float((p * expected_of).sum())
        deviation = math.sqrt(max(float((p * (expected_of - mean) ** 2).sum()), 1e-12) / count)
        assert abs(float(values.double().mean()) - mean) < 5 * deviation + 1e-3

    check(density.log_prob(x), log_p)
    for k in range(2):
        check(x[:, k], points[:, k])
        check(x[:, k] ** 2, points[:, k] ** 2)
    check(x[:, 0] * x[:, 1], points[:, 0] * points[:, 1])


def test_ring_and_grid_are_those_of_the_papers():
    ring, grid = Ring(), Grid()
    assert ring.modes.shape == (8, 2) and ring.std.tolist() == pytest.approx([0.01] * 8)
    assert torch.allclose(ring.modes.norm(dim=1), torch.ones(8))
    assert torch.pdist(ring.modes).min().item() == pytest.approx(2 * math.sin(math.pi / 8), rel=1e-5)
    assert grid.modes.shape == (25, 2) and grid.std.tolist() == pytest.approx([0.05] * 25)
    assert {tuple(mode) for mode in grid.modes.tolist()} == {(a, b) for a in range(-4, 5, 2) for b in range(-4, 5, 2)}
    assert ring.num_examples("train") == 100_000


def test_mixture_meets_torch_distributions():
    mixture = GaussianMixture([[0.0, 1.0], [2.0, -1.0]], [0.5, 2.0], [1, 3])
    components = torch.distributions.Independent(
        torch.distributions.Normal(mixture.modes.double(), mixture.std.double()[:, None].expand(2, 2)), 1
    )
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([0.25, 0.75]).double()), components
    )
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double() * 3
    assert torch.allclose(mixture.log_prob(x), reference.log_prob(x), rtol=1e-12)


def test_two_moons_lie_where_scikit_learn_puts_them():
    """Noise-free points of the reference are on the ridge: far denser than points moved off it by half a unit."""
    moons = TwoMoons(noise=0.05)
    ridge = torch.from_numpy(make_moons(200, noise=None)[0])
    inner = moons.log_prob(ridge)
    assert inner.min() > moons.log_prob(ridge + torch.tensor([0.0, 5.0])).max() + 100
    # Along an arc of length pi, p = 1/2 * 1/pi * N(0; 0, noise) away from the ends; a curve changes it by O(noise^2).
    expected = math.log(0.5 / math.pi / (0.05 * math.sqrt(2 * math.pi)))
    assert abs(inner.median().item() - expected) < 0.01
    assert moons.modes is None and moons.std is None


def test_splits_are_drawn_from_streams_of_their_own_and_stay():
    data, again, other = (Ring(data_seed=seed, **SMALL) for seed in (0, 0, 1))
    assert [data.num_examples(s) for s in ("train", "val", "test")] == [50, 20, 30]
    splits = {data.fingerprint(s) for s in ("train", "val", "test")}
    assert len(splits) == 3 and splits == {again.fingerprint(s) for s in ("train", "val", "test")}
    assert other.fingerprint("test") not in splits
    assert data.num_classes is None and next(iter(data.val_dataloader())).label is None


def test_what_does_not_fit_is_refused():
    for make, message in (
        (lambda: GaussianMixture([], 1.0), "every mean"),
        (lambda: GaussianMixture([[0.0, 0.0, 0.0]], 1.0), r"shape \[2\]"),
        (lambda: GaussianMixture([[0.0, 0.0]], [1.0, 2.0]), "1 means need 1 stds"),
        (lambda: GaussianMixture([[0.0, 0.0]], 0.0), "stds must be positive"),
        (lambda: GaussianMixture([[0.0, 0.0]], 1.0, [-1.0]), "weights"),
        (lambda: TwoMoons(noise=0.0), "noise must be at least"),
        (lambda: Ring(num_train=0), "num_train"),
        (lambda: Ring(binarization="fixed"), "binarization must be none"),
    ):
        with pytest.raises(UserError, match=message):
            make()


DISCRETE = [
    PointMasses([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]], [1, 2, 5], **SMALL),
    Dice(**SMALL),
    Dice(num_faces=4, num_dice=2, weights=[1, 2, 3, 4], **SMALL),
]


@pytest.mark.parametrize("data", DISCRETE)
def test_probabilities_sum_to_one_and_samples_obey_them(data):
    """Shares, means and products of coordinates, within 5 sigma."""
    count = 4000
    p = data.log_prob(data.points).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    x = data.sample(count, torch.Generator().manual_seed(3))
    assert x.shape == (count, *data.event_shape) and x.dtype == torch.float32
    shares = (x[:, None] == data.points).all(-1).double().mean(0)
    assert float(shares.sum()) == 1
    assert ((shares - p).abs() < 5 * (p * (1 - p) / count).sqrt()).all()
    points, x = data.points.double(), x.double()
    for of_points, of_samples in (
        (points, x),
        (torch.einsum("ka,kb->kab", points, points).flatten(1), torch.einsum("ka,kb->kab", x, x).flatten(1)),
    ):
        mean = (p[:, None] * of_points).sum(0)
        deviation = ((p[:, None] * (of_points - mean) ** 2).sum(0) / count).sqrt()
        assert ((of_samples.mean(0) - mean).abs() < 5 * deviation).all()


def test_dice_are_independent_and_show_what_they_can():
    fair = Dice(**SMALL)
    assert fair.event_shape == (1,) and fair.points.flatten().tolist() == [1, 2, 3, 4, 5, 6]
    assert fair.log_prob(torch.tensor([[1.0], [6.0], [0.0], [2.5]])).tolist() == pytest.approx(
        [-math.log(6), -math.log(6), -math.inf, -math.inf]
    )
    two = Dice(num_faces=4, num_dice=2, weights=[1, 2, 3, 4], **SMALL)
    assert two.event_shape == (2,)
    assert float(two.log_prob(torch.tensor([[2.0, 4.0]])).exp()) == pytest.approx(0.2 * 0.4)


def test_what_are_no_point_masses_is_refused():
    for make, message in (
        (lambda: PointMasses([]), "every point"),
        (lambda: PointMasses([[0.0]]), r"shape \[2\]"),
        (lambda: PointMasses([[0.0, 0.0]], [1, 2]), "1 points need 1 weights"),
        (lambda: PointMasses([[0.0, 0.0]], [0]), "not all 0"),
        (lambda: PointMasses([[0.0, 0.0], [0.0, 0.0]]), "must differ"),
        (lambda: Dice(num_faces=0), "at least 1"),
        (lambda: Dice(weights=[1.0]), "6 faces need as many weights"),
        (lambda: Dice(event_shape=(2,)), r"shape \[2\]"),
    ):
        with pytest.raises(UserError, match=message):
            make()
