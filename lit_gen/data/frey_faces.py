"""Frey's face: the frames of a short film, split by stretches of time."""

from pathlib import Path

import numpy as np
import torch

from lit_gen.data.array_file import load
from lit_gen.data.base import Arrays, Part
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root
from lit_gen.errors import UserError

NUM_FRAMES, HEIGHT, WIDTH = 1965, 28, 20
NUM_PARTS, HELD_OUT = 5, 40
"""The film is five parts of 393 frames. Of each the last 40 frames are test, and the 40 before them validation."""

SOURCE = "https://cs.nyu.edu/~roweis/data/frey_rawface.mat"


class FreyFaces(ImageData):
    """1,965 frames of a film of one face, 28 x 20 grey, without labels: 1,565 to train on, 200 and 200 held out.

    Roweis, Saul & Hinton, Global coordination of local linear models (2001); the data of Fig. 2 and 4 of Kingma &
    Welling (2014), https://arxiv.org/abs/1312.6114. Frames are in time order and neighbours all but equal, so frames
    drawn at random would test what was trained on: see ``NUM_PARTS`` for the stretches that are held out.

    Args:
        root: folder that holds ``freyfaces/freyfaces_1965x28x20.npy`` (uint8) or else the published
            ``freyfaces/frey_rawface.mat``; None for the environment's LIT_GEN_DATA, or else ``data``.
        image_shape: (1, height, width); 28 x 20 is resized to any other.
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(
        self, root: str | None = None, image_shape: tuple[int, int, int] = (1, HEIGHT, WIDTH), **kwargs
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=NUM_PARTS * HELD_OUT, **kwargs)
        self.root = data_root(root)

    def read(self) -> Arrays:
        """Read the file.

        Raises:
            UserError: it is missing, damaged, or holds something else.
        """
        frames, origin = read_frames(self.root / "freyfaces")
        parts = torch.from_numpy(frames).view(NUM_PARTS, -1, 1, HEIGHT, WIDTH)
        train, test = parts[:, :-HELD_OUT].flatten(0, 1), parts[:, -HELD_OUT:].flatten(0, 1)
        return Arrays(Part(train, None, origin), Part(test, None, origin))

    def _validation_rows(self, count: int) -> torch.Tensor:
        rows = torch.arange(count).view(NUM_PARTS, -1)[:, -HELD_OUT:]
        return rows.T.flatten()  # one of each part in turn: pictures show the first few


def read_frames(folder: Path) -> tuple[np.ndarray, str]:
    """The (1965, 28, 20) uint8 frames in ``folder``, in time order, and what to call their source.

    Raises:
        UserError: they are missing, damaged, or something else.
    """
    array_file, matlab_file = folder / f"freyfaces_{NUM_FRAMES}x{HEIGHT}x{WIDTH}.npy", folder / "frey_rawface.mat"
    if array_file.is_file():
        frames, origin = load(array_file), array_file
    elif matlab_file.is_file():
        frames, origin = load_matlab(matlab_file), matlab_file
    else:
        raise UserError(
            f"{folder} has neither {array_file.name} nor {matlab_file.name}: put one there ({SOURCE}), or name the "
            "root by root or LIT_GEN_DATA."
        )
    if not isinstance(frames, np.ndarray) or frames.shape != (NUM_FRAMES, HEIGHT, WIDTH) or frames.dtype != np.uint8:
        raise UserError(f"{origin} should hold {NUM_FRAMES} uint8 frames of {HEIGHT} x {WIDTH} and nothing else.")
    return np.array(frames), str(origin)


def load_matlab(path: Path) -> np.ndarray:
    """The frames of the published file, a matrix ``ff`` (560, N) whose columns are frames: (N, 28, 20).

    Raises:
        UserError: the file is cut short, not MATLAB's, or holds no such matrix.
    """
    from scipy.io import loadmat  # takes a while to import, and only this needs it

    try:
        matrix = loadmat(path)["ff"]
        return np.ascontiguousarray(matrix.T.reshape(-1, HEIGHT, WIDTH))
    except Exception as error:  # whatever is wrong with a file, scipy has another exception for it
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"{path} cannot be read as MATLAB's file of a {HEIGHT * WIDTH} x N matrix ff: {reason}"
        ) from error
