"""Your own images, from a folder of image files or of one folder a class."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from lit_gen.atomic_file import replacing
from lit_gen.cache import cache_folder
from lit_gen.data.array_file import check_fraction, find
from lit_gen.data.base import Arrays, Part, data_root
from lit_gen.data.images import ImageData
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_MODES = {1: "L", 3: "RGB"}
_CHUNK = 1000  # images decoded ahead of being written: bounds the memory


class ImageFolder(ImageData):
    """Image files, each cut to ``image_shape``'s proportions about its centre and resized with antialiasing.

    Files lie in ``path`` itself, or in one folder a class (at any depth), whose sorted names number the classes.
    Decoded images are kept in a file of the cache folder (the environment's LIT_GEN_CACHE, or else
    ``~/.cache/lit_gen``) and mapped into memory from there: only the first run decodes, and again after any file's
    name, size or time has changed. Grey images become colour, and colour ones grey, as ``image_shape`` asks.

    Args:
        path: the folder; relative to the working folder or else to the root.
        image_shape: (channels, height, width) with 1 or 3 channels.
        test_path: a folder of test images, with the same classes.
        test_fraction: share of ``path`` that is the test split where there is no ``test_path``, always the same files.
        root: None for the environment's LIT_GEN_DATA, or else ``data``.
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(
        self,
        path: str,
        image_shape: tuple[int, int, int],
        test_path: str | None = None,
        test_fraction: float = 0.1,
        root: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_fraction(test_fraction)
        check_channels("ImageFolder", self.image_shape)
        self.path = path
        self.test_path = test_path
        self.test_fraction = test_fraction
        self.root = data_root(root)

    def prepare_data(self) -> None:
        """Decode into the cache, in one process; ``setup`` then maps what it finds there."""
        self.read()

    def read(self) -> Arrays:
        """Map the decoded images.

        Raises:
            UserError: a folder or an image cannot be read, or the cache cannot be written.
        """
        folder = find(self.path, self.root)
        files = list_images(folder)
        classes = class_names(files, folder)
        if self.test_path is not None:
            test_folder = find(self.test_path, self.root)
            test_files = list_images(test_folder)
            return Arrays(self._part(files, folder, classes), self._part(test_files, test_folder, classes))
        num_test = round(len(files) * self.test_fraction)
        if not 0 < num_test < len(files):
            raise UserError(
                f"{folder} holds {len(files)} images: test_fraction {self.test_fraction} "
                f"makes {num_test} of them the test split; name a test_path or another fraction."
            )
        # Test images are put last in the cached file, so that both splits are slices of it and nothing is copied.
        order = torch.randperm(len(files), generator=make_generator("test split of a folder"))
        rows = [*order[num_test:].sort().values, *order[:num_test].sort().values]
        whole = self._part([files[row] for row in rows], folder, classes)
        first, last = slice(None, -num_test), slice(-num_test, None)
        return Arrays(
            *(Part(whole.x[s], None if whole.label is None else whole.label[s], whole.origin) for s in (first, last))
        )

    def _part(self, files: list[Path], folder: Path, classes: list[str]) -> Part:
        names = class_names(files, folder)
        unknown = sorted(set(names) - set(classes))
        if unknown or bool(names) != bool(classes):
            found = f"has a class {unknown[0]!r}" if unknown else "has no class folders"
            raise UserError(f"{folder} {found}; the classes are: {', '.join(classes) or 'none'}.")
        number = {name: index for index, name in enumerate(classes)}
        label = torch.tensor([number[f.relative_to(folder).parts[0]] for f in files]) if classes else None
        return Part(torch.from_numpy(decoded(files, folder, self.image_shape)), label, str(folder))


def check_channels(name: str, image_shape: tuple[int, int, int]) -> None:
    """Raise UserError, on behalf of the class ``name``, unless images can be read as ``image_shape``."""
    if image_shape[0] not in _MODES:
        raise UserError(f"{name} reads images of 1 or 3 channels, not the {image_shape[0]} of image_shape.")


def list_images(folder: Path) -> list[Path]:
    """Image files under ``folder`` in sorted order.

    Raises:
        UserError: there are none, or both in the folder itself and in folders within it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder of images.")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    if not files:
        raise UserError(f"{folder} holds no images ({', '.join(sorted(_SUFFIXES))}).")
    if len({file.parent == folder for file in files}) > 1:
        raise UserError(f"{folder} holds images and also folders of images: it must be one or the other.")
    return files


def class_names(files: list[Path], folder: Path) -> list[str]:
    """Sorted names of the folders that ``files`` lie in; none where they lie in ``folder`` itself."""
    return sorted({file.relative_to(folder).parts[0] for file in files if file.parent != folder})


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


def decode(path: Path, image_shape: tuple[int, int, int], side: int | None = None) -> np.ndarray:
    """One image as (C, H, W) uint8, cut to the shape's proportions about its centre and resized.

    Args:
        path: the image file.
        image_shape: (C, H, W).
        side: of the square about the centre beyond which nothing is looked at; None looks at the whole image.

    Raises:
        UserError: the file is not an image, is cut short, is smaller than ``side``, or has more than 8 bits a channel.
    """
    channels, height, width = image_shape
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # converting would clip, silently
                raise UserError(f"{path} has more than 8 bits a channel ({image.mode}): convert it to 8 bits first.")
            image = ImageOps.exif_transpose(image).convert(_MODES[channels])
            if side is not None:
                image = middle(image, side, path)
            # Cropped first: a resize of a box within the image would let what lies outside it bleed in.
            image = centre_crop(image, width / height).resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from error
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)


def decoded(files: list[Path], folder: Path, image_shape: tuple[int, int, int], side: int | None = None) -> np.ndarray:
    """(N, C, H, W) uint8, mapped into memory from the cache, where it is written first if need be; as in ``decode``.

    Raises:
        UserError: an image cannot be read, or the cache cannot be written.
    """
    digest = hashlib.sha256(repr((2, str(folder.resolve()), tuple(image_shape), side)).encode())
    for file in files:
        status = file.stat()
        digest.update(repr((str(file.relative_to(folder)), status.st_size, status.st_mtime_ns)).encode())
    shape = (len(files), *image_shape)
    cached = cache_folder() / "images" / f"{digest.hexdigest()[:32]}.npy"
    try:
        return _mapped(cached, shape)
    except (OSError, ValueError):  # not there, or damaged
        pass
    try:
        with replacing(cached) as part, ThreadPoolExecutor() as pool:
            array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for start in range(0, len(files), _CHUNK):
                images = pool.map(decode, files[start : start + _CHUNK], repeat(image_shape), repeat(side))
                for number, image in enumerate(images, start):
                    array[number] = image
            array.flush()
    except OSError as error:
        raise UserError(
            f"Cannot keep decoded images in {cached.parent} ({error.strerror}): "
            "set LIT_GEN_CACHE to a folder that can be written."
        ) from error
    return _mapped(cached, shape)


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{path} holds {array.shape} {array.dtype}")
    return array
