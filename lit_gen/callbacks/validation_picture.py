"""What pictures made of a few validation examples' codes share."""

from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.first_examples import FirstExamples
from lit_gen.callbacks.intervals import due
from lit_gen.callbacks.pictures import save_picture
from lit_gen.errors import UserError
from lit_gen.protocols import Codes
from lit_gen.randomness import derive_seed, seeded


class ValidationPicture(Callback):
    """Base: saves ``samples/<name>_<step>.png`` at validation, drawn from the first examples as the model sees them.

    A subclass says its ``name``, how to ``draw`` and the ``title``.

    Args:
        num_examples: how many examples ``draw`` is given.
        every_n_epochs: a picture at the validation of every n-th epoch.

    Raises:
        UserError: ``every_n_epochs`` below 1; at setup, a model without codes or data that aren't images; at the first
            picture, codes that aren't vectors.
    """

    name: str

    def __init__(self, num_examples: int, every_n_epochs: int) -> None:
        if every_n_epochs < 1:
            raise UserError(f"{type(self).__name__} needs every_n_epochs of at least 1, got {every_n_epochs}.")
        self.every_n_epochs = every_n_epochs
        self._examples = FirstExamples(num_examples)

    def draw(self, model: Codes, x: Tensor, codes: Tensor) -> Image.Image:
        """The picture of (N, C, H, W) examples and their (N, Z) codes; the model is in evaluation mode."""
        raise NotImplementedError

    def title(self, codes: Tensor) -> str:
        """What the picture shows, of the (N, Z) codes of as many examples as there were."""
        raise NotImplementedError

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        callback = type(self).__name__
        if not isinstance(pl_module, Codes):
            raise UserError(
                f"{callback} needs a model with encode(x) and decode(z), which a {type(pl_module).__name__} hasn't; "
                "take the callback out of the config."
            )
        shape = tuple(getattr(trainer.datamodule, "event_shape", (1, 1, 1)))
        if len(shape) != 3:
            raise UserError(
                f"{callback} draws images, not examples of shape {shape}; take the callback out of the config."
            )

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
        # Every rank draws, though one picture is kept: a model whose weights are sharded needs all of them.
        with eval_mode(pl_module), seeded(derive_seed(self.name), pl_module.device):
            codes = pl_module.encode(self._examples.x)
            if codes.dim() != 2:
                raise UserError(
                    f"{type(self).__name__} moves along the coordinates of a vector, but the model's codes have shape "
                    f"{tuple(codes.shape[1:])}; take the callback out of the config."
                )
            picture = self.draw(pl_module, self._examples.x, codes)
        save_picture(trainer, self.name, picture, self.title(codes))
