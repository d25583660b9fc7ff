"""Frames of photographs: small squares to learn an image code from."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_gen.data.base import Arrays, Part
from lit_gen.data.decoded_files import centre_crop
from lit_gen.data.decoder import WHITE, Decoder, unusual_of
from lit_gen.data.image_folder import list_images
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root, find
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator


class Photograph(NamedTuple):
    """A whole image.

    Attributes:
        name: its file's name without the ending.
        pixels: (H, W), uint8, grey.
        trained: whether frames of it are in the training split.
    """

    name: str
    pixels: Tensor
    trained: bool


class ImageFrames(ImageData):
    """Frames cut at random places out of some images of a folder; the others' frames, side by side, are the test.

    Every image is made grey, cut to a square about its centre and resized to ``side`` x ``side`` with antialiasing.
    The training split (and the validation split, drawn from it, whose frames overlap training ones) is ``num_frames``
    frames at uniformly random places of the images of ``image``. The test split is the non-overlapping frames of all
    other images from the top left corner, row by row: what a coder of the whole image sees. What is left over at the
    right and lower edges is in no test frame.

    Args:
        path: a folder of images, relative to the working folder or else to the root; None for the two photographs
            that come with scikit-learn, china.jpg and flower.jpg, each 640 x 427.
        image: file name or names of the images that train; None for the first by name.
        side: height and width of each image after the cut; None keeps the size that it has, uncut.
        image_shape: (1, height, width) of a frame.
        num_frames: training frames drawn, with those held out for validation.
        frame_seed: names their places.
        num_validation: how many of them are held out.
        background: the colour that transparent pixels show, by name or as ``rgb(128,128,128)``.
        max_value: the pixel value that is white, where that isn't 255: 65535 for 16 bits.
        root: None for the environment's LIT_GEN_DATA, or else ``data``.
        **kwargs: as in ``InMemoryData``.

    Raises:
        UserError: a count is out of range; on reading, an image is smaller than a frame, or there is none to test on.
    """

    def __init__(
        self,
        path: str | None = None,
        image: str | list[str] | None = None,
        side: int | None = 256,
        image_shape: tuple[int, int, int] = (1, 8, 8),
        num_frames: int = 50_000,
        frame_seed: int = 0,
        num_validation: int = 2000,
        background: str = "white",
        max_value: float | None = None,
        root: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=num_validation, **kwargs)
        if self.image_shape[0] != 1:
            raise UserError(f"ImageFrames cuts grey frames of shape [1, height, width], not {list(self.image_shape)}.")
        if num_frames < 1:
            raise UserError(f"ImageFrames needs num_frames of at least 1, got {num_frames}.")
        if side is not None and side < max(self.image_shape[1:]):
            raise UserError(f"Images of side {side} are smaller than a frame of {_by(self.image_shape[1:])}.")
        self.path = path
        self.image = [image] if isinstance(image, str) else image
        self.side = side
        self.num_frames = num_frames
        self.frame_seed = frame_seed
        self.max_value = max_value
        self.decoder = Decoder(1, background, max_value, adjustable=True)
        self.root = data_root(root)
        self._photographs: list[Photograph] = []

    @property
    def photographs(self) -> list[Photograph]:
        """The whole images, those that train first, else by name."""
        self.setup()
        return self._photographs

    def read(self) -> Arrays:
        """Cut the frames.

        Raises:
            UserError: the folder is missing or empty, an image cannot be read or is smaller than a frame, there is no
                image of a name given, or none besides those to test on.
        """
        folder = bundled_folder() if self.path is None else find(self.path, self.root)
        files = list_images(folder, self.notes)
        names = [files[0].name] if self.image is None else self.image
        unknown = sorted(set(names) - {file.name for file in files})
        if unknown or not names:
            raise UserError(
                f"{folder} has no image {unknown[0] if unknown else names!r}: its first are "
                f"{', '.join(file.name for file in files[:5])}."
            )
        if all(file.name in names for file in files):
            raise UserError(f"{folder} holds no image besides {', '.join(names)}: there is none to test on.")
        photographs, unusual = [], []
        origins = {True: f"{folder} ({', '.join(names)})", False: str(folder)}
        for file in files:
            picture = self.decoder.read(file)
            unusual.append(picture.unusual)
            self.notes.saw(origins[file.name in names], picture.greatest() / WHITE)
            photographs.append(Photograph(file.stem, self._pixels(picture.image, file), file.name in names))
        for what, some in unusual_of(unusual, (file.name for file in files)).items():
            self.notes.remark(self.decoder.remark(what, some, len(files)))
        self._photographs = sorted(photographs, key=lambda photograph: not photograph.trained)
        trained = [photograph.pixels for photograph in self._photographs if photograph.trained]
        tested = [
            frames_of(photograph.pixels, self.image_shape[1:]) for photograph in photographs if not photograph.trained
        ]
        return Arrays(
            Part(self._random_frames(trained), None, origins[True]),
            Part(torch.cat(tested), None, origins[False]),
        )

    def _pixels(self, image: Image.Image, file: Path) -> Tensor:
        """(H, W) uint8."""
        width, height = image.size
        if height < self.image_shape[1] or width < self.image_shape[2]:
            raise UserError(f"{file} is {_by((height, width))}, smaller than a frame of {_by(self.image_shape[1:])}.")
        if self.side is not None:
            image = centre_crop(image, 1).resize((self.side, self.side), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image))

    def _random_frames(self, images: Sequence[Tensor]) -> Tensor:
        """(num_frames, 1, h, w) uint8: each of an image drawn at random, at a place drawn at random."""
        height, width = self.image_shape[1:]
        drawn = torch.rand(self.num_frames, 3, generator=make_generator(self.frame_seed, "frames"), dtype=torch.float64)
        which = (drawn[:, 0] * len(images)).long()
        frames = torch.empty(self.num_frames, *self.image_shape, dtype=torch.uint8)
        for number, image in enumerate(images):
            # (H - h + 1, W - w + 1, h, w): every frame there is, without a copy.
            windows = image.unfold(0, height, 1).unfold(1, width, 1)
            mine = which == number
            top, left = ((drawn[mine, k + 1] * windows.shape[k]).long() for k in range(2))
            frames[mine, 0] = windows[top, left]
        return frames


def frames_of(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) -> (N, 1, h, w): non-overlapping frames from the top left, row by row; the rest is left out."""
    return image.unfold(0, size[0], size[0]).unfold(1, size[1], size[1]).reshape(-1, 1, *size)


def image_of(frames: Tensor, rows: int) -> Tensor:
    """(N, 1, h, w) -> (rows * h, N / rows * w), what ``frames_of`` cut: its inverse."""
    count, _, height, width = frames.shape
    return frames.view(rows, count // rows, height, width).transpose(1, 2).reshape(rows * height, -1)


def bundled_folder() -> Path:
    """Where scikit-learn's own photographs are."""
    from sklearn.datasets import load_sample_images  # takes a second to import

    return Path(load_sample_images().filenames[0]).parent


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
