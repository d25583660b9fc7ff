"""How far a run is and how fast it goes."""

import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

REFRESH_SECONDS = 0.1


class Progress(Callback):
    """A bar with the loss terms, images a second and the time left; nothing at all where the output is no terminal.

    Counts training in any case: ``train_seconds``, ``num_examples`` and ``examples_per_second`` leave out validation,
    and whatever else happens between the last batch and the next epoch or validation. Lightning's own bar has to be
    turned off (``Trainer(enable_progress_bar=False)``).

    Args:
        shows_bar: without it, it only counts.
    """

    def __init__(self, shows_bar: bool = True) -> None:
        self.shows_bar = shows_bar
        self.num_examples = 0
        """Examples trained on by this process since it started."""
        self._world_size = 1
        self._seconds = 0.0
        self._segment_start: float | None = None
        self._segment_end = 0.0
        self._bar: RichProgress | None = None
        self._task = 0
        self._next_refresh = 0.0
        self._began = 0.0
        self._began_at = 0.0

    @property
    def train_seconds(self) -> float:
        """Seconds spent in training by this process."""
        running = 0.0 if self._segment_start is None else self._segment_end - self._segment_start
        return self._seconds + running

    @property
    def examples_per_second(self) -> float:
        """Examples trained on a second, over all ranks; 0 before training."""
        seconds = self.train_seconds
        return self.num_examples * self._world_size / seconds if seconds > 0 else 0.0

    # Training: the clock runs from an epoch's beginning, or the first batch after a validation, to the last batch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._world_size = trainer.world_size
        self._began, self._began_at = time.perf_counter(), _fraction(trainer)
        self._open(trainer, "training")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._segment_start = self._segment_end = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._segment_start is None:
            self._segment_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.num_examples += batch.x.shape[0]
        self._segment_end = now = time.perf_counter()
        if self._bar is not None and now >= self._next_refresh:
            self._next_refresh = now + REFRESH_SECONDS
            self._show_training(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(pl_module)
        if self._bar is not None:
            self._show_training(trainer)
        self._close()

    def _pause(self, pl_module: LightningModule) -> None:
        if self._segment_start is None:
            return
        if pl_module.device.type != "cpu":
            # What has been queued belongs to the batches counted.
            before = time.perf_counter()
            torch.get_device_module(pl_module.device).synchronize(pl_module.device)
            self._segment_end += time.perf_counter() - before
        self._seconds += max(0.0, self._segment_end - self._segment_start)
        self._segment_start = None

    # Evaluation: within training it is told in the training's own bar.

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(pl_module)
        if self._bar is None:
            self._open(trainer, "validating")
        elif trainer.state.fn == TrainerFn.FITTING:
            self._bar.update(self._task, description="validating")
            self._bar.refresh()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._bar is not None:
            self._bar.update(self._task, description="training")
        else:
            self._close()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()  # of a validation after the training

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "testing")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "predicting")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._bar is not None and trainer.state.fn == TrainerFn.VALIDATING:
            self._show_evaluation(batch_idx, trainer.num_val_batches[dataloader_idx])

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._bar is not None:
            self._show_evaluation(batch_idx, trainer.num_test_batches[dataloader_idx])

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._bar is not None:
            self._show_evaluation(batch_idx, trainer.num_predict_batches[dataloader_idx])

    # The bar.

    def _open(self, trainer: Trainer, description: str) -> None:
        if not (self.shows_bar and trainer.is_global_zero and not trainer.sanity_checking and sys.stdout.isatty()):
            return
        console = Console()
        if console.is_dumb_terminal:
            return
        self._close()
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[figures]}")]
        self._bar = RichProgress(*columns, console=console, auto_refresh=False)
        self._task = self._bar.add_task(description, total=1.0, figures="")
        self._bar.start()
        self._next_refresh = 0.0

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.stop()
            self._bar = None

    def _show_training(self, trainer: Trainer) -> None:
        done = _fraction(trainer)
        elapsed = time.perf_counter() - self._began
        left = elapsed * (1 - done) / (done - self._began_at) if done > self._began_at else None
        figures = [_epoch(trainer)]
        for name, value in trainer.progress_bar_metrics.items():
            figures.append(f"{name.removeprefix('train/')} {value:.4g}")
        figures.append(f"{self.examples_per_second:,.0f} images/s")
        if left is not None:
            figures.append(f"{_clock(left)} left")
        self._bar.update(self._task, completed=done, figures="  ".join(figures))
        self._bar.refresh()

    def _show_evaluation(self, batch_idx: int, total: float) -> None:
        now = time.perf_counter()
        if now >= self._next_refresh or batch_idx + 1 == total:
            self._next_refresh = now + REFRESH_SECONDS
            self._bar.update(self._task, completed=(batch_idx + 1) / total, figures=f"batch {batch_idx + 1} of {total}")
            self._bar.refresh()


def _fraction(trainer: Trainer) -> float:
    """The share of the training that is done, by whichever of ``max_epochs`` and ``max_steps`` ends it first."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        batches = trainer.max_epochs * trainer.num_training_batches
        if 0 < batches < float("inf"):
            shares.append((trainer.fit_loop.epoch_loop.total_batch_idx + 1) / batches)
    return min(1.0, max(shares))


def _epoch(trainer: Trainer) -> str:
    number, most = trainer.current_epoch + 1, trainer.max_epochs
    # When training ends, Lightning has counted its last epoch already.
    return f"epoch {min(number, most)} of {most}" if most is not None and most > 0 else f"epoch {number}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
