"""Base of the data modules of images: every image handed out at one size."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_gen.data.base import Arrays, InMemoryData, Part
from lit_gen.data.description import Range, handed_out, value_range
from lit_gen.errors import UserError

DARK = 16 / 255
"""Images none of whose pixels is above this, where 1 is white, are taken for numbers in another unit: masks of 0 and 1,
labels, 4 bits."""


class ImageData(InMemoryData):
    """Images of a fixed size, pixels in [0, 1] when they are handed out.

    Args:
        image_shape: (channels, height, width) that images are handed out at; others are resized.
        **kwargs: as in ``InMemoryData``.

    Raises:
        UserError: a shape that isn't one of images; in ``setup``, values in another unit, as far as they show it.
    """

    max_value: float | None = None
    """The stored value that is white, where the config says it."""

    def __init__(self, image_shape: tuple[int, int, int], **kwargs) -> None:
        if len(image_shape) != 3:
            raise UserError(
                f"{type(self).__name__}: image_shape is [channels, height, width], not {list(image_shape)}."
            )
        super().__init__(event_shape=image_shape, **kwargs)
        self.image_shape = self.event_shape

    def _fit(self, part: Part) -> Part:
        """``part`` at ``image_shape``.

        Raises:
            UserError: another number of channels, or floats outside [0, 1].
        """
        x, _, origin = part
        channels, height, width = self.image_shape
        if x.dim() != 4 or x.shape[1] != channels:
            raise UserError(
                f"{origin} holds images of (channels, height, width) = {list(x.shape[1:])}, "
                f"but image_shape {list(self.image_shape)} asks for {channels} channels."
            )
        values = value_range(x)
        if x.is_floating_point() and not 0 <= values.least <= values.greatest <= 1:
            raise UserError(
                f"{origin} holds values from {values.least:g} to {values.greatest:g}: float images must be in [0, 1], "
                f"all others uint8.{self._cure(values)}"
            )
        self.notes.saw(origin, handed_out(values, x.dtype).greatest)
        return part if x.shape[2:] == (height, width) else part._replace(x=resize(x, height, width))

    def _cure(self, values: Range) -> str:
        """What to do about values in another unit; empty where there is nothing to say."""
        if -1 <= values.least < 0 and values.greatest <= 1:
            return " Save (x + 1) / 2."
        if "max_value" in vars(self) and values.least >= 0:
            return f" Say by max_value which value is white ({values.greatest:g} is the greatest)."
        return ""

    def _check_values(self, arrays: Arrays) -> None:
        """Refuse images that are all but black, unless the config says by ``max_value`` which value is white.

        Raises:
            UserError: no pixel of a file or folder is above ``DARK``, but some above 0.
        """
        for part in arrays:
            greatest = self.notes.brightest[part.origin]
            if self.max_value is None and 0 < greatest <= DARK:
                white = 255 if part.x.dtype == torch.uint8 else 1
                value = f"{greatest * white:g}"
                cure = (
                    f"say by max_value which value is white, {value} or (if they are so dark) {white}"
                    if "max_value" in vars(self)
                    else f"multiply them, so that white is {white}"
                )
                raise UserError(f"{part.origin} holds no value above {value}, where {white} is white: {cure}.")


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) -> (N, C, height, width) of the same type, bilinear with antialiasing; uint8 is rounded."""
    out = torch.empty(*images.shape[:2], height, width, dtype=images.dtype)
    for start in range(0, len(images), 1000):
        chunk = images[start : start + 1000].to(torch.float32)
        chunk = F.interpolate(chunk, size=(height, width), mode="bilinear", antialias=True)
        chunk = chunk if images.is_floating_point() else chunk.round_().clamp_(0, 255)
        out[start : start + 1000] = chunk.to(images.dtype)
    return out
