"""Pictures of what a model draws of each class."""

import torch
from lightning.pytorch import LightningModule, Trainer

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.intervals import EpochPicture
from lit_gen.callbacks.pictures import image_grid, save_picture
from lit_gen.errors import UserError
from lit_gen.protocols import SamplesOfClasses
from lit_gen.randomness import derive_seed, seed_torch, seeded


class ClassGrid(EpochPicture):
    """Saves ``samples/classes_<step>.png``, one row a class.

    All rows start from the same noise: where the model has a latent besides the class, a column shows one latent in
    every class.

    Args:
        num_columns: samples of each class.
        every_n_epochs: a picture at the end of every n-th epoch.
        seed: names the noise.

    Raises:
        UserError: on counts below 1; at setup, if the model can't be drawn from by class or the data aren't images.
    """

    def __init__(self, num_columns: int = 10, every_n_epochs: int = 1, seed: int = 0) -> None:
        for name, value in [("num_columns", num_columns), ("every_n_epochs", every_n_epochs)]:
            if value < 1:
                raise UserError(f"ClassGrid needs {name} of at least 1, got {value}.")
        super().__init__(every_n_epochs, at_start=False)
        self.num_columns = num_columns
        self.seed = seed

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, SamplesOfClasses):
            raise UserError(
                f"ClassGrid can't draw from a {type(pl_module).__name__}: it has no sample_classes(label); take the "
                "callback out of the config."
            )
        shape = tuple(getattr(trainer.datamodule, "event_shape", (1, 1, 1)))
        if len(shape) != 3:
            raise UserError(f"ClassGrid draws images, but an example of these data has shape {shape}.")

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See the base class."""
        device, seed = pl_module.device, derive_seed(self.seed, "class_grid")
        # Every rank draws, though one picture is kept: a model whose weights are sharded needs all of them.
        with eval_mode(pl_module), seeded(seed, device):
            rows = []
            for number in range(pl_module.num_classes):
                seed_torch(seed, device)
                rows.append(pl_module.sample_classes(torch.full((self.num_columns,), number, device=device)))
        if trainer.is_global_zero:
            names = class_labels(trainer.datamodule, pl_module.num_classes)
            grid = image_grid(torch.cat(rows), self.num_columns, rows=names)
            save_picture(trainer, "classes", grid, "samples of each class\nall rows from the same noise")


def class_labels(data, num_classes: int) -> list[str]:
    """The data's names of classes, and "class i" for those without."""
    names = list(getattr(data, "class_names", None) or [])[:num_classes]
    return [str(name) for name in names] + [f"class {number}" for number in range(len(names), num_classes)]
