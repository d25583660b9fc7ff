"""Pictures decoded once, and mapped into memory from the cache folder by every later run."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lit_gen.atomic_file import replacing
from lit_gen.cache import cache_folder
from lit_gen.data.decoder import VERSION, WHITE, Decoder, unusual_of
from lit_gen.data.description import Counted, Notes
from lit_gen.errors import UserError

_CHUNK = 1000  # images decoded ahead of being written: bounds the memory


class Decoded(NamedTuple):
    """One picture in the shape that is asked for.

    Attributes:
        pixels: (C, H, W) uint8.
        unusual: as in ``decoder.Picture``.
        greatest: the picture's greatest value, 0 to 255, before it was resized.
    """

    pixels: np.ndarray
    unusual: frozenset[str]
    greatest: int


class Found(NamedTuple):
    """What was found out about many pictures when they were decoded, kept beside them.

    Attributes:
        unusual: of each thing that was unusual about some, how many and which.
        greatest: their greatest value, 0 to 255, before they were resized.
    """

    unusual: dict[str, Counted]
    greatest: int


class Format(NamedTuple):
    """What pictures are made into; a part of the name of decoded files.

    Attributes:
        image_shape: (C, H, W).
        decoder: for C channels.
        side: of the square about the centre beyond which nothing is looked at; None looks at the whole picture.
    """

    image_shape: tuple[int, int, int]
    decoder: Decoder
    side: int | None = None


def centre_crop(image: Image.Image, aspect: float) -> Image.Image:
    """The largest part about the centre of ``image`` whose width is ``aspect`` times its height, to whole pixels."""
    width = max(1, min(image.width, round(image.height * aspect)))
    height = max(1, min(image.height, round(image.width / aspect)))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def middle(image: Image.Image, side: int, path: Path) -> Image.Image:
    """The square of ``side`` pixels about the centre of the image in ``path``.

    Raises:
        UserError: the image is smaller than that.
    """
    if side > min(image.size):
        raise UserError(f"{path} is {image.width} x {image.height}, smaller than the {side} x {side} to be cut out.")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def decode(path: Path, form: Format) -> Decoded:
    """One picture, cut to the shape's proportions about its centre and resized.

    Raises:
        UserError: as ``Decoder.read``; it is smaller than the ``side`` of ``form``.
    """
    channels, height, width = form.image_shape
    picture = form.decoder.read(path)
    image, unusual = picture
    if form.side is not None:
        image = middle(image, form.side, path)
    # Cropped first: a resize of a box within the image would let what lies outside it bleed in.
    image = centre_crop(image, width / height).resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)
    return Decoded(pixels, unusual, picture.greatest())


def decoded(files: list[Path], folder: Path, form: Format, notes: Notes) -> np.ndarray:
    """(N, C, H, W) uint8, mapped into memory from the cache, where it is written first if need be; as in ``decode``.

    What was found out about the files is kept beside it, and goes into ``notes`` in every run; remarks are of what was
    unusual.

    Raises:
        UserError: an image cannot be read, or the cache cannot be written.
    """
    cached = cache_folder() / "images" / f"{_digest(files, folder, form)}.npy"
    shape = (len(files), *form.image_shape)
    try:
        array, found = _mapped(cached, shape), _read_found(cached)
    except (OSError, ValueError, TypeError, KeyError):  # not there, or damaged
        try:
            _decode_into(cached, files, folder, form)
        except OSError as error:
            raise UserError(
                f"Cannot keep decoded images in {cached.parent} ({error.strerror}): "
                "set LIT_GEN_CACHE to a folder that can be written."
            ) from error
        array, found = _mapped(cached, shape), _read_found(cached)
    notes.saw(str(folder), found.greatest / WHITE)
    for what, pictures in found.unusual.items():
        notes.remark(form.decoder.remark(what, pictures, len(files)))
    return array


def _digest(files: list[Path], folder: Path, form: Format) -> str:
    digest = hashlib.sha256(repr((VERSION, str(folder.resolve()), form)).encode())
    for file in files:
        status = file.stat()
        digest.update(repr((str(file.relative_to(folder)), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:32]


def _decode_into(cached: Path, files: list[Path], folder: Path, form: Format) -> None:
    unusual, greatest = [], 0
    with replacing(cached) as part, ThreadPoolExecutor() as pool:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(files), *form.image_shape))
        for start in range(0, len(files), _CHUNK):
            images = pool.map(decode, files[start : start + _CHUNK], repeat(form))
            for number, image in enumerate(images, start):
                array[number] = image.pixels
                unusual.append(image.unusual)
                greatest = max(greatest, image.greatest)
        array.flush()
        found = unusual_of(unusual, (file.relative_to(folder) for file in files))
        content = {"greatest": greatest, "unusual": {what: vars(some) for what, some in sorted(found.items())}}
        with replacing(_beside(cached)) as file:  # first: an array without it is made again
            file.write_text(json.dumps(content))


def _beside(cached: Path) -> Path:
    return cached.with_suffix(".json")


def _read_found(cached: Path) -> Found:
    content = json.loads(_beside(cached).read_text())
    return Found({what: Counted(**some) for what, some in content["unusual"].items()}, content["greatest"])


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{path} holds {array.shape} {array.dtype}")
    return array
