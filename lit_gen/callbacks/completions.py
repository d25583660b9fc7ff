"""Pictures of examples of which a part was given, as a model completes them."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.first_examples import FirstExamples
from lit_gen.callbacks.intervals import due
from lit_gen.callbacks.pictures import image_grid, save_picture
from lit_gen.errors import UserError
from lit_gen.protocols import Completes
from lit_gen.randomness import derive_seed, seeded


class Completions(Callback):
    """Saves ``samples/completions_<step>.png``, a row for each of the first validation examples.

    On the left what is given, the rest grey; then several completions, from the same noise in every picture; on the
    right the example itself.

    Args:
        num_examples: rows of the picture.
        num_completions: of each example.
        every_n_epochs: a picture at the validation of every n-th epoch.
        seed: names the noise.

    Raises:
        UserError: on counts below 1; at setup, if the model completes nothing or the data aren't images.
    """

    def __init__(self, num_examples: int = 8, num_completions: int = 6, every_n_epochs: int = 1, seed: int = 0) -> None:
        for name, value in [
            ("num_examples", num_examples),
            ("num_completions", num_completions),
            ("every_n_epochs", every_n_epochs),
        ]:
            if value < 1:
                raise UserError(f"Completions needs {name} of at least 1, got {value}.")
        self.num_completions = num_completions
        self.every_n_epochs = every_n_epochs
        self.seed = seed
        self._examples = FirstExamples(num_examples)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Completes):
            raise UserError(
                f"Completions needs a model with visible(x) and complete(x, num_samples), which a "
                f"{type(pl_module).__name__} hasn't; take the callback out of the config."
            )
        shape = tuple(getattr(trainer.datamodule, "event_shape", (1, 1, 1)))
        if len(shape) != 3:
            raise UserError(f"Completions draws images, but an example of these data has shape {shape}.")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._examples.clear()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if dataloader_idx == 0 and due(trainer, self.every_n_epochs):
            self._examples.add(batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not len(self._examples):
            return
        x, label = self._examples.x, self._examples.label
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "completions"), pl_module.device):
            completed = pl_module.complete(x, self.num_completions, label)  # (K, B, C, H, W)
            columns = torch.cat([pl_module.visible(x, label).unsqueeze(0), completed.to(x), x.unsqueeze(0)])
        if trainer.is_global_zero:
            names = ["given", *(f"{number + 1}" for number in range(self.num_completions)), "data"]
            grid = image_grid(columns.transpose(0, 1).flatten(0, 1), len(columns), columns=names)
            save_picture(trainer, "completions", grid, f"{self.num_completions} completions of what is given")
