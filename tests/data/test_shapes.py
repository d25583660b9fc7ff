"""Pictures of known factors: each combination once, where and how its factors say."""

import math

import pytest
import torch

from lit_gen.data.shapes import Shapes, combinations, draw
from lit_gen.errors import UserError

SMALL = {"num_sizes": 2, "num_angles": 3, "num_positions": 4, "num_train": 200, "num_validation": 38, "num_test": 50}
SIZES = (3, 5, 10, 16, 16)


@pytest.fixture(scope="module")
def data():
    return Shapes(**SMALL)


def pictures(data, split):
    batches = list(data.reference_loader(split))
    return [torch.cat(part) for part in zip(*batches, strict=True)]


def moments(x):
    """Area, centre (x, y) and covariance of each (N, 1, H, W) picture, in pixels."""
    weight = x[:, 0].double() / x[:, 0].double().sum((1, 2), keepdim=True)
    place = torch.arange(x.shape[-1]) + 0.5
    down, right = torch.meshgrid(place.double(), place.double(), indexing="ij")
    centre = torch.stack([(weight * right).sum((1, 2)), (weight * down).sum((1, 2))], 1)
    dx, dy = right - centre[:, 0, None, None], down - centre[:, 1, None, None]
    spread = [(weight * product).sum((1, 2)) for product in (dx * dx, dx * dy, dy * dy)]
    return x[:, 0].double().sum((1, 2)), centre, torch.stack(spread, 1)


def test_every_combination_is_in_one_split_once(data):
    shown = torch.cat([data.factors(split) for split in ("train", "val", "test")])
    assert len(shown) == math.prod(data.factor_sizes) == 288
    assert torch.equal(shown.unique(dim=0), combinations(torch.arange(288), data.factor_sizes))
    assert [data.num_examples(split) for split in ("train", "val", "test")] == [200, 38, 50]
    assert shown.max(0).values.tolist() == [size - 1 for size in data.factor_sizes]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_factors_are_those_of_the_pictures_handed_out(data, split):
    x, label, index = pictures(data, split)
    factors = data.factors(split, index)
    drawn = draw(factors, data.factor_sizes, (32, 32))
    assert torch.equal(x.mul(255).round().to(torch.uint8), drawn)
    assert torch.equal(label, factors[:, 0])
    assert torch.equal(data.factors(split, index[:5].flip(0)), factors[:5].flip(0))
    assert len(data.factor_names) == factors.shape[1] == 5 and data.num_classes == 3


def test_a_few_labels_keep_the_factors_with_their_pictures():
    data = Shapes(**SMALL, num_labels=30)
    x, label, index = pictures(data, "train")
    assert len(x) == 30 and label.bincount().tolist() == [10, 10, 10]
    assert torch.equal(data.factors("train", index)[:, 0], label)


def test_factors_move_turn_and_scale_the_shape_as_they_say():
    middle = [4, 2, 7, 8]
    for shape in range(3):
        for axis, factor in ((0, 3), (1, 4)):
            factors = torch.tensor([[shape, *middle]]).repeat(16, 1)
            factors[:, factor] = torch.arange(16)
            areas, centres, _ = moments(draw(factors, SIZES, (64, 64), 4))
            torch.testing.assert_close(areas, areas[:1].expand(16), rtol=0.01, atol=0)  # never cut off
            steps = centres[:, axis].diff()
            torch.testing.assert_close(steps, torch.full((15,), 32 / 15).double(), rtol=0, atol=0.05)
            torch.testing.assert_close(centres[:, 1 - axis], centres[:1, 1 - axis].expand(16), rtol=0, atol=0.05)
        factors = torch.tensor([[shape, *middle]]).repeat(5, 1)
        factors[:, 1] = torch.arange(5)
        sides = moments(draw(factors, SIZES, (64, 64), 4))[0].sqrt()
        torch.testing.assert_close(sides / sides[4], torch.linspace(0.6, 1, 5).double(), rtol=0.02, atol=0)
    ellipse = torch.tensor([[1, *middle]]).repeat(10, 1)
    ellipse[:, 2] = torch.arange(10)
    xx, xy, yy = moments(draw(ellipse, SIZES, (64, 64), 4))[2].T
    angle = torch.atan2(2 * xy, xx - yy).div(2).rad2deg()
    torch.testing.assert_close(angle, torch.arange(10).double() * 9, rtol=0, atol=0.5)


def test_the_shapes_are_what_they_are_called():
    """By area, in units of the radius squared: 1.4^2, pi / 2, and the heart's 3.66 / 1.25^2."""
    x = draw(torch.tensor([[s, 4, 0, 1, 1] for s in range(3)]), (3, 5, 10, 3, 3), (128, 128), 4)
    area = moments(x)[0] / 255 / 32**2
    torch.testing.assert_close(area, torch.tensor([1.96, math.pi / 2, 2.345]).double(), rtol=0.01, atol=0)
    square, ellipse, heart = x[:, 0]
    for shape in (square, ellipse, heart):
        assert torch.equal(shape, shape.flip(1))
    assert torch.equal(ellipse, ellipse.flip(0)) and torch.equal(square, square.T)
    assert heart[88:96].sum() < heart[39:47].sum() / 2  # its point is below


def test_no_two_combinations_look_alike_where_edges_are_grey():
    factors = combinations(torch.arange(math.prod(SIZES)), SIZES)
    factors = factors[(factors[:, 3] % 5 == 2) & (factors[:, 4] % 5 == 2)]
    x = draw(factors, SIZES, (32, 32), 2)
    assert len(x.flatten(1).unique(dim=0)) == len(factors)
    assert set(draw(factors[::50], SIZES, (32, 32)).unique().tolist()) == {0, 255}


def test_splits_are_named_by_their_seed(data):
    assert data.fingerprint("test") == Shapes(**SMALL).fingerprint("test")
    assert data.fingerprint("test") != Shapes(**SMALL, split_seed=1).fingerprint("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_angles": 0}, "num_angles must be at least 1, got 0"),
        ({"num_train": 201}, "make 289 pictures, but the factors have 288 combinations"),
        ({"image_shape": (3, 32, 32)}, r"one channel: .* not \[3, 32, 32\]"),
        ({"num_test": 0}, "num_test must be at least 1"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as error:
        Shapes(**(SMALL | options))
    assert "\n" not in str(error.value)
