"""CelebA, from the files that torchvision and the data set's authors hand out."""

from pathlib import Path

import numpy as np
import torch

from lit_gen.data.base import Arrays, Part
from lit_gen.data.decoded_files import Format, decoded
from lit_gen.data.decoder import Decoder
from lit_gen.data.description import Notes
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root
from lit_gen.errors import UserError

PARTITION, ATTRIBUTES, IMAGES = "list_eval_partition.txt", "list_attr_celeba.txt", "img_align_celeba"


class CelebA(ImageData):
    """202,599 photographs of 10,177 celebrities, aligned, 178 x 218, of which the middle is cut out and resized.

    Liu, Luo, Wang & Tang, Deep learning face attributes in the wild (2015), https://arxiv.org/abs/1411.7766. The
    splits are the authors': 162,770 training, 19,867 validation and 19,962 test images, no person in two of them.
    Images are decoded in the first run and mapped from the cache folder afterwards, as ``ImageFolder`` does it: 2.5 GB
    at 64 x 64.

    Args:
        root: folder that holds ``celeba/img_align_celeba/*.jpg`` and ``celeba/list_eval_partition.txt``; None for the
            environment's LIT_GEN_DATA, or else ``data``.
        image_shape: (channels, height, width) with 1 or 3 channels.
        side: of the square cut out of the middle, in pixels: 148 shows the face, 178 also the hair.
        attribute: name of the column of ``celeba/list_attr_celeba.txt`` that is the label, as ``Smiling``: 1 for yes, 0
            for no. None for no labels.
        **kwargs: as in ``InMemoryData``.

    Raises:
        UserError: a number of channels that isn't 1 or 3, a side below 1.
    """

    def __init__(
        self,
        root: str | None = None,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        side: int = 148,
        attribute: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=0, **kwargs)  # the files say how many, on reading
        if side < 1:
            raise UserError(f"CelebA: side must be at least 1, got {side}.")
        self.root = data_root(root)
        self.side = side
        self.form = Format(self.image_shape, Decoder(self.image_shape[0]), side)
        self.attribute = attribute

    @property
    def folder(self) -> Path:
        """Where the lists and the folder of images are."""
        return self.root / "celeba"

    @property
    def class_names(self) -> list[str] | None:
        """What the labels mean."""
        return None if self.attribute is None else [f"not {self.attribute}", self.attribute]

    def prepare_data(self) -> None:
        """Decode into the cache, in one process; ``setup`` then maps what it finds there."""
        self.read()

    def read(self) -> Arrays:
        """Map the decoded images.

        Raises:
            UserError: a list or images are missing or damaged, or the cache cannot be written.
        """
        partition = read_partition(self.folder / PARTITION)
        label = None if self.attribute is None else self._labels(list(partition))
        # In the order of the splits, so that each is a slice of the cached file and nothing is copied.
        split = np.array(list(partition.values()))
        order = np.argsort(split, kind="stable")
        names = np.array(list(partition))[order]
        folder = self.folder / IMAGES
        x = torch.from_numpy(decoded(find_images(folder, names.tolist(), self.notes), folder, self.form, self.notes))
        label = None if label is None else label[order]
        self.num_validation, num_test = (int((split == number).sum()) for number in (1, 2))
        first, last = slice(None, -num_test), slice(-num_test, None)
        return Arrays(*(Part(x[s], None if label is None else label[s], str(folder)) for s in (first, last)))

    def _validation_rows(self, count: int) -> torch.Tensor:
        return torch.arange(count - self.num_validation, count)

    def _labels(self, names: list[str]) -> torch.Tensor:
        """(N,) int64: the attribute of each image."""
        path = self.folder / ATTRIBUTES
        _, header, *lines = read_lines(path)
        columns = header.split()
        if self.attribute not in columns:
            raise UserError(f"{path} has no attribute {self.attribute!r}: it has {', '.join(columns)[:250] or 'none'}.")
        column = columns.index(self.attribute) + 1
        of_name = {values[0]: values[column] for values in map(str.split, lines) if len(values) == len(columns) + 1}
        if any(of_name.get(name) not in ("1", "-1") for name in names):
            raise UserError(f"{path} has no 1 or -1 for each image of {PARTITION}: it may be cut short.")
        return torch.tensor([int(of_name[name] == "1") for name in names])


def read_lines(path: Path) -> list[str]:
    """The lines of one of CelebA's lists, at least two.

    Raises:
        UserError: it isn't there, or holds less.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read: unpack CelebA's {IMAGES}.zip and put its lists beside it (torchvision's "
            "datasets.CelebA fetches them), or name the root by root or LIT_GEN_DATA."
        ) from error
    if len(lines) < 2:
        raise UserError(f"{path} is empty or cut short.")
    return lines


def read_partition(path: Path) -> dict[str, int]:
    """File names and their splits, in the file's order: 0 training, 1 validation, 2 test.

    Raises:
        UserError: the list is missing, damaged, or has no training or no test images.
    """
    splits = {}
    for number, line in enumerate(read_lines(path), 1):
        name, _, split = line.strip().partition(" ")
        if split.strip() not in ("0", "1", "2"):
            raise UserError(f"{path}, line {number}: expected a file name and 0, 1 or 2, got {line[:50]!r}.")
        splits[name] = int(split)
    if not {0, 2} <= set(splits.values()):
        raise UserError(f"{path} names no training or no test images: it may be cut short.")
    return splits


def find_images(folder: Path, names: list[str], notes: Notes) -> list[Path]:
    """Paths of the images ``names`` in ``folder``; other files there are counted in ``notes``.

    Raises:
        UserError: some are missing.
    """
    there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of the {len(names)} images of {PARTITION}, {missing[0]} the first: unpack "
            f"{IMAGES}.zip there, or name the root by root or LIT_GEN_DATA."
        )
    notes.pass_over(f"not named in {PARTITION}", sorted(there.difference(names)))
    return [folder / name for name in names]
