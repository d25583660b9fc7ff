"""Ctrl-C ends a run between two steps, with its state saved."""

import signal
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_gen.errors import Interrupted

AGREE_EVERY = 10
"""Batches, over all epochs, between two looks at whether any rank was interrupted; a look is a collective operation."""


class StopOnInterrupt(Callback):
    """At the first Ctrl-C the step under way is finished, ``checkpoint`` is written and ``Interrupted`` raised.

    A second Ctrl-C stops at once, as without this callback. With several ranks an interrupt of any of them stops all
    of them after the same step.

    Args:
        checkpoint: the file to write.
        how_to_resume: told to the person when the run has stopped.
    """

    def __init__(self, checkpoint: Path, how_to_resume: str) -> None:
        self.checkpoint = checkpoint
        self.how_to_resume = how_to_resume
        self._interrupted = False
        self._previous = None

    def _on_signal(self, number: int, frame) -> None:
        self._interrupted = True
        print("\nlit-gen: stopping after this step (Ctrl-C again stops at once)", flush=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._interrupted = False
        self._previous = signal.signal(signal.SIGINT, self._on_signal)

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _any_interrupted(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        if trainer.world_size == 1:
            return self._interrupted
        flag = torch.tensor(float(self._interrupted), device=pl_module.device)
        return bool(trainer.strategy.reduce(flag, reduce_op="sum") > 0)

    def _stop(self, trainer: Trainer) -> None:
        raise Interrupted(f"stopped at step {trainer.global_step}, saved {self.checkpoint}. {self.how_to_resume}")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int) -> None:
        # Counted over the whole run: an epoch may be shorter than the interval.
        if trainer.world_size > 1 and (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % AGREE_EVERY:
            return
        if self._any_interrupted(trainer, pl_module):
            trainer.save_checkpoint(self.checkpoint)
            self._stop(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # One that came after the last look finds training at its end, with its last checkpoint written.
        interrupted = self._any_interrupted(trainer, pl_module)
        self._restore()
        if interrupted:
            self._stop(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore()
