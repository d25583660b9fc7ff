"""Labeled Faces in the Wild, split by person."""

from contextlib import suppress
from pathlib import Path

import torch

from lit_gen.data.base import Arrays, Part, rows_besides
from lit_gen.data.decoded_files import Format, decoded
from lit_gen.data.decoder import Decoder
from lit_gen.data.image_folder import class_names, list_images
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator

PLACES = [
    *(f"{parent}/{name}" for parent in ("lfw_home", "lfw-py") for name in ("lfw_funneled", "lfw-deepfunneled", "lfw")),
    "lfw-deepfunneled/lfw-deepfunneled",
    *("lfw_funneled", "lfw-deepfunneled", "lfw"),
]
"""Where people's folders are looked for under the root: as scikit-learn and torchvision leave them, and as archives
unpack."""


class LFW(ImageData):
    """13,233 photographs of 5,749 people, 250 x 250, of which the middle is cut out and resized; labelled by person.

    Huang, Ramesh, Berg & Learned-Miller, Labeled faces in the wild (2007), http://vis-www.cs.umass.edu/lfw/. No person
    is in two splits: a tenth of the people is test and a tenth validation, always the same. Images are decoded in the
    first run and mapped from the cache folder afterwards, as ``ImageFolder`` does it.

    Args:
        root: folder that holds one of ``PLACES``, each with one folder of images a person; None for the environment's
            LIT_GEN_DATA, or else ``data``.
        download: let scikit-learn fetch the images (200 MB, to ``lfw_home/``) if they are not there.
        image_shape: (channels, height, width) with 1 or 3 channels.
        side: of the square cut out of the middle, in pixels: 128 shows the face, 250 all there is.
        **kwargs: as in ``InMemoryData``.

    Raises:
        UserError: a number of channels that isn't 1 or 3, a side below 1.
    """

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        side: int = 128,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=0, **kwargs)  # the files say how many, on reading
        if side < 1:
            raise UserError(f"LFW: side must be at least 1, got {side}.")
        self.root = data_root(root)
        self.download = download
        self.side = side
        self.form = Format(self.image_shape, Decoder(self.image_shape[0]), side)

    def prepare_data(self) -> None:
        """Download the images if they are missing and decode them into the cache, in one process."""
        self.read()

    def read(self) -> Arrays:
        """Map the decoded images.

        Raises:
            UserError: they are missing and cannot be had, are of fewer than three people, or cannot be read.
        """
        folder = find_people(self.root) or fetched(self.root, self.download)
        files = list_images(folder, self.notes)
        names = class_names(files, folder)
        if len(names) < 3:
            raise UserError(f"{folder} holds folders of {len(names)} people: LFW has 5,749, and 3 are needed.")
        number = {name: index for index, name in enumerate(names)}
        label = torch.tensor([number[file.relative_to(folder).parts[0]] for file in files])
        rows = self._in_order_of_splits(label, len(names))
        x = torch.from_numpy(decoded([files[row] for row in rows], folder, self.form, self.notes))
        first, last = slice(None, -self._num_test), slice(-self._num_test, None)
        return Arrays(*(Part(x[s], label[rows][s], str(folder)) for s in (first, last)))

    def _in_order_of_splits(self, label: torch.Tensor, num_people: int) -> torch.Tensor:
        """Rows of the training images, then validation, then test, and how many of the last two there are.

        In this order each split is a slice of the cached file, and nothing is copied.
        """
        order = torch.randperm(num_people, generator=make_generator("people of LFW"))
        share = max(1, num_people // 10)
        test, val = (torch.isin(label, people).nonzero().squeeze(1) for people in order.split(share)[:2])
        self.num_validation, self._num_test = len(val), len(test)
        return torch.cat([rows_besides(torch.cat([val, test]), len(label)), val, test])

    def _validation_rows(self, count: int) -> torch.Tensor:
        return torch.arange(count - self.num_validation, count)


def find_people(root: Path) -> Path | None:
    """The folder of people's folders under ``root``, the first of ``PLACES`` that is there."""
    for place in PLACES:
        if (root / place).is_dir():
            return root / place
    return None


def fetched(root: Path, download: bool) -> Path:
    """The folder of people's folders that scikit-learn leaves when it has fetched the images.

    Raises:
        UserError: they cannot be had.
    """
    reason = "download is off"
    if download:
        from sklearn.datasets import fetch_lfw_people  # takes a second to import, and only this needs it

        try:
            # It also decodes, in one thread, what is asked for: as little as can be.
            fetch_lfw_people(data_home=str(root), min_faces_per_person=500, resize=0.1)
        except Exception as error:  # whatever the network or the disk has to say
            reason = " ".join(str(error).split())[-150:] or type(error).__name__
            with suppress(OSError):
                (root / "lfw_home").rmdir()  # made for the download; if anything is in it, it stays
        folder = find_people(root)
        if folder is not None:
            return folder
    raise UserError(
        f"{root} has no LFW ({reason}): put one folder of images a person in {root / 'lfw-deepfunneled'}, or name the "
        "root by root or LIT_GEN_DATA."
    )
