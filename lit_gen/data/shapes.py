"""Pictures of one shape each, drawn from known factors: what a disentangled code should find again."""

import math

import torch
from torch import Tensor

from lit_gen.data.base import Arrays, Part
from lit_gen.data.images import ImageData
from lit_gen.data.olivetti import axis_centres
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator

SHAPES = ("square", "ellipse", "heart")

_LARGEST = 0.25  # the largest radius, in units of the picture's side
_CHUNK = 100  # pictures drawn at a time: as many as fit in a processor's cache


class Shapes(ImageData):
    """A white square, ellipse or heart on black, of each size, angle and place: every combination once.

    After dSprites, Matthey et al. (2017), https://github.com/google-deepmind/dsprites-dataset, with the same factors,
    but smaller, and with angles in a quarter turn, after which the square comes round: no two combinations look alike.
    (In 32 x 32 pixels, each black or white, 66 of the 38,400 pictures are the double of another; with grey edges or in
    64 x 64, none.) The combinations are shuffled by ``split_seed`` and cut into the splits. The label is the shape.

    Args:
        num_train: pictures to train on.
        num_validation: pictures held out for validation.
        num_test: test pictures; the three together are at most all combinations.
        num_sizes: radii, evenly spaced from 0.15 to 0.25 of the picture's side.
        num_angles: angles from 0, evenly spaced in a quarter turn.
        num_positions: places of the centre along each side, evenly spaced over the middle half, where the shape never
            leaves the picture.
        num_subpixels: a pixel is the mean of so many samples along each side: 1 makes every pixel black or white,
            more make the edges grey.
        image_shape: (1, height, width).
        split_seed: names the shuffle.
        **kwargs: as in ``InMemoryData``.

    Attributes:
        factor_names: what varies: shape, size, angle, x, y.
        factor_sizes: how many values each has.
        class_names: the shapes.

    Raises:
        UserError: a count out of range, or more pictures asked for than there are combinations.
    """

    factor_names = ("shape", "size", "angle", "x", "y")
    class_names = SHAPES

    def __init__(
        self,
        num_train: int = 29_000,
        num_validation: int = 1_400,
        num_test: int = 8_000,
        num_sizes: int = 5,
        num_angles: int = 10,
        num_positions: int = 16,
        num_subpixels: int = 1,
        image_shape: tuple[int, int, int] = (1, 32, 32),
        split_seed: int = 0,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=num_validation, split_seed=split_seed, **kwargs)
        for name, value in [
            ("num_train", num_train),
            ("num_test", num_test),
            ("num_sizes", num_sizes),
            ("num_angles", num_angles),
            ("num_positions", num_positions),
            ("num_subpixels", num_subpixels),
        ]:
            if value < 1:
                raise UserError(f"Shapes: {name} must be at least 1, got {value}.")
        if image_shape[0] != 1:
            raise UserError(f"Shapes draws in one channel: image_shape is [1, height, width], not {list(image_shape)}.")
        self.num_train = num_train
        self.num_test = num_test
        self.num_subpixels = num_subpixels
        self.factor_sizes = (len(SHAPES), num_sizes, num_angles, num_positions, num_positions)
        wanted, there = num_train + num_validation + num_test, math.prod(self.factor_sizes)
        if wanted > there:
            raise UserError(
                f"Shapes: num_train, num_validation and num_test make {wanted} pictures, but the factors have "
                f"{there} combinations: ask for fewer, or for more sizes, angles or positions."
            )

    def read(self) -> Arrays:
        """Draw the pictures, some seconds on one core."""
        train, test = self._numbers()
        return Arrays(*(self._part(combinations(number, self.factor_sizes)) for number in (train, test)))

    def factors(self, split: str, index: Tensor | None = None) -> Tensor:
        """What the pictures of a split show.

        Args:
            split: train, val or test.
            index: (B,) numbers of pictures in the split, as ``Batch.index``; None for all in order.

        Returns:
            (B, 5) int64: for each factor of ``factor_names`` the number of its value, 0 to its size - 1.
        """
        rows = self._examples(split, "none", torch.device("cpu")).rows
        number = self._numbers()[split == "test"]
        number = number if rows is None else number[rows]
        return combinations(number if index is None else number[index.to(number.device)], self.factor_sizes)

    def _numbers(self) -> tuple[Tensor, Tensor]:
        """The combinations of the training (with validation) and of the test pictures."""
        total = math.prod(self.factor_sizes)
        order = torch.randperm(total, generator=make_generator(self.split_seed, "shapes"))
        num_other = self.num_train + self.num_validation
        return order[:num_other], order[num_other : num_other + self.num_test]

    def _part(self, factors: Tensor) -> Part:
        x = torch.empty(len(factors), *self.image_shape, dtype=torch.uint8)
        for start in range(0, len(factors), _CHUNK):
            chunk = factors[start : start + _CHUNK]
            x[start : start + _CHUNK] = draw(chunk, self.factor_sizes, self.image_shape[1:], self.num_subpixels)
        return Part(x, factors[:, 0].clone(), "Shapes")


def combinations(number: Tensor, factor_sizes: tuple[int, ...]) -> Tensor:
    """(N,) numbers of combinations -> (N, F) numbers of the factors' values; the last factor varies fastest."""
    return torch.stack(torch.unravel_index(number, factor_sizes), dim=1)


def draw(factors: Tensor, factor_sizes: tuple[int, ...], size: tuple[int, int], num_subpixels: int = 1) -> Tensor:
    """(N, 5) numbers of factors' values -> (N, 1, height, width) uint8 pictures."""
    share = factors.float() / torch.tensor([max(1, count - 1) for count in factor_sizes])  # 0 to 1, ends included
    radius = 2 * _LARGEST * (0.6 + 0.4 * share[:, 1])  # in units of half a side: the picture spans -1 to 1
    angle = factors[:, 2] * (math.pi / 2 / factor_sizes[2])  # the quarter turn's end is its beginning
    across, down = (2 * share[:, 3:] - 1).mul(2 * _LARGEST).T
    rows, columns = (axis_centres(count * num_subpixels) for count in size)
    # From the picture's coordinates to the shape's own: about its centre, turned back, in units of its radius.
    dx = (columns[None, None] - across[:, None, None]) / radius[:, None, None]
    dy = (rows[None, :, None] - down[:, None, None]) / radius[:, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    inside = torch.empty(u.shape)
    for number, test in enumerate((_in_square, _in_ellipse, _in_heart)):
        chosen = factors[:, 0] == number
        inside[chosen] = test(u[chosen], v[chosen]).float()
    fine = inside.unsqueeze(1)
    grey = fine if num_subpixels == 1 else torch.nn.functional.avg_pool2d(fine, num_subpixels)
    return grey.mul(255).round().to(torch.uint8)


# Each shape lies within a circle of radius 1 about the origin; v grows downwards.


def _in_square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) <= 0.7


def _in_ellipse(u: Tensor, v: Tensor) -> Tensor:
    return u.square() + (v / 0.5).square() <= 1


def _in_heart(u: Tensor, v: Tensor) -> Tensor:
    """(a^2 + b^2 - 1)^3 <= a^2 b^3, scaled and moved to fit the circle."""
    a, b = u * 1.25, -v * 1.25 + 0.25
    squares = a.square()
    return (squares + b.square() - 1).pow(3) <= squares * b.pow(3)
