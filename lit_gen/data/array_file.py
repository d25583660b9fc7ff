"""Your own images, from a .npy or .npz file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lit_gen.data.base import Arrays, Part
from lit_gen.data.decoder import check_max_value
from lit_gen.data.description import NAMED
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root, find
from lit_gen.errors import UserError


class ArrayFile(ImageData):
    """Images in a NumPy file: (N, H, W), (N, H, W, C) or (N, C, H, W); bytes, bools, floats in [0, 1], or any numbers.

    Where there is no ``test_path`` the last images of the file are the test split: a block, because neighbours in a
    file are often alike (frames of a film) and would leak into training.

    Args:
        path: a .npy file of images, or a .npz file; relative to the working folder or else to the root.
        image_shape: (channels, height, width) that images are handed out at; others are resized.
        images_key: name of the images in a .npz file.
        labels_key: name of the labels (integers from 0) in a .npz file; None for no labels.
        test_path: a file of test images, with the same keys.
        test_fraction: share of ``path`` that is the test split where there is no ``test_path``.
        max_value: the value that is white, where 0 is black: 1 for masks of 0 and 1, 16 for scikit-learn's digits,
            65535 for 16 bits. None takes 255 for bytes and 1 for floats, and refuses other numbers.
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
        max_value: float | None = None,
        root: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_fraction(test_fraction)
        check_max_value(max_value)
        self.path = path
        self.images_key = images_key
        self.labels_key = labels_key
        self.test_path = test_path
        self.test_fraction = test_fraction
        self.max_value = max_value
        self.root = data_root(root)

    def read(self) -> Arrays:
        """Read the file or files; a .npy file of (N, C, H, W) or (N, H, W) bytes is mapped rather than copied."""
        train = self._part(self.path)
        if train.label is not None:
            self._check_classes(train)
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

    def _check_classes(self, train: Part) -> None:
        """Refuse labels that begin above 0, and remark on other numbers that no example has."""
        seen = train.label.unique().tolist()
        if seen and seen[0] > 0:
            raise UserError(
                f"{train.origin}: labels {self.labels_key!r} begin at {seen[0]}, so that class 0 would have no "
                f"examples: classes are numbered from 0; save the labels less {seen[0]}."
            )
        missing = sorted(set(range(seen[-1] if seen else 0)).difference(seen))
        if missing:
            shown = ", ".join(map(str, missing[:NAMED])) + (", ..." if len(missing) > NAMED else "")
            self.notes.remark(f"{len(missing)} of {seen[-1] + 1} classes have no examples ({shown})")

    def _part(self, name: str) -> Part:
        path = find(name, self.root)
        arrays = load(path)
        label = None
        if isinstance(arrays, Archive):
            images = arrays.pick(self.images_key, "images_key")
            if self.labels_key is not None:
                label = to_labels(arrays.pick(self.labels_key, "labels_key"), self.labels_key, len(images), path)
            self.notes.pass_over("arrays not asked for", sorted(set(arrays.names) - {self.images_key, self.labels_key}))
        elif self.labels_key is None:
            images = arrays
        else:
            raise UserError(f"{path} is one array, without labels: leave out labels_key, or save both in a .npz file.")
        images = to_layout(images, self.image_shape, path)
        if self.max_value is not None and images.dtype != bool:
            self.notes.remark(f"values divided by max_value {self.max_value:g}")
        return Part(torch.from_numpy(np.ascontiguousarray(to_units(images, self.max_value, path))), label, str(path))


def check_fraction(fraction: float) -> None:
    """Raise UserError unless ``fraction`` can be a test split's share."""
    if not 0 < fraction < 1:
        raise UserError(f"test_fraction must be between 0 and 1, got {fraction}.")


class Archive:
    """The arrays of a .npz file, each read when it is asked for; nothing is unpickled.

    Args:
        path: the file.
        content: what NumPy opened.
    """

    def __init__(self, path: Path, content: np.lib.npyio.NpzFile) -> None:
        self.path = path
        self.names = list(content.files)
        self._content = content

    def pick(self, key: str, argument: str) -> np.ndarray:
        """The array ``key``, which the config names as ``argument``.

        Raises:
            UserError: there is none of that name, which lists those there are; or it is something else, or damaged.
        """
        if key not in self.names:
            shown = ", ".join(self._shown(name) for name in self.names[:6]) or "nothing"
            more = ", ..." if len(self.names) > 6 else ""
            raise UserError(f"{self.path} has no array {key!r}; it holds {shown[:200]}{more}: set {argument}.")
        found = self._read(key)
        if isinstance(found, str):
            raise UserError(
                f"{self.path}: {key!r} ({argument}) is {found}; save plain arrays by numpy.savez(file, {key}=...)."
            )
        return found

    def _shown(self, name: str) -> str:
        found = self._read(name)
        return f"{name} ({found})" if isinstance(found, str) else f"{name} {list(found.shape)} {found.dtype}"

    def _read(self, name: str) -> np.ndarray | str:
        """The array, or what is in its place."""
        try:
            found = self._content[name]
        except Exception as error:  # whatever is wrong with a zip file, it has another exception for it
            if "allow_pickle" in str(error):
                return "an array of Python objects, which are not unpickled"
            return f"damaged: {' '.join(str(error).split())[:100] or type(error).__name__}"
        return found if isinstance(found, np.ndarray) else "no array but another kind of file"


def load(path: Path) -> np.ndarray | Archive:
    """The array in a .npy file, mapped into memory, or the arrays of a .npz file. Never unpickles.

    Raises:
        UserError: the file is empty, cut short, or not NumPy's.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a .npy or .npz file: ImageFolder reads folders.")
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty (0 bytes).")
    try:
        # Copy on write: torch wants memory it may write to, and the file stays as it is.
        found = np.load(path, mmap_mode="c", allow_pickle=False)
    except Exception as error:  # whatever is wrong with a file, NumPy and zipfile have another exception for it
        raise UserError(
            f"{path} ({size} bytes) cannot be read as a .npy or .npz file, it may be cut short: "
            f"{' '.join(str(error).split())[:150] or type(error).__name__}"
        ) from error
    return found if isinstance(found, np.ndarray) else Archive(path, found)


def to_labels(label: np.ndarray, key: str, count: int, path: Path) -> Tensor:
    """(N,) int64 class indices of ``count`` examples.

    Raises:
        UserError: they are no integers, not one for each example, negative, or number more classes than examples.
    """
    where = f"{path}: labels {key!r}"
    if label.dtype.kind not in "iu":
        raise UserError(f"{where} must be integers from 0, one an example; they are {label.dtype}.")
    if label.shape != (count,):
        raise UserError(f"{where} have shape {list(label.shape)}: they must be {count} integers, one an example.")
    if not count:
        return torch.empty(0, dtype=torch.int64)
    least, greatest = int(label.argmin()), int(label.argmax())
    if label[least] < 0:
        raise UserError(f"{where} must not be negative: that of example {least} is {label[least]}.")
    if label[greatest] >= count:
        raise UserError(
            f"{where}: that of example {greatest} is {label[greatest]}, which makes more classes than the {count} "
            "examples there are: number the classes from 0."
        )
    return torch.from_numpy(label.astype(np.int64))


def to_layout(array: np.ndarray, image_shape: tuple[int, int, int], path: Path) -> np.ndarray:
    """(N, C, H, W) from an array in any of the layouts that ``ArrayFile`` takes.

    Raises:
        UserError: a shape that has no such reading, or two.
    """
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
    if not array.size:
        raise UserError(f"{path} holds no examples: its shape is {list(array.shape)}.")
    return array


def to_units(array: np.ndarray, max_value: float | None, path: Path) -> np.ndarray:
    """Bytes of which 255 is white, or float32 of which 1 is, from numbers of which ``max_value`` is.

    Raises:
        UserError: numbers whose unit nothing says, or that are no numbers or not from 0 to ``max_value``.
    """
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise UserError(f"{path} holds {array.dtype}: images must be uint8, or floats in [0, 1].")
    if max_value is None:
        if array.dtype.kind == "f":
            return array.astype(np.float32, copy=False)
        if array.dtype != np.uint8:
            raise UserError(
                f"{path} holds {array.dtype} from {array.min()} to {array.max()}: images must be uint8, or floats in "
                "[0, 1], or max_value must say which value is white."
            )
        return array
    least, greatest = array.min(), array.max()
    if np.isfinite(least + greatest) and not 0 <= least <= greatest <= max_value:
        raise UserError(
            f"{path} holds values from {least:g} to {greatest:g}: with max_value {max_value:g} they must be from 0 to "
            "that."
        )
    if array.dtype == np.uint8 and 255 % max_value == 0:
        return array * np.uint8(255 // max_value) if max_value != 255 else array
    return np.true_divide(array, max_value, dtype=np.float32)
