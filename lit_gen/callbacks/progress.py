"""How far a run is and how fast it goes."""

import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import TrainerFn

from lit_gen.callbacks.progress_display import (
    Display,
    Heartbeat,
    LongStep,
    State,
    clock,
    display_for_this_output,
)


class Progress(Callback):
    """In a terminal a bar with the loss terms, images a second and the time left; elsewhere a line of these a minute.

    The bar and its numbers fit the terminal's width. An evaluation names the callback that is at work and how long the
    evaluation has lasted, also while a single batch or metric takes minutes.

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
        self._display: Display | None = None
        self._heartbeat: Heartbeat | None = None
        self._state = State("")
        self._next_show = float("inf")
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
        if now >= self._next_show:  # never without a display
            self._show_training(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(pl_module)
        if self._display is not None:
            self._show_training(trainer)
        self._close(trainer)

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

    # Evaluation: within training it is shown in the training's own bar.

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(pl_module)
        if self._display is None:
            self._open(trainer, "validating")
        self._begin_long_step(trainer, self._state._replace(activity="validating"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            self._close(trainer)
        elif self._display is not None:
            _watch(trainer, None)
            self._show(self._state._replace(activity="training", step=None))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer)  # of a validation after the training

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "testing")
        self._begin_long_step(trainer, self._state)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open(trainer, "predicting")
        self._begin_long_step(trainer, self._state)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._display is not None and trainer.state.fn == TrainerFn.VALIDATING:
            self._show_evaluation(batch_idx, trainer.num_val_batches[dataloader_idx])

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._display is not None:
            self._show_evaluation(batch_idx, trainer.num_test_batches[dataloader_idx])

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._display is not None:
            self._show_evaluation(batch_idx, trainer.num_predict_batches[dataloader_idx])

    # What is shown.

    def _open(self, trainer: Trainer, activity: str) -> None:
        self._close(trainer)
        if not (self.shows_bar and trainer.is_global_zero and not trainer.sanity_checking):
            return
        self._display = display_for_this_output()
        self._heartbeat = Heartbeat(self._display.beat)
        self._show(State(activity))
        self._next_show = 0.0

    def _close(self, trainer: Trainer) -> None:
        if self._display is not None:
            _watch(trainer, None)
            self._heartbeat.stop()
            self._display.close()
        self._display, self._next_show = None, float("inf")

    def _show(self, state: State) -> None:
        self._state = state
        self._next_show = time.perf_counter() + self._display.seconds_between
        self._display.show(state)

    def _begin_long_step(self, trainer: Trainer, state: State) -> None:
        if self._display is not None:
            step = LongStep(time.monotonic(), besides=(type(self).__name__,))
            _watch(trainer, step.enter)
            self._show(state._replace(step=step))

    def _show_training(self, trainer: Trainer) -> None:
        done = _fraction(trainer)
        elapsed = time.perf_counter() - self._began
        left = elapsed * (1 - done) / (done - self._began_at) if done > self._began_at else None
        terms, ranks = [_epoch(trainer), f"step {trainer.global_step:,}"], [0, 99]
        for number, (name, value) in enumerate(trainer.progress_bar_metrics.items()):
            terms.append(f"{name.removeprefix('train/')} {value:.4g}")
            ranks.append(4 + number if number else 2)
        terms.append(f"{self.examples_per_second:,.0f} images/s")
        ranks.append(3)
        if left is not None:
            terms.append(f"{clock(left)} left")
            ranks.append(1)
        self._show(State("training", done, terms, ranks))

    def _show_evaluation(self, batch_idx: int, total: float) -> None:
        if time.perf_counter() >= self._next_show or batch_idx + 1 == total:
            terms = [f"batch {batch_idx + 1} of {total}"]
            self._show(self._state._replace(done=(batch_idx + 1) / total, terms=terms, ranks=[0]))


def _watch(trainer: Trainer, listener: Callable[[str], None] | None) -> None:
    """Let lit-gen's own profiler report what runs; another one, which the person asked for, is left alone."""
    watch = getattr(trainer.profiler, "watch", None)
    if watch is not None:
        watch(listener)


def _fraction(trainer: Trainer) -> float:
    """The share of the training that is done, by whichever of ``max_epochs``, ``max_steps``
    and ``max_time`` ends it first."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        batches = trainer.max_epochs * trainer.num_training_batches
        if 0 < batches < float("inf"):
            shares.append((trainer.fit_loop.epoch_loop.total_batch_idx + 1) / batches)
    for timer in (callback for callback in trainer.callbacks if isinstance(callback, Timer)):
        if timer.time_remaining() is not None:
            lasted = timer.time_elapsed()
            shares.append(lasted / (lasted + timer.time_remaining()))
    return min(1.0, max(shares))


def _epoch(trainer: Trainer) -> str:
    number, most = trainer.current_epoch + 1, trainer.max_epochs
    # When training ends, Lightning has counted its last epoch already.
    return f"epoch {min(number, most)} of {most}" if most is not None and most > 0 else f"epoch {number}"
