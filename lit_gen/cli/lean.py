"""Taking out of Lightning's step what does nothing: for a small model it costs more than the arithmetic.

Nothing that anybody overrides is left out, and nothing is replaced: hooks that are the base class's empty ones are not
called, and the profiler that profiles nothing is not entered. ``python -m benchmarks fit_overhead`` shows what is left.
"""

import os
from contextlib import nullcontext

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.profilers import Profiler
from torch import Tensor

STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Callback hooks that Lightning calls in every step."""

STEPPING = (
    "optimizer_step",
    "optimizer_zero_grad",
    "backward",
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
"""What a model overrides to step in its own way."""


class NoProfiler(Profiler):
    """Lightning's PassThroughProfiler without a generator for each of some fifty sections of a step."""

    _nothing = nullcontext()

    def start(self, action_name: str) -> None:
        """Nothing."""

    def stop(self, action_name: str) -> None:
        """Nothing."""

    def profile(self, action_name: str):
        """A context that does nothing."""
        return self._nothing


class LeanEpochLoop(_TrainingEpochLoop):
    """Lightning's training epoch, whose step looks nothing up that is the same in every step.

    A step is the same sequence of hooks, counters, forward and backward passes as in the loop it stands in for
    (Lightning 2.6), through the same strategy and precision plugin. A step that isn't plain is left to that loop: of
    several processes, with accumulation, right after a restart, or of a model that overrides how it steps.
    """

    def on_run_start(self, data_fetcher) -> None:
        super().on_run_start(data_fetcher)
        trainer, model = self.trainer, self.trainer.lightning_module
        overridden = any(getattr(type(model), name) is not getattr(LightningModule, name) for name in STEPPING)
        self._plain = trainer.world_size == 1 and trainer.accumulate_grad_batches == 1 and not overridden
        self._hooks = {name: overriding(trainer, name) for name in ("on_train_batch_start", "on_train_batch_end")}

    def advance(self, data_fetcher) -> None:
        if self.restarting or not self._plain:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        trainer, progress = self.trainer, self.batch_progress
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        if getattr(batch, "x", None) is None or batch.x.device != trainer.strategy.root_device:
            batch = trainer.strategy.batch_to_device(batch)
        progress.increment_ready()
        trainer._logger_connector.on_batch_start(batch)
        self._call("on_train_batch_start", batch, batch_idx)
        progress.increment_started()
        model = trainer.lightning_module
        outputs = self._step(model, batch, batch_idx) if model.automatic_optimization else self._play(batch, batch_idx)
        progress.increment_processed()
        if trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self._call("on_train_batch_end", outputs, batch, batch_idx)
        self._end_batch(trainer)
        progress.increment_completed()
        trainer._logger_connector.update_train_step_metrics()

    @staticmethod
    def _end_batch(trainer: Trainer) -> None:
        # Figures reach the bar and the callbacks in the steps that reach the loggers: no others are logged.
        if trainer._logger_connector.should_update_logs or trainer.fast_dev_run:
            trainer._logger_connector.on_batch_end()
        else:
            trainer._results.batch = trainer._results.batch_size = None

    def _call(self, name: str, *args) -> None:
        model = self.trainer.lightning_module
        model._current_fx_name = name
        for_callbacks, of_model = self._hooks[name]
        for hook in for_callbacks:
            hook(self.trainer, model, *args)
        of_model(*args)
        model._current_fx_name = None

    def _step(self, model: LightningModule, batch, batch_idx: int) -> dict:
        """One step of automatic optimization."""
        strategy, progress = self.trainer.strategy, self.automatic_optimization.optim_progress.optimizer
        optimizer = self.trainer.optimizers[0]
        outputs: dict = {}

        def closure() -> Tensor:
            model._current_fx_name = "training_step"
            outputs.update(strategy.training_step(batch, batch_idx))
            model._current_fx_name = None
            optimizer.zero_grad()
            return strategy.backward(outputs["loss"], optimizer)

        progress.zero_grad.increment_ready()
        progress.zero_grad.increment_started()
        progress.step.increment_ready()
        strategy.optimizer_step(optimizer, closure, model)
        progress.step.increment_completed()
        progress.zero_grad.increment_completed()
        return {**outputs, "loss": outputs["loss"].detach()}

    def _play(self, batch, batch_idx: int) -> dict:
        """One step of manual optimization."""
        model = self.trainer.lightning_module
        model._current_fx_name = "training_step"
        outputs = self.trainer.strategy.training_step(batch, batch_idx)
        model._current_fx_name = None
        return dict(outputs)


def overriding(trainer: Trainer, name: str):
    """The callbacks' hooks of that name that aren't the base class's empty ones, and the model's."""
    hooks = [getattr(callback, name) for callback in trainer.callbacks]
    return [hook for hook in hooks if callable(hook)], getattr(trainer.lightning_module, name)


def make_lean(trainer: Trainer) -> Trainer:
    """Hide empty step hooks, which Lightning passes over as not callable, and put the lean loop in."""
    for callback in trainer.callbacks:
        for hook in STEP_HOOKS:
            if getattr(type(callback), hook) is getattr(Callback, hook):
                setattr(callback, hook, None)
    stock = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer, stock.min_steps, stock.max_steps)
    return trainer


def ask_cuda_cheaply() -> None:
    """Let ``torch.cuda.is_available`` ask the CUDA runtime again, not NVML.

    Importing Lightning switches to NVML, so that processes may be forked after asking; on a machine without a GPU that
    loads a library anew at each call, and every optimizer's step asks (0.1 ms; 3 microseconds without NVML). We start
    processes by running the command again, never by forking.
    """
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
