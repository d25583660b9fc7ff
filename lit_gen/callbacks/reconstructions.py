"""Pictures of examples and of what the model makes of them."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.first_examples import FirstExamples
from lit_gen.callbacks.intervals import due
from lit_gen.callbacks.pictures import picture_of, save_picture
from lit_gen.errors import UserError
from lit_gen.metrics.principal_components import (
    PrincipalComponents,
    check_num_components,
    fit_principal_components,
)
from lit_gen.protocols import Codes
from lit_gen.randomness import derive_seed, seeded


class Reconstructions(Callback):
    """Saves ``samples/reconstructions_<step>.png``: the first validation examples above, their reconstructions below.

    The examples are shown as the model sees them. Points of the plane are drawn as two scatters instead,
    reconstructions on the left and examples on the right.

    Args:
        num_examples: columns of the picture.
        every_n_epochs: a picture at the validation of every n-th epoch.
        pca_components: a third row has the reconstructions by so many principal components of the training images, as
            they were read, not binarized. They are found in one pass at the first picture.

    Raises:
        UserError: on counts below 1; at setup, if the model has no encode(x) and decode(z), or there can't be so many
            principal components or images of them.
    """

    def __init__(self, num_examples: int = 8, every_n_epochs: int = 1, pca_components: int | None = None) -> None:
        for name, value in [("num_examples", num_examples), ("every_n_epochs", every_n_epochs)]:
            if value < 1:
                raise UserError(f"Reconstructions needs {name} of at least 1, got {value}.")
        self.every_n_epochs = every_n_epochs
        self.pca_components = pca_components
        self._examples = FirstExamples(num_examples)
        self._pca: PrincipalComponents | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Codes):
            raise UserError(
                f"Reconstructions needs a model with encode(x) and decode(z), which a {type(pl_module).__name__} "
                "hasn't; take the callback out of the config."
            )
        self._pca = None
        if self.pca_components is not None:
            self._check_pca(trainer.datamodule)

    def _check_pca(self, data) -> None:
        shape = tuple(getattr(data, "event_shape", ()))
        if len(shape) != 3 or not hasattr(data, "reference_loader"):
            raise UserError(
                "Reconstructions draws pca_components beside the reconstructions of a data module's images only; take "
                "pca_components out of the config."
            )
        check_num_components(
            self.pca_components,
            torch.Size(shape).numel(),
            data.num_examples("train") if hasattr(data, "num_examples") else None,
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
        x = self._examples.x
        with eval_mode(pl_module), seeded(derive_seed("reconstructions"), pl_module.device):
            reconstructed = pl_module.decode(pl_module.encode(x))
        rows = [x, reconstructed.to(x)]
        if self.pca_components is not None:
            rows.append(self._by_pca(trainer, x))
        if trainer.is_global_zero:
            names = ["data", "reconstruction", f"PCA of {self.pca_components}"][: len(rows)]
            x = torch.cat(rows) if x.dim() == 4 else reconstructed
            picture = picture_of(x, len(rows[0]), beside=rows[0], name="reconstructions", rows=names)
            save_picture(trainer, "reconstructions", picture, "the first validation examples and their reconstructions")

    def _by_pca(self, trainer: Trainer, x: Tensor) -> Tensor:
        """(B, C, H, W) -> their reconstructions. A collective call the first time."""
        if self._pca is None:
            self._pca = fit_principal_components(trainer.datamodule.reference_loader("train"), self.pca_components)
        return self._pca.decode(self._pca.encode(x)).view_as(x).clamp(0.0, 1.0)
