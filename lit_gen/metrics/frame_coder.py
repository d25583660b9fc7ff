"""An image as a file of its frames' codes, and back: by any model with a code, and by JPEG for scale."""

import io
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_gen.data.frames import frames_of, image_of
from lit_gen.metrics.code_quantization import UniformQuantizer
from lit_gen.metrics.entropy_coding import pack, unpack
from lit_gen.protocols import Codes

_HEADER = struct.Struct(">BHH")  # bits a number, rows of frames, columns of frames


@dataclass(frozen=True)
class FrameCoder:
    """Codes images frame by frame, rounds the codes and packs them.

    A file is 5 bytes of header (bits a number, rows and columns of frames) and the packed codes. Whoever decodes must
    also have the model and the quantizer's range: they are the same for every image and count for none.

    Attributes:
        model: its ``encode`` takes (N, 1, h, w) in [0, 1], its ``decode`` gives the like.
        quantizer: rounds its codes; None leaves them as they are, for a picture: then there is no file.
        frame: (h, w).
        device: where the model is.
    """

    model: Codes
    quantizer: UniformQuantizer | None
    frame: tuple[int, int]
    device: torch.device | str = "cpu"

    def codes(self, image: Tensor) -> Tensor:
        """(H, W) uint8 -> (N, Z) codes of its frames, not rounded."""
        return self.model.encode(frames_of(image, self.frame).to(self.device, torch.get_default_dtype()) / 255)

    def compress(self, image: Tensor) -> bytes:
        """(H, W) uint8, both multiples of the frame's sides -> a file."""
        bits = self.quantizer.bits
        grid = (image.shape[0] // self.frame[0], image.shape[1] // self.frame[1])
        return _HEADER.pack(bits, *grid) + pack(self.quantizer.indices(self.codes(image)).cpu().numpy(), bits)

    def decompress(self, file: bytes) -> Tensor:
        """A file -> (H, W) uint8."""
        bits, rows, _ = _HEADER.unpack_from(file)
        indices = unpack(file[_HEADER.size :], len(self.quantizer.low), bits)
        return self.picture(self.quantizer.values(torch.from_numpy(indices).to(self.device)), rows)

    def picture(self, codes: Tensor, rows: int) -> Tensor:
        """(N, Z) codes -> (H, W) uint8, ``rows`` frames high."""
        frames = self.model.decode(codes).clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
        return image_of(frames, rows)


class LinearCode:
    """Principal components as a code: projections, not scaled.

    Args:
        mean: (D,).
        components: (Z, D), orthonormal rows.
        event_shape: shape of one example, D numbers.
    """

    def __init__(self, mean: Tensor, components: Tensor, event_shape: tuple[int, ...]) -> None:
        self.mean = mean.to(torch.get_default_dtype())
        self.components = components.to(torch.get_default_dtype())
        self.event_shape = event_shape

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, Z)."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), not confined to [0, 1]."""
        return (self.mean + z @ self.components).view(-1, *self.event_shape)


class JPEGFile(NamedTuple):
    """An image as JPEG.

    Attributes:
        data: the whole file.
        quality: Pillow's number, 1 to 95.
        image: (H, W) uint8, what the file decodes to.
    """

    data: bytes
    quality: int
    image: Tensor


def jpeg_of_size(image: Tensor, num_bytes: int) -> JPEGFile:
    """The JPEG of the highest quality (1 to 95, Huffman tables optimised) of at most ``num_bytes`` bytes.

    Its headers and tables, 160 bytes and more, count. Where even quality 1 is longer, it is
    what is given: see the length.

    Args:
        image: (H, W) uint8.
        num_bytes: size of the file that it is compared with.
    """
    low, high = 1, 95
    while low < high:  # sizes grow with quality
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(_jpeg(image, middle)) <= num_bytes else (low, middle - 1)
    data = _jpeg(image, low)
    return JPEGFile(data, low, torch.from_numpy(np.array(Image.open(io.BytesIO(data)))))


def _jpeg(image: Tensor, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.numpy()).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
