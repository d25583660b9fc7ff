"""The Olivetti faces, whole, and cut small at many angles and scales: both split by person."""

import hashlib
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_gen.atomic_file import replacing
from lit_gen.cache import cache_folder
from lit_gen.data.array_file import load
from lit_gen.data.base import Arrays, Part
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator

NUM_FACES, FACES_PER_PERSON, SIDE = 400, 10, 64
PEOPLE = {"train": 25, "val": 5, "test": 10}
"""People in each split, in the order of the file: the division of Hinton & Salakhutdinov (2006)."""

_BRIGHTEST = 242  # of the original bytes; scikit-learn divides by it
_SUPERSAMPLING = 2  # samples a pixel and axis: a pixel of a cut covers up to 1.8 of the face's


class _Faces(ImageData):
    """What both share: where the faces lie, and the split by person."""

    def __init__(self, per_person: int, root: str | None, download: bool, **kwargs) -> None:
        super().__init__(num_validation=PEOPLE["val"] * per_person, **kwargs)
        self.per_person = per_person
        self.root = data_root(root)
        self.download = download

    def prepare_data(self) -> None:
        """Download the faces if they are missing, in one process."""
        read_faces(self.root, self.download)

    def _by_person(self, x: Tensor, origin: str) -> Arrays:
        """Training (with validation at its end) and test examples; ``x`` is in the order of people."""
        label = torch.arange(len(x)) // self.per_person
        border = (PEOPLE["train"] + PEOPLE["val"]) * self.per_person
        return Arrays(Part(x[:border], label[:border], origin), Part(x[border:], label[border:], origin))

    def _validation_rows(self, count: int) -> Tensor:
        # One of each person in turn: the first few, which pictures show, would else be one person's, or one face's.
        return torch.arange(count - self.num_validation, count).view(PEOPLE["val"], -1).T.flatten()


class Olivetti(_Faces):
    """400 faces, 64 x 64 grey: 40 people, ten pictures of each. The label is the person.

    Samaria & Harter, Parameterisation of a stochastic model for human face identification (1994),
    https://doi.org/10.1109/ACV.1994.341300. The first 25 people are the training split, the next 5 validation, the
    last 10 test: no person is in two of them. Pixels are the original bytes, 0 to 242.

    Args:
        root: folder that holds ``olivetti/olivetti_400x64x64.npy`` (uint8, in order), or else scikit-learn's download
            in ``olivetti/``; None for the environment's LIT_GEN_DATA, or else ``data``.
        download: let scikit-learn fetch the faces if they are not there.
        image_shape: (1, height, width).
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        image_shape: tuple[int, int, int] = (1, SIDE, SIDE),
        **kwargs,
    ) -> None:
        super().__init__(per_person=FACES_PER_PERSON, root=root, download=download, image_shape=image_shape, **kwargs)

    def read(self) -> Arrays:
        """The first 30 people's faces, of which the last 5 are held out, and the other 10 people's."""
        faces, origin = read_faces(self.root, self.download)
        return self._by_person(faces.unsqueeze(1), origin)


class FaceCuts(_Faces):
    """The middles of the Olivetti faces, turned, scaled and subsampled to 25 x 25: 414 cuts of each of the 400 faces.

    Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks (2006), supporting material,
    https://doi.org/10.1126/science.1127647: rotation from -90 to +90 degrees, scaling 1.4 to 1.8, cropping,
    subsampling; 103,500 training, 20,700 validation and 41,400 test images, of 25, 5 and 10 people. Read here as: a
    cut is the mean of 2 x 2 bilinear samples a pixel over a square about the face's centre whose side is 1.4 to 1.8
    times 25 pixels of the face (at 1.8 it just fits into the face at any angle), angle and scale uniform. The paper's
    normalisation (mean 0 at every pixel, average variance 1) is left to the model: pixels are handed out in [0, 1].

    Args:
        num_cuts: cuts of each face. A face's first n cuts are the same for every greater number.
        cut_seed: names their angles and scales.
        root: as in ``Olivetti``.
        download: as in ``Olivetti``.
        image_shape: (1, height, width); another size than 25 x 25 shows the same squares at that size.
        **kwargs: as in ``InMemoryData``.

    Raises:
        UserError: ``num_cuts`` below 1.
    """

    def __init__(
        self,
        num_cuts: int = 414,
        cut_seed: int = 0,
        root: str | None = None,
        download: bool = True,
        image_shape: tuple[int, int, int] = (1, 25, 25),
        **kwargs,
    ) -> None:
        if num_cuts < 1:
            raise UserError(f"FaceCuts needs num_cuts of at least 1, got {num_cuts}.")
        super().__init__(
            per_person=FACES_PER_PERSON * num_cuts, root=root, download=download, image_shape=image_shape, **kwargs
        )
        self.num_cuts = num_cuts
        self.cut_seed = cut_seed

    def prepare_data(self) -> None:
        """Download the faces if they are missing and cut them, in one process."""
        self.read()

    def read(self) -> Arrays:
        """Cut the faces, some seconds on one core, or map the cuts that the cache folder has from an earlier run."""
        faces, origin = read_faces(self.root, self.download)
        named = repr((1, self.num_cuts, self.cut_seed, self.image_shape)).encode()
        digest = hashlib.sha256(named + faces.numpy().tobytes()).hexdigest()
        file = cache_folder() / "images" / f"faces_{digest[:32]}.npy"
        return self._by_person(torch.from_numpy(kept(file, lambda: self._cut(faces))), f"cuts of {origin}")

    def _cut(self, faces: Tensor) -> np.ndarray:
        cuts = torch.empty(len(faces), self.num_cuts, *self.image_shape, dtype=torch.uint8)
        for number, face in enumerate(faces):
            # Drawn in pairs from a stream of the face's own, so that asking for more cuts changes none.
            drawn = torch.rand(self.num_cuts, 2, generator=make_generator(self.cut_seed, "face cuts", number))
            angle, scale = (drawn[:, 0] - 0.5) * math.pi, 1.4 + 0.4 * drawn[:, 1]
            cuts[number] = cut(face, angle, scale, self.image_shape[1:])
        return cuts.flatten(0, 1).numpy()


def kept(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in ``file``, mapped into memory, or else what ``make`` gives, left there for the next time."""
    with suppress(OSError, ValueError):  # not there, or damaged
        return np.load(file, mmap_mode="c", allow_pickle=False)
    array = make()
    # A cache that can't be written costs time, no more.
    with suppress(OSError), replacing(file) as part:
        np.save(part, array)
    return array


def cut(face: Tensor, angle: Tensor, scale: Tensor, size: tuple[int, int] = (25, 25)) -> Tensor:
    """Squares about the centre of a face, turned and subsampled.

    Args:
        face: (H, W), uint8.
        angle: (N,), radians.
        scale: (N,), the square's side in units of 25 pixels of the face.
        size: (height, width) of the cuts.

    Returns:
        (N, 1, height, width), uint8.
    """
    # Coordinates of grid_sample: -1 and 1 are the outer edges of the face.
    rows, columns = (axis_centres(count * _SUPERSAMPLING) for count in size)
    down, right = torch.meshgrid(rows, columns, indexing="ij")
    half = scale * 25 / face.shape[0]
    cos, sin = (half * function(angle) for function in (torch.cos, torch.sin))
    cos, sin = cos.view(-1, 1, 1), sin.view(-1, 1, 1)
    grid = torch.stack([cos * right - sin * down, sin * right + cos * down], dim=-1)  # (N, h, w, 2)
    # One picture and one tall grid: the face isn't repeated for each of its cuts.
    tall = grid.view(1, -1, *grid.shape[2:])
    samples = F.grid_sample(face[None, None].float(), tall, mode="bilinear", padding_mode="border", align_corners=False)
    fine = samples.view(len(angle), 1, *grid.shape[1:3])
    return F.avg_pool2d(fine, _SUPERSAMPLING).round().to(torch.uint8)


def axis_centres(count: int) -> Tensor:
    """Centres of ``count`` equal cells of [-1, 1]."""
    return (torch.arange(count) + 0.5) * (2 / count) - 1


def read_faces(root: Path, download: bool) -> tuple[Tensor, str]:
    """The (400, 64, 64) uint8 faces under ``root``, and what to call their source.

    Raises:
        UserError: they are missing and cannot be had, or are something else.
    """
    file = root / "olivetti" / "olivetti_400x64x64.npy"
    array = load(file) if file.is_file() else fetched(file.parent, download)
    if not isinstance(array, np.ndarray) or array.shape != (NUM_FACES, SIDE, SIDE) or array.dtype != np.uint8:
        raise UserError(f"{file} should hold one uint8 array of shape [{NUM_FACES}, {SIDE}, {SIDE}].")
    return torch.from_numpy(np.array(array)), str(file)


def fetched(folder: Path, download: bool) -> np.ndarray:
    """scikit-learn's copy of the faces in ``folder`` as the original bytes, downloaded first if need be.

    Raises:
        UserError: it isn't there and cannot be had, or is damaged.
    """
    from sklearn.datasets import fetch_olivetti_faces  # takes a second to import, and only this needs it

    reason = "download is off"
    if download or (folder / "olivetti_py3.pkz").is_file():
        try:
            faces = fetch_olivetti_faces(data_home=str(folder), download_if_missing=download)
            return np.round(faces.images * _BRIGHTEST).astype(np.uint8)
        except Exception as error:  # whatever the network, the disk or the unpickling has to say
            reason = " ".join(str(error).split())[-150:] or type(error).__name__
            with suppress(OSError):
                folder.rmdir()  # made for the download; if anything is in it, it stays
    raise UserError(
        f"{folder} has neither olivetti_400x64x64.npy nor scikit-learn's olivetti_py3.pkz ({reason}): put one there, "
        "or name the root by root or LIT_GEN_DATA."
    )
