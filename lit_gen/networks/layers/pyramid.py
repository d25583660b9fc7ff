"""The ladder of resolutions that a convolutional network climbs."""

from typing import NamedTuple

from lit_gen.errors import UserError


class Pyramid(NamedTuple):
    """Square images of side ``base * 2 ** num_levels``.

    Attributes:
        base: side of the smallest feature map, in pixels.
        num_levels: how often the side is halved on the way from the image down to ``base``.
    """

    base: int
    num_levels: int


def pyramid(network: str, image_shape: tuple[int, ...], largest: int) -> Pyramid:
    """The resolutions for images of shape (C, H, W): powers of two from 8 to ``largest`` down to 4, and 28 down to 7.

    Raises:
        UserError: ``network`` (its name) cannot make or read such images.
    """
    sides = [2**n for n in range(3, largest.bit_length())]
    if len(image_shape) == 3 and image_shape[0] >= 1 and image_shape[1] == image_shape[2]:
        side = image_shape[1]
        if side == 28:
            return Pyramid(base=7, num_levels=2)
        if side in sides:
            return Pyramid(base=4, num_levels=side.bit_length() - 3)
    raise UserError(
        f"{network} works on square images (channels, side, side) with side {', '.join(map(str, sides))} or 28, "
        f"not on image_shape {tuple(image_shape)}"
    )


def halvings(network: str, image_shape: tuple[int, ...], largest: int) -> list[tuple[int, int]]:
    """Sizes (height, width) of the feature maps from an image of shape (C, H, W) down to the smallest, any H and W.

    Both sides are halved, and rounded down, for as long as both are at least 8: 64 x 64 goes down to 4 x 4, 28 x 28 to
    7 x 7, 28 x 20 to 7 x 5.

    Raises:
        UserError: a side is below 8 or above ``largest``; the message calls the asker ``network``.
    """
    if len(image_shape) != 3 or image_shape[0] < 1 or min(image_shape[1:]) < 8 or max(image_shape[1:]) > largest:
        raise UserError(
            f"{network} works on images (channels, height, width) with sides from 8 to {largest}, not on image_shape "
            f"{tuple(image_shape)}"
        )
    sizes = [(image_shape[1], image_shape[2])]
    while min(sizes[-1]) >= 8:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes
