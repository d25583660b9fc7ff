"""scikit-learn's bundled digits: real data with no download."""

import numpy as np
import torch

from lit_gen.data.base import Arrays, Part
from lit_gen.data.images import ImageData

_NUM_TEST = 500


class Digits(ImageData):
    """1,797 handwritten digits, 8 x 8, 17 grey levels, of ten classes: part of the UCI "optical recognition" set.

    Source: https://archive.ics.uci.edu/dataset/80. The grey level v in 0..16 becomes the byte round(v * 255 / 16). The
    test split is 500 images spaced evenly through the set, always the same; the other 1,297 are for training, of which
    ``num_validation`` are held out.

    Args:
        image_shape: (1, height, width).
        num_validation: the default leaves 1,100 images to train on.
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 8, 8), num_validation: int = 197, **kwargs) -> None:
        super().__init__(image_shape=image_shape, num_validation=num_validation, **kwargs)

    def read(self) -> Arrays:
        """From scikit-learn's own package."""
        from sklearn.datasets import load_digits  # takes a second to import, and only this needs it

        digits = load_digits()
        x = torch.from_numpy(np.round(digits.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
        label = torch.from_numpy(digits.target.astype(np.int64))
        held_out = torch.zeros(len(x), dtype=torch.bool)
        held_out[torch.arange(_NUM_TEST) * len(x) // _NUM_TEST] = True
        origin = "scikit-learn's digits"
        return Arrays(
            train=Part(x[~held_out], label[~held_out], origin), test=Part(x[held_out], label[held_out], origin)
        )
