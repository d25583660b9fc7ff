"""From a picture's file to its pixels: the one decoder, with one rule for what eight bits of grey or RGB can't hold."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import EpsImagePlugin, Image, ImageColor, ImageFile, ImageOps, UnidentifiedImageError

from lit_gen.data.description import Counted
from lit_gen.errors import UserError

VERSION = 3
"""Of what is made of a file: a part of the name of decoded files that are kept."""

WHITE = 255

_MODES = {1: "L", 3: "RGB"}
_DEEP_RAW = re.compile(r";(12|16|32)[BLNSF]")  # Pillow's names of more than 8 bits a channel, not of 5 + 6 + 5
_TWO_BYTES = 65535
_HEAD = 2**16  # bytes of a file in which its header is looked for
_BITS_BEHIND = {
    # The segment SIZ: its length (2), capabilities (2), 8 sizes (4 each), the number of channels in 2 bytes, of which
    # the lower counts; then 3 bytes a channel, the first of them bits - 1 (ISO/IEC 15444-1, A.5.1).
    "JPEG2000": (b"\xff\x51", 39, 3, 1),
    # The box pixi: version and flags (4), the number of channels, then a byte a channel (ISO/IEC 23008-12, 6.5.6).
    "AVIF": (b"pixi", 8, 1, 0),
}
"""Of formats whose depth Pillow doesn't show: a marker, where after its beginning the number of channels is, bytes a
channel, and what to add to the first of them."""

TRANSPARENT, FRAMES, DEEP, INKS = "transparent", "frames", "deep", "inks"
"""What can be unusual about a picture; see ``Decoder.remark``."""


class Picture(NamedTuple):
    """A picture as it was read.

    Attributes:
        image: upright, mode L or RGB, 8 bits a channel.
        unusual: what was unusual about the file: some of ``TRANSPARENT``, ``FRAMES``, ``DEEP``, ``INKS``.
    """

    image: Image.Image
    unusual: frozenset[str]

    def greatest(self) -> int:
        """The greatest value, 0 to 255."""
        low_high = self.image.getextrema()
        return low_high[1] if self.image.mode == "L" else max(high for _, high in low_high)


@dataclass(frozen=True)
class Decoder:
    """Reads pictures as 8 bits of grey or RGB.

    They are turned upright as EXIF says. Transparent pixels show ``background``. Of several frames the first stands for
    the file. CMYK is converted without a colour profile.

    Args:
        channels: 1 for grey, 3 for RGB.
        background: a colour by name (``white``) or as ``rgb(128,128,128)``.
        max_value: the pixel value that is white, to which 0 to 255 is scaled: 1 for masks of 0 and 1, 65535 for 16
            bits. None takes 255, and refuses pictures of more than 8 bits a channel.
        adjustable: whether the person can set ``max_value``, of which messages then speak.

    Raises:
        UserError: another number of channels, no such colour, or a ``max_value`` that isn't positive.
    """

    channels: int
    background: str = "white"
    max_value: float | None = None
    adjustable: bool = False

    def __post_init__(self) -> None:
        if self.channels not in _MODES:
            raise UserError(f"Images are read with 1 or 3 channels, not the {self.channels} of image_shape.")
        check_max_value(self.max_value)
        try:
            colour = ImageColor.getrgb(self.background)
        except (ValueError, AttributeError, TypeError) as error:  # None, of a #rrggbb that YAML takes for a comment
            raise UserError(
                f"background: {self.background!r} is no colour; take one such as white, black or rgb(128,128,128)."
            ) from error
        if len(colour) != 3:
            raise UserError(f"background: {self.background!r} is transparent itself; leave out its fourth number.")

    def read(self, path: Path) -> Picture:
        """The picture in ``path``.

        Raises:
            UserError: it cannot be read as a picture, is cut short, has more than 8 bits a channel where ``max_value``
                is None, or holds other values than 0 to ``max_value``.
        """
        try:
            if not path.stat().st_size:
                raise UserError(f"{path} is empty (0 bytes): delete it, or put the picture in its place.")
            with Image.open(path) as image:
                return self._pixels(image, path)
        except UserError:
            raise
        except Exception as error:  # whatever is wrong with a file, Pillow has another exception for it
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:150] or type(error).__name__
            if isinstance(error, UnidentifiedImageError):
                reason = "Pillow finds no picture in it"
            raise UserError(f"{path} cannot be read as an image: {reason}") from error

    def _pixels(self, image: Image.Image, path: Path) -> Picture:
        unusual = set()
        if image.format != "PSD" and getattr(image, "n_frames", 1) > 1:  # PSD's are layers, and their sum is read
            unusual.add(FRAMES)
        if image.mode == "CMYK":
            unusual.add(INKS)
        deep = is_deep(image, path)
        if deep:
            self._check_deep(image, path)
            unusual.add(DEEP)
        # Of colours of 16 bits Pillow has taken the upper 8 already.
        scaled = image.mode[0] in "IF" if deep else self.max_value not in (None, WHITE)
        image = ImageOps.exif_transpose(image)
        if is_transparent(image):
            if scaled:
                raise UserError(f"{path} is transparent in part, which max_value doesn't go with: save it without.")
            unusual.add(TRANSPARENT)
            image = laid_over(image, self.background)
        elif scaled:
            image = self._scaled(image, deep, path)
        elif image.mode not in ("1", "L", "P", "RGB"):
            image = image.convert("L" if image.mode == "LA" else "RGB")
        return Picture(image.convert(_MODES[self.channels]), frozenset(unusual))

    def _check_deep(self, image: Image.Image, path: Path) -> None:
        if self.max_value is None:
            other = ", or say by max_value which value is white (65535 for all of 16 bits)" if self.adjustable else ""
            raise UserError(f"{path} has more than 8 bits a channel ({image.mode}): convert it to 8 bits{other}.")
        if image.mode[0] not in "IF" and self.max_value != _TWO_BYTES:
            raise UserError(
                f"{path} has 16 bits a channel in colour, of which Pillow reads the upper 8: max_value must be "
                f"{_TWO_BYTES} for it, not {self.max_value:g}."
            )

    def _scaled(self, image: Image.Image, deep: bool, path: Path) -> Image.Image:
        """The image, mode L or RGB, whose values 0 to ``max_value`` became 0 to 255."""
        if not deep:
            if self.max_value > WHITE:
                raise UserError(f"{path} has 8 bits a channel, which don't reach max_value {self.max_value:g}.")
            image = image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "LA" else "RGB")
        values = np.asarray(image, dtype=np.float64)
        least, greatest = values.min(), values.max()
        if not (least >= 0 and greatest <= self.max_value):
            raise UserError(
                f"{path} holds values from {least:g} to {greatest:g}: with max_value {self.max_value:g} they must be "
                "from 0 to that."
            )
        return Image.fromarray(np.rint(values * (WHITE / self.max_value)).astype(np.uint8))

    def remark(self, unusual: str, pictures: Counted, total: int) -> str:
        """A sentence about those of ``total`` pictures that were unusual in the same way."""
        what = {
            TRANSPARENT: f"transparency laid over {self.background} in",
            FRAMES: "only the first frame is read of",
            DEEP: f"more than 8 bits a channel, scaled by max_value {self.max_value}, in",
            INKS: "CMYK converted without a colour profile in",
        }[unusual]
        return f"{what} {pictures.count:,} of {total:,} pictures ({pictures.names()})"


def check_max_value(max_value: float | None) -> None:
    """Raise UserError unless ``max_value`` can be the value that is white."""
    if max_value is not None and not 0 < max_value < float("inf"):
        raise UserError(f"max_value is the value that is white: it must be positive and finite, not {max_value:g}.")


def is_deep(image: Image.Image, path: Path) -> bool:
    """Whether the file ``path`` of an image that has been opened, but not loaded, has more than 8 bits a channel."""
    if image.mode[0] in "IF":
        return True
    if image.format in _BITS_BEHIND:
        return any(bits > 8 for bits in _declared_bits(path, *_BITS_BEHIND[image.format]))
    for codec, _, _, args in getattr(image, "tile", ()):
        words = args if isinstance(args, tuple) else (args,)
        if codec == "SGI16" or any(isinstance(word, str) and _DEEP_RAW.search(word) for word in words):
            return True
        if codec in ("ppm", "ppm_plain") and isinstance(words[-1], int) and words[-1] > WHITE:
            return True
    return False


def _declared_bits(path: Path, marker: bytes, offset: int, step: int, less: int) -> list[int]:
    """Bits of each channel as a header says them that Pillow doesn't show; none where there is no such header."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    start = head.find(marker) + offset
    if start < offset or start >= len(head):
        return []
    count = head[start]
    return [(bits & 0x7F) + less for bits in head[start + 1 : start + 1 + count * step : step]]


def is_transparent(image: Image.Image) -> bool:
    """Whether some pixel isn't opaque."""
    if image.mode[0] in "IF":
        return "transparency" in image.info
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return False
    return with_alpha(image).getextrema()[3][0] < WHITE


def with_alpha(image: Image.Image) -> Image.Image:
    """The image as RGBA, whatever says which pixels are transparent."""
    image = image.convert("LA") if image.mode == "La" else image
    return image.convert("RGBA")


def laid_over(image: Image.Image, background: str) -> Image.Image:
    """The image as RGB, in front of a colour."""
    behind = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(behind, with_alpha(image)).convert("RGB")


def unusual_of(unusual: Iterable[Iterable[str]], names: Iterable[str | Path]) -> dict[str, Counted]:
    """Of each thing that was unusual about some pictures, how many and which."""
    found: dict[str, Counted] = {}
    for about, name in zip(unusual, names, strict=True):
        for what in sorted(about):
            found.setdefault(what, Counted()).add(name)
    return found


@cache
def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the formats that Pillow can decode here.

    Those that it merely recognises (MPEG, HDF5, GRIB, BUFR, WMF) are not among them, nor is EPS where there is no
    Ghostscript to draw it.
    """
    known = Image.registered_extensions()  # fills Image.OPEN
    kinds = {kind for kind, (factory, _) in Image.OPEN.items() if not _is_stub(factory)} - {"MPEG"} | {"MPO"}  # as JPEG
    if not EpsImagePlugin.has_ghostscript():
        kinds.discard("EPS")
    return frozenset(suffix for suffix, kind in known.items() if kind in kinds)


def _is_stub(factory) -> bool:
    return isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
