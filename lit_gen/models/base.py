"""What every generative LightningModule shares: named noise, and one road for the terms of a loss."""

from collections.abc import Callable, Mapping
from functools import wraps

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lit_gen.distributed import sum_over_ranks
from lit_gen.models.noise_by_example import NoiseByExample
from lit_gen.randomness import derive_seed, run_seed, seed_torch

_PURPOSES = {"validation_step": "val", "test_step": "test", "predict_step": "predict"}


def _with_noise_by_example(step: Callable, purpose: str) -> Callable:
    """A model's evaluation step with its draws tied to the examples' numbers, where the batch tells them."""

    @wraps(step)
    def tied(self, batch, batch_idx=0, *rest):
        numbered = isinstance(getattr(batch, "index", None), Tensor)
        if not numbered or self.__dict__.get("_is_in_step", False):  # a test step is often the validation step
            return step(self, batch, batch_idx, *rest)
        self.__dict__["_is_in_step"] = True
        try:
            seed = derive_seed(run_seed(), purpose, "by example")
            return self._noise(purpose).run(lambda batch: step(self, batch, batch_idx, *rest), batch, seed)
        finally:
            self.__dict__["_is_in_step"] = False

    return tied


class GenerativeModel(LightningModule):
    """Base of all models.

    ``training_step`` returns a mapping of named scalar tensors, all detached but ``loss`` (automatic optimization) or
    all of them (manual); ``validation_step`` and ``test_step`` return a mapping of named (B,) tensors, one value an
    example. This class logs them: training terms as ``train/<name>`` every ``log_every_n_steps``, evaluation terms as
    ``val/<name>`` and ``test/<name>``, each the mean over the whole split with every example counted once.

    Torch's global generators are seeded before each step from the run's seed, the rank, the purpose and the number of
    the step: two ranks never draw the same noise, and a resumed run draws what the unbroken one would have. What a
    ``validation_step``, ``test_step`` or ``predict_step`` draws is tied to the examples' numbers instead (see
    ``NoiseByExample``), so that its terms don't depend on the batch size, the order or the number of processes; to find
    out how its draws lie, the first batch's step is run three times more. A step must do nothing but give its terms.
    """

    progress_bar_terms: tuple[str, ...] = ("loss",)
    """Names of the terms that the progress bar shows."""

    protocols: Mapping[str, str] = {}
    """The line that states how each logged evaluation term was measured, by the term's name."""

    _of_train_noise: tuple[str, torch.device] | None = None

    def __setattr__(self, name: str, value) -> None:
        # Lightning notes the hook it is in, some forty times a step; a module's way of setting attributes looks for
        # parameters first and takes ten times as long.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        for step, purpose in _PURPOSES.items():
            if step in vars(cls):
                setattr(cls, step, _with_noise_by_example(vars(cls)[step], purpose))

    def _noise(self, purpose: str) -> NoiseByExample:
        """What is known of the draws of the step for that purpose."""
        return self.__dict__.setdefault("_noises", {}).setdefault(purpose, NoiseByExample())

    def draws_in_words(self) -> str:
        """What is drawn for each example in evaluation, for the protocols: "1 draw of z"."""
        return "noise"

    def _protocol(self, split: str, count: int) -> str:
        """How the terms of a split, of which there were so many examples, were measured."""
        noise = self._noise(split)
        if not noise.draws:
            return f"mean over {count:,} {split} examples"
        tie = (
            f"tied to the example's number, seed {run_seed()}"
            if noise.is_tied
            else f"of seed {run_seed()}, which depends on batch size and number of processes"
        )
        return f"mean over {count:,} {split} examples; {self.draws_in_words()} each, {tie}"

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
            self.protocols = {**self.protocols, f"{split}/{name}": self._protocol(split, int(count))}
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
