"""Your own images, from a .npy or .npz file."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lit_gen.data.base import Arrays, Part, data_root
from lit_gen.data.images import ImageData
from lit_gen.errors import UserError


class ArrayFile(ImageData):
    """Images in a NumPy file: uint8, or floats in [0, 1]; (N, H, W), (N, H, W, C) or (N, C, H, W).

    Where there is no ``test_path`` the last images of the file are the test split: a block, because neighbours in a
    file are often alike (frames of a film) and would leak into training.

    Args:
        path: a .npy file of images, or a .npz file; relative to the working folder or else to the root.
        image_shape: (channels, height, width) that images are handed out at; others are resized.
        images_key: name of the images in a .npz file.
        labels_key: name of the labels (integers from 0) in a .npz file; None for no labels.
        test_path: a file of test images, with the same keys.
        test_fraction: share of ``path`` that is the test split where there is no ``test_path``.
        root: None for the environment's LIT_GEN_DATA, or else ``data``.
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(
        self,
        path: str,
        image_shape: tuple[int, int, int],
        images_key: str = "x",
        labels_key: str | None = None,
        test_path: str | None = None,
        test_fraction: float = 0.1,
        root: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_fraction(test_fraction)
        self.path = path
        self.images_key = images_key
        self.labels_key = labels_key
        self.test_path = test_path
        self.test_fraction = test_fraction
        self.root = data_root(root)

    def read(self) -> Arrays:
        """Read the file or files; a .npy file of (N, C, H, W) or (N, H, W) is mapped rather than copied."""
        train = self._part(self.path)
        if self.test_path is not None:
            return Arrays(train, self._part(self.test_path))
        num_test = round(len(train.x) * self.test_fraction)
        if not 0 < num_test < len(train.x):
            raise UserError(
                f"{train.origin} holds {len(train.x)} images: test_fraction {self.test_fraction} "
                f"makes {num_test} of them the test split; name a test_path or another fraction."
            )
        first, last = slice(None, -num_test), slice(-num_test, None)
        return Arrays(
            *(Part(train.x[s], None if train.label is None else train.label[s], train.origin) for s in (first, last))
        )

    def _part(self, name: str) -> Part:
        path = find(name, self.root)
        arrays = load(path)
        if isinstance(arrays, dict):
            images = pick(arrays, self.images_key, "images_key", path)
            label = None if self.labels_key is None else pick(arrays, self.labels_key, "labels_key", path)
        elif self.labels_key is None:
            images, label = arrays, None
        else:
            raise UserError(f"{path} is one array, without labels: leave out labels_key, or save both in a .npz file.")
        if label is not None:
            if label.dtype.kind not in "iu":
                raise UserError(f"{path}: labels {self.labels_key!r} must be integers, they are {label.dtype}.")
            label = torch.from_numpy(label.astype(np.int64))
        return Part(to_images(images, self.image_shape, path), label, str(path))


def check_fraction(fraction: float) -> None:
    """Raise UserError unless ``fraction`` can be a test split's share."""
    if not 0 < fraction < 1:
        raise UserError(f"test_fraction must be between 0 and 1, got {fraction}.")


def find(name: str, root: Path) -> Path:
    """The file or folder ``name``, in the working folder or else under ``root``.

    Raises:
        UserError: it is in neither.
    """
    candidates = [Path(name).expanduser(), root / name]
    for path in candidates:
        if path.exists():
            return path
    places = " or ".join(dict.fromkeys(str(path) for path in candidates))
    raise UserError(f"There is no {places}: check the path, or set root or LIT_GEN_DATA.")


def load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array in a .npy file, mapped into memory, or all arrays of a .npz file by name. Never unpickles.

    Raises:
        UserError: the file is empty, cut short, or not NumPy's.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a .npy or .npz file: ImageFolder reads folders.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes).")
    try:
        # Copy on write: torch wants memory it may write to, and the file stays as it is.
        mapped = np.load(path, mmap_mode="c", allow_pickle=False)
        return mapped if isinstance(mapped, np.ndarray) else {key: mapped[key] for key in mapped.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as a .npy or .npz file, "
            f"it may be cut short: {' '.join(str(error).split())[:200]}"
        ) from error


def pick(arrays: dict[str, np.ndarray], key: str, argument: str, path: Path) -> np.ndarray:
    """``arrays[key]``, or a UserError that lists the keys there are."""
    if key not in arrays:
        there = ", ".join(f"{name} {list(array.shape)} {array.dtype}" for name, array in arrays.items()) or "nothing"
        raise UserError(f"{path} has no array {key!r}; it holds {there}: set {argument}.")
    return arrays[key]


def to_images(array: np.ndarray, image_shape: tuple[int, int, int], path: Path) -> Tensor:
    """(N, C, H, W) uint8 or float32 from an array in any of the layouts that ``ArrayFile`` takes.

    Raises:
        UserError: another type, or a shape that has no such reading, or two.
    """
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    elif array.dtype != np.uint8:
        raise UserError(f"{path} holds {array.dtype}: images must be uint8, or floats in [0, 1].")
    channels = image_shape[0]
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4:
        first, last = array.shape[1] == channels, array.shape[3] == channels
        if first and last and array.shape[1:] != tuple(image_shape):
            raise UserError(f"{path} has shape {list(array.shape)}: are channels first or last? Save (N, C, H, W).")
        if last and not first:
            array = array.transpose(0, 3, 1, 2)
    else:
        raise UserError(f"{path} has shape {list(array.shape)}: images are (N, H, W), (N, H, W, C) or (N, C, H, W).")
    return torch.from_numpy(np.ascontiguousarray(array))
