"""Finding a grid of images in a picture that has a title and labels around it."""

from pathlib import Path

import numpy as np
from PIL import Image


def grid_in(picture: Path | Image.Image, width: int, height: int) -> np.ndarray:
    """The grid of a saved picture, (height, width) or (height, width, 3): it ends at the lower edge.

    To its right there may be a margin, where a title was wider than the picture: columns of white to the very top of
    the grid, which a grid's own last columns are only as far as its padding goes.
    """
    pixels = np.asarray(Image.open(picture) if isinstance(picture, Path) else picture)[-height:]
    inked = (pixels != 255).reshape(height, pixels.shape[1], -1).any((0, 2)).nonzero()[0]
    padding = 2
    right = min(int(inked[-1]) + 1 + padding, pixels.shape[1])
    return pixels[:, right - width : right]


def shows(picture: Path | Image.Image, grid: Image.Image | np.ndarray, tolerance: int = 0) -> bool:
    """Whether the picture ends, at its lower edge, in the whole grid, pixel for pixel but for ``tolerance`` levels."""
    pixels = np.asarray(Image.open(picture) if isinstance(picture, Path) else picture).astype(int)
    wanted = np.asarray(grid).astype(int)
    assert pixels.ndim == wanted.ndim, "grey or coloured"
    height, width = wanted.shape[:2]
    below = pixels[-height:]
    places = range(pixels.shape[1] - width + 1)
    return below.shape[0] == height and any(
        (abs(below[:, left : left + width] - wanted) <= tolerance).all() for left in places
    )


def place_of(picture: np.ndarray, patch: np.ndarray) -> tuple[int, int]:
    """The first place, (top, left), where a grey patch lies in a grey picture, pixel for pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, patch.shape)
    candidates = np.argwhere(windows[..., 0, 0] == patch[0, 0])
    (place, *_) = [tuple(map(int, at)) for at in candidates if (windows[tuple(at)] == patch).all()]
    return place
