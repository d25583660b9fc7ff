"""MNIST and Fashion-MNIST, from torchvision's files and downloads."""

import math
import struct
import textwrap
from pathlib import Path

from lit_gen.data.base import Arrays, Part
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root
from lit_gen.errors import UserError

_FILES = tuple(f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))


class MNIST(ImageData):
    """60,000 + 10,000 handwritten digits, 28 x 28 grey, ten classes. LeCun et al. 1998, http://yann.lecun.com/exdb/mnist.

    Args:
        root: folder that holds ``MNIST/raw/`` with torchvision's four idx files; None for the environment's
            LIT_GEN_DATA, or else ``data``.
        download: fetch the files if they are not there.
        image_shape: (1, height, width); 28 x 28 is resized to any other.
        num_validation: the default leaves 55,000 images to train on.
        **kwargs: as in ``InMemoryData``.
    """

    _name = "MNIST"

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_validation: int = 5000,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=num_validation, **kwargs)
        self.root = data_root(root)
        self.download = download

    @property
    def _source(self) -> type:
        import torchvision  # slow to import, and most data modules do without

        return getattr(torchvision.datasets, self._name)

    @property
    def folder(self) -> Path:
        """Where the idx files are."""
        return self.root / self._name / "raw"

    def prepare_data(self) -> None:
        """Download what is missing, in one process.

        Raises:
            UserError: something is missing and cannot be had, or a file is damaged.
        """
        missing = [name for name in _FILES if not (self.folder / name).is_file()]
        if missing:
            reason = "download is off"
            if self.download:
                try:
                    self._source(str(self.root), download=True)
                    reason = ""
                except Exception as error:  # whatever the network or the disk has to say
                    reason = f"the download failed: {textwrap.shorten(str(error), 200, placeholder=' …')}"
            if reason:
                raise UserError(
                    f"{self.folder} lacks {', '.join(missing)} ({reason}). Put torchvision's files there "
                    f"(unpacked, from {self._source.mirrors[0]}), or say where they are by --data.root or LIT_GEN_DATA."
                )
        check_files(self.folder)

    def read(self) -> Arrays:
        """Read the four files through torchvision."""
        self.prepare_data()
        return Arrays(*(self._part(train) for train in (True, False)))

    def _part(self, train: bool) -> Part:
        source = self._source(str(self.root), train=train, download=False)
        return Part(source.data.unsqueeze(1), source.targets, str(self.folder / _FILES[0 if train else 2]))


class FashionMNIST(MNIST):
    """60,000 + 10,000 pictures of clothes, 28 x 28 grey, ten classes. Xiao et al. 2017, https://arxiv.org/abs/1708.07747.

    Takes what ``MNIST`` takes; the files are in ``FashionMNIST/raw/``.
    """

    _name = "FashionMNIST"


def check_files(folder: Path) -> None:
    """Refuse four files that aren't images and labels of ten classes, as many of the one as of the other.

    Raises:
        UserError: names the file and what is wrong with it; says where two of them look swapped.
    """
    shapes = {name: check_idx(folder / name) for name in _FILES}
    for images, labels in (_FILES[:2], _FILES[2:]):
        for name, dimensions, expected in ((images, 3, "[N, 28, 28]"), (labels, 1, "[N]")):
            if len(shapes[name]) != dimensions:
                raise UserError(
                    f"{folder / name} holds an array of shape {list(shapes[name])} where {expected} is "
                    "expected: are the files of images and labels swapped?"
                )
        if shapes[images][0] != shapes[labels][0]:
            raise UserError(
                f"{folder / images} holds {shapes[images][0]} images, but {labels} {shapes[labels][0]} labels: are the "
                "files of training and test swapped?"
            )
        if not math.prod(shapes[images]):
            raise UserError(f"{folder / images} holds no images: its shape is {list(shapes[images])}.")
        greatest = max((folder / labels).read_bytes()[8:])
        if greatest > 9:
            raise UserError(f"{folder / labels} holds the label {greatest}, but the classes are 0 to 9.")
    if shapes[_FILES[0]][0] < shapes[_FILES[2]][0]:
        raise UserError(
            f"{folder} has {shapes[_FILES[0]][0]} images in {_FILES[0]} and {shapes[_FILES[2]][0]} in {_FILES[2]}: are "
            "the files of training and test swapped?"
        )


def check_idx(path: Path) -> tuple[int, ...]:
    """The shape of the array in an idx file of bytes, whose length must be what its header says.

    The header is 0, 0, 8 (unsigned bytes), the number of dimensions, and each dimension as a big-endian int32.

    Raises:
        UserError: names the file, its size and what it should be.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        header = file.read(4 * magic[3]) if len(magic) == 4 else b""
    if len(magic) < 4 or magic[:3] != b"\0\0\x08" or len(header) < 4 * magic[3]:
        raise UserError(f"{path} ({size} bytes) is not an idx file of bytes: delete it, and it is fetched again.")
    shape = struct.unpack(f">{magic[3]}I", header)
    expected = 4 + len(header) + math.prod(shape)
    if size != expected:
        raise UserError(
            f"{path} has {size} bytes where its header says {expected}: it is cut short or damaged; "
            "delete it, and it is fetched again."
        )
    return shape
