"""What every generative LightningModule shares: named noise, and one road for the terms of a loss."""

from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lit_gen.distributed import sum_over_ranks
from lit_gen.randomness import derive_seed, run_seed, seed_torch


class GenerativeModel(LightningModule):
    """Base of all models.

    ``training_step`` returns a mapping of named scalar tensors, all detached but ``loss`` (automatic optimization) or
    all of them (manual); ``validation_step`` and ``test_step`` return a mapping of named (B,) tensors, one value an
    example. This class logs them: training terms as ``train/<name>`` every ``log_every_n_steps``, evaluation terms as
    ``val/<name>`` and ``test/<name>``, each the mean over the whole split with every example counted once.

    Torch's global generators are seeded before each step from the run's seed, the rank, the purpose and the number of
    the step: two ranks never draw the same noise, and a resumed run draws what the unbroken one would have.
    """

    progress_bar_terms: tuple[str, ...] = ("loss",)
    """Names of the terms that the progress bar shows."""

    _of_train_noise: tuple[str, torch.device] | None = None

    def __setattr__(self, name: str, value) -> None:
        # Lightning notes the hook it is in, some forty times a step; a module's way of setting attributes looks for
        # parameters first and takes ten times as long.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def _seed_step(self, purpose: str, step: int) -> None:
        seed_torch(derive_seed(run_seed(), purpose, self.global_rank, step), self.device)

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        # Looked up once an epoch: in a small model's step each look-up is felt.
        if batch_idx == 0 or self._of_train_noise is None:
            self._of_train_noise = (f"{run_seed()}\0train\0{self.global_rank}", self.device)
        words, device = self._of_train_noise
        seed_torch(derive_seed(words, self.trainer.fit_loop.epoch_loop.total_batch_idx), device)

    def on_validation_batch_start(self, batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._seed_step("val", batch_idx)

    def on_test_batch_start(self, batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._seed_step("test", batch_idx)

    def on_predict_batch_start(self, batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._seed_step("predict", batch_idx)

    def on_train_batch_end(self, outputs: Mapping[str, Tensor], batch, batch_idx: int) -> None:
        # Lightning's bookkeeping of a logged value costs more than a small model's arithmetic, so it is entered only
        # for the steps that reach the loggers.
        trainer = self.trainer
        if (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % trainer.log_every_n_steps == 0:
            for name, value in outputs.items():
                self.log(f"train/{name}", value.detach(), prog_bar=name in self.progress_bar_terms)

    # Lightning's own mean over ranks divides the number of examples among them in whole numbers.

    def _forget_evaluation(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def _add_evaluation(self, outputs: Mapping[str, Tensor]) -> None:
        for name, value in outputs.items():
            total = torch.stack([value.detach().double().sum(), torch.tensor(len(value), device=value.device)])
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def _log_evaluation(self, split: str) -> dict[str, float]:
        """Log each term's mean over the examples of all ranks, and return them."""
        means = {}
        for name, sums in self._sums.items():
            total, count = sum_over_ranks(sums)
            mean = total / count  # a tensor: Lightning would make single precision of a number
            shown = split == "val" and name in self.progress_bar_terms
            # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
            self.log(f"{split}/{name}", mean, sync_dist=True, batch_size=1, prog_bar=shown)
            means[name] = mean.item()
        self._forget_evaluation()
        return means

    def on_validation_epoch_start(self) -> None:
        self._forget_evaluation()

    def on_test_epoch_start(self) -> None:
        self._forget_evaluation()

    def on_validation_batch_end(self, outputs, batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._add_evaluation(outputs or {})

    def on_test_batch_end(self, outputs, batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._add_evaluation(outputs or {})

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")
