"""Base of the data modules of images: every image handed out at one size."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_gen.data.base import InMemoryData, Part
from lit_gen.errors import UserError


class ImageData(InMemoryData):
    """Images of a fixed size, pixels in [0, 1] when they are handed out.

    Args:
        image_shape: (channels, height, width) that images are handed out at; others are resized.
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(self, image_shape: tuple[int, int, int], **kwargs) -> None:
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
        if x.is_floating_point() and not (float(x.min()) >= 0 and float(x.max()) <= 1):
            raise UserError(
                f"{origin} holds values from {float(x.min()):g} to {float(x.max()):g}: "
                "float images must be in [0, 1], all others uint8."
            )
        return part if x.shape[2:] == (height, width) else part._replace(x=resize(x, height, width))


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) -> (N, C, height, width) of the same type, bilinear with antialiasing; uint8 is rounded."""
    out = torch.empty(*images.shape[:2], height, width, dtype=images.dtype)
    for start in range(0, len(images), 1000):
        chunk = images[start : start + 1000].to(torch.float32)
        chunk = F.interpolate(chunk, size=(height, width), mode="bilinear", antialias=True)
        chunk = chunk if images.is_floating_point() else chunk.round_().clamp_(0, 255)
        out[start : start + 1000] = chunk.to(images.dtype)
    return out
