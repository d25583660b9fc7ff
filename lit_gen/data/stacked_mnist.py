"""Stacked MNIST: a thousand modes that can be counted."""

import torch
from torch import Tensor

from lit_gen.data.base import Arrays, Part, rows_besides
from lit_gen.data.images import ImageData, resize
from lit_gen.data.mnist import MNIST
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator


class StackedImages:
    """Images whose channels are rows of other images, put together as they are asked for.

    Takes the place of a tensor (N, 3, H, W) uint8 where only whole images are taken from it.

    Args:
        images: (M, H, W) uint8.
        rows: (N, 3) int64, rows of ``images``.
    """

    dtype = torch.uint8

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self.images = images
        self.rows = rows
        self.shape = torch.Size((len(rows), rows.shape[1], *images.shape[1:]))
        self.device = images.device
        self.nbytes = images.nbytes + rows.nbytes

    def __len__(self) -> int:
        return len(self.rows)

    def dim(self) -> int:
        """4."""
        return len(self.shape)

    def is_floating_point(self) -> bool:
        """No."""
        return False

    def to(self, device: torch.device) -> "StackedImages":
        """The same on ``device``."""
        return StackedImages(self.images.to(device), self.rows.to(device))

    def __getitem__(self, index) -> Tensor:
        return self.images[self.rows[index]]

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """(B,) numbers of images -> (B, 3, H, W) uint8; ``dim`` must be 0."""
        if dim != 0:
            raise ValueError(f"whole images alone can be taken, along dimension 0, not {dim}")
        return self[index]


class StackedMNIST(ImageData):
    """Three random digits of MNIST as the channels of one image, (3, 28, 28): 1,000 modes of equal weight.

    Metz et al., Unrolled Generative Adversarial Networks (2017), Section 3.3.1, https://arxiv.org/abs/1611.02163, after
    Che et al., Mode Regularized GANs (2017); 128,000 images as in Lin et al., PacGAN (2018), Section 4.2,
    https://arxiv.org/abs/1712.04086. An image of the digits a, b, c has the label 100 a + 10 b + c.

    Each image's three digits are drawn uniformly, with replacement, by ``data_seed``; the images are put together
    batch by batch. Digits that validation images are made of (the 5,000 that ``MNIST`` holds out by ``split_seed``)
    and those of MNIST's test set are in no training image.

    Args:
        root: as in ``MNIST``.
        download: as in ``MNIST``.
        image_shape: (3, height, width); 28 x 28 is resized to any other.
        num_train: number of training images.
        num_validation: number of validation images.
        num_test: number of test images.
        num_held_out_digits: MNIST's training digits that validation images are made of.
        data_seed: seed of which digits an image is made of; not the run's seed.
        **kwargs: as in ``InMemoryData``; images cannot be binarized.

    Raises:
        UserError: counts below 1, other shapes than (3, height, width), binarization.
    """

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        image_shape: tuple[int, int, int] = (3, 28, 28),
        num_train: int = 128_000,
        num_validation: int = 10_000,
        num_test: int = 10_000,
        num_held_out_digits: int = 5_000,
        data_seed: int = 0,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, num_validation=num_validation, **kwargs)
        if self.image_shape[0] != 3:
            raise UserError(f"StackedMNIST has images (3, height, width), not {list(image_shape)}.")
        if self.binarization != "none":
            raise UserError("StackedMNIST cannot be binarized: binarization must be none.")
        if min(num_train, num_test, num_held_out_digits) < 1:
            raise UserError("StackedMNIST: num_train, num_test and num_held_out_digits must be at least 1.")
        self.num_train = num_train
        self.num_test = num_test
        self.num_held_out_digits = num_held_out_digits
        self.data_seed = data_seed
        self.digits = MNIST(root, download, num_validation=num_held_out_digits, split_seed=self.split_seed)

    def prepare_data(self) -> None:
        """Download MNIST where it is missing; see ``MNIST``."""
        self.digits.prepare_data()

    def read(self) -> Arrays:
        """MNIST's digits, and which of them each image is made of."""
        train, test = self.digits.read()
        if self.num_held_out_digits >= len(train.x):
            raise UserError(
                f"num_held_out_digits {self.num_held_out_digits} leaves none of the {len(train.x)} digits to train on."
            )
        held_out = self.digits._validation_rows(len(train.x))
        rows = [
            self._drawn("train", rows_besides(held_out, len(train.x)), self.num_train),
            self._drawn("val", held_out, self.num_validation),
        ]
        of_test = self._drawn("test", torch.arange(len(test.x)), self.num_test)
        return Arrays(self._stacked(train, torch.cat(rows)), self._stacked(test, of_test))

    def _drawn(self, split: str, rows: Tensor, count: int) -> Tensor:
        """(count, 3) of the given rows."""
        chosen = torch.randint(len(rows), (count, 3), generator=make_generator(self.data_seed, "StackedMNIST", split))
        return rows[chosen]

    def _stacked(self, digits: Part, rows: Tensor) -> Part:
        images = digits.x
        if tuple(images.shape[2:]) != self.image_shape[1:]:
            images = resize(images, *self.image_shape[1:])
        label = (digits.label[rows] * torch.tensor([100, 10, 1])).sum(1)
        return Part(StackedImages(images.squeeze(1), rows), label, f"stacked {digits.origin}")

    def _validation_rows(self, count: int) -> Tensor:
        """The last ones: those made of digits that were held out."""
        return torch.arange(count - self.num_validation, count)
