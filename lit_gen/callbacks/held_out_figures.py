"""Figures of a held-out split: the hooks between which they are added up."""

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from lit_gen.errors import UserError
from lit_gen.protocols import Batch


class HeldOutFigures(Callback):
    """Base of callbacks that go through a validation or test split batch by batch and log figures at its end.

    A subclass writes ``_start``, ``_add`` and ``_log``, and perhaps ``_measures``; ``split`` is val or test.
    """

    def __init__(self) -> None:
        self.protocols: dict[str, str] = {}
        """The line that states how each logged figure was measured, by the figure's name."""
        self._measuring = False

    def _measures(self, trainer: Trainer, split: str) -> bool:
        """Whether this pass over the split is to be measured; asked at its start."""
        return True

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        """Forget what was added."""
        raise NotImplementedError

    def _add(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, split: str) -> None:
        """Add this rank's next examples."""
        raise NotImplementedError

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        """Log the figures of all ranks' examples, and put down their ``protocols``."""
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, pl_module, "test")

    def _begin(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        self._measuring = self._measures(trainer, split)
        if self._measuring:
            self._start(trainer, pl_module, split)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch: Batch, batch_idx: int, dataloader_idx=0
    ) -> None:
        self._add_checked(trainer, pl_module, batch, "val", dataloader_idx)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch: Batch, batch_idx: int, dataloader_idx=0
    ) -> None:
        self._add_checked(trainer, pl_module, batch, "test", dataloader_idx)

    def _add_checked(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, split: str, dataloader_idx: int
    ) -> None:
        if not self._measuring:
            return
        if dataloader_idx > 0:
            raise UserError(f"{type(self).__name__} scores one loader at a time, but there are several.")
        self._add(trainer, pl_module, batch, split)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._measuring:
            self._log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._measuring:
            self._log(trainer, pl_module, "test")


def device_of_sums(model: LightningModule) -> torch.device:
    """Where a model's figures are added up: sums are float64, which MPS doesn't have."""
    return model.device if model.device.type != "mps" else torch.device("cpu")


def binarization_of(data: LightningDataModule) -> str:
    """How the data were binarized, in a few words."""
    binarization = getattr(data, "binarization", "unknown")
    if binarization in ("fixed", "dynamic"):
        binarization += f" (seed {getattr(data, 'binarization_seed', 'unknown')})"
    return binarization
