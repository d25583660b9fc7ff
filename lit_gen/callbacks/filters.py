"""Pictures of the directions in data space that a model works with."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.intervals import EpochPicture
from lit_gen.callbacks.pictures import columns_of, image_grid, save_picture
from lit_gen.errors import UserError
from lit_gen.protocols import Filters as HasFilters


class Filters(EpochPicture):
    """Saves ``samples/filters_<step>.png``: PCA's eigen-images, the first layer of an RBM or an autoencoder.

    Each filter is shown about its own zero, which is mid-grey, at a scale of its own: its entry of the greatest size is
    black or white. In colours, for filters of one channel, zero is white, negative is blue and positive is red.

    Args:
        num_filters: how many are shown at most, the first ones.
        every_n_epochs: a picture at the end of every n-th epoch.
        at_start: also one of the untrained model, at step 0.
        diverging: in colours.

    Raises:
        UserError: on counts below 1; at setup, if the model has no filters or the data aren't images.
    """

    def __init__(
        self, num_filters: int = 100, every_n_epochs: int = 1, at_start: bool = False, diverging: bool = False
    ) -> None:
        for name, value in [("num_filters", num_filters), ("every_n_epochs", every_n_epochs)]:
            if value < 1:
                raise UserError(f"Filters needs {name} of at least 1, got {value}.")
        super().__init__(every_n_epochs, at_start)
        self.num_filters = num_filters
        self.diverging = diverging

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, HasFilters):
            raise UserError(
                f"Filters needs a model with filters(), which a {type(pl_module).__name__} hasn't; take the callback "
                "out of the config."
            )
        shape = tuple(getattr(trainer.datamodule, "event_shape", (1, 1, 1)))
        if len(shape) != 3:
            raise UserError(
                f"Filters draws images, and the filters of examples of shape {shape} aren't: take the callback out of "
                "the config."
            )

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See the base class."""
        # Every rank asks, though one picture is kept: a model whose weights are sharded needs all of them.
        with eval_mode(pl_module):
            filters = pl_module.filters()[: self.num_filters]
        if trainer.is_global_zero:
            every = columns_of(len(filters))
            rows = [f"from {number}" for number in range(0, len(filters), every)]
            scale = "blue negative, white zero, red positive" if self.diverging else "mid-grey is zero"
            title = f"filters 0 to {len(filters) - 1}, row by row\n{scale}; each divided by its greatest size"
            grid = image_grid(signed_images(filters, self.diverging), every, rows=rows)
            save_picture(trainer, "filters", grid, title)


def signed_images(x: Tensor, diverging: bool = False) -> Tensor:
    """Signed (N, C, H, W) values as pixels in [0, 1], each image divided by its greatest absolute value.

    Args:
        x: any finite values; an image of nothing but zeros stays so.
        diverging: blue through white to red, (N, 3, H, W), for C = 1; otherwise 0 is 0.5.
    """
    greatest = x.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
    x = x / torch.where(greatest > 0, greatest, 1.0)
    if not diverging or x.shape[1] != 1:
        return (x + 1) / 2
    return torch.cat([1 + x.clamp_max(0), 1 - x.abs(), 1 - x.clamp_min(0)], dim=1)
