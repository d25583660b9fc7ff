"""CIFAR-10, from torchvision's files and downloads."""

import textwrap
from pathlib import Path

import torch

from lit_gen.data.base import Arrays, Part
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root
from lit_gen.errors import UserError


class CIFAR10(ImageData):
    """50,000 + 10,000 colour photographs, 32 x 32, ten classes. Krizhevsky 2009, https://www.cs.toronto.edu/~kriz.

    Args:
        root: folder that holds ``cifar-10-batches-py/``; None for the environment's LIT_GEN_DATA, or else ``data``.
        download: fetch the files (170 MB) if they are not there.
        image_shape: (3, height, width); 32 x 32 is resized to any other.
        num_validation: the default leaves 45,000 images to train on.
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_validation: int = 5000,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=num_validation, **kwargs)
        self.root = data_root(root)
        self.download = download

    @property
    def _source(self) -> type:
        import torchvision  # slow to import, and most data modules do without

        return torchvision.datasets.CIFAR10

    @property
    def folder(self) -> Path:
        """Where the batch files are."""
        return self.root / self._source.base_folder

    def prepare_data(self) -> None:
        """Download what is missing or damaged, in one process.

        Raises:
            UserError: names the files that are missing or fail their checksum and cannot be had.
        """
        from torchvision.datasets.utils import check_integrity

        source = self._source
        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        wrong = [name for name, md5 in files if not check_integrity(str(self.folder / name), md5)]
        if not wrong:
            return
        reason = "download is off"
        if self.download:
            try:
                source(str(self.root), download=True)
                return
            except Exception as error:  # whatever the network or the disk has to say
                reason = f"the download failed: {textwrap.shorten(str(error), 200, placeholder=' …')}"
        raise UserError(
            f"In {self.folder} these are missing or damaged: {', '.join(wrong)} ({reason}). "
            f"Unpack {source.url} in {self.root}, or name another folder by --data.root or LIT_GEN_DATA."
        )

    def read(self) -> Arrays:
        """Read the six files through torchvision, which checks their checksums before it unpickles them."""
        self.prepare_data()
        return Arrays(*(self._part(train) for train in (True, False)))

    def _part(self, train: bool) -> Part:
        source = self._source(str(self.root), train=train, download=False)
        x = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
        return Part(x, torch.tensor(source.targets, dtype=torch.int64), str(self.folder))
