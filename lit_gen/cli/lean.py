"""Taking out of Lightning's step what does nothing: for a small model it costs more than the arithmetic.

``make_lean`` replaces the trainer's epoch loop by one that does the same with fewer look-ups. While an epoch runs it
hides the step hooks that are the base class's empty ones; hooks that anybody overrides are called, in Lightning's
order. ``NoProfiler`` spares entering a profiler that profiles nothing. ``python -m benchmarks fit_overhead`` shows what
is left.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import lightning
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loops.fetchers import _DataLoaderIterDataFetcher
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler, Profiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor

from lit_gen.data.base import InMemoryData
from lit_gen.protocols import Batch

STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Hooks of callbacks and models that Lightning calls in every step."""

STEPPING = ("optimizer_step", "optimizer_zero_grad", "backward")
"""What a model overrides to step in its own way."""

MOVING = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
"""What a model or a data module overrides to move batches in its own way."""


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
    """Lightning's training epoch, whose step looks nothing up that is the same in every step of an epoch.

    A step is the same sequence of hooks, counters, forward and backward passes as in the loop it stands in for
    (Lightning 2.6), through the same strategy and precision plugin. What isn't plain is left to that loop: the first
    step after a restart, gradient accumulation, and everything that ``is_plain`` excludes.
    """

    def run(self, data_fetcher) -> None:
        with hidden(empty_hooks(self.trainer)):
            super().run(data_fetcher)

    def on_run_start(self, data_fetcher) -> None:
        super().on_run_start(data_fetcher)
        self._plain = is_plain(self.trainer) and not isinstance(data_fetcher, _DataLoaderIterDataFetcher)
        names = ("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad")
        self._hooks = {name: callable_hooks(self.trainer, name) for name in names}

    def advance(self, data_fetcher) -> None:
        trainer, progress = self.trainer, self.batch_progress
        skips_backward = self.automatic_optimization._skip_backward
        if self.restarting or not self._plain or trainer.accumulate_grad_batches != 1 or skips_backward:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        if not lies_on(batch, trainer.strategy.root_device):
            batch = trainer.strategy.batch_to_device(batch)
        progress.increment_ready()
        connector = trainer._logger_connector
        connector.on_batch_start(batch)
        if not connector._first_loop_iter:
            connector._current_fx = None  # set by whatever is logged from here on: see _end_batch
        outputs = None
        ends_epoch = batch is not None and self._call("on_train_batch_start", batch, batch_idx) == -1
        if ends_epoch:
            progress.increment_by(0, is_last_batch=True)
        elif batch is not None:  # Lightning takes None for a batch to pass over
            progress.increment_started()
            outputs = self._optimize(batch, batch_idx)
        progress.increment_processed()
        self._step_schedules()
        if ends_epoch:
            raise StopIteration
        self._call("on_train_batch_end", outputs, batch, batch_idx)
        self._end_batch()
        progress.increment_completed()
        connector.update_train_step_metrics()

    def _step_schedules(self) -> None:
        if self.trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)

    def _end_batch(self) -> None:
        # Collecting the figures for the bar and the callbacks is passed over where no step hook has logged any.
        connector = self.trainer._logger_connector
        if connector._first_loop_iter or connector._current_fx is not None or connector.should_update_logs:
            connector.on_batch_end()
        else:
            self._results.batch = self._results.batch_size = None

    def _call(self, name: str, *args):
        """Call the callbacks' hooks, then the model's, whose result is returned."""
        model = self.trainer.lightning_module
        for_callbacks, of_model = self._hooks[name]
        previous, model._current_fx_name = model._current_fx_name, name
        for hook in for_callbacks:
            hook(self.trainer, model, *args)
        response = None if of_model is None else of_model(*args)
        model._current_fx_name = previous
        return response

    def _optimize(self, batch, batch_idx: int) -> dict:
        model = self.trainer.lightning_module
        if not model.automatic_optimization:
            return self.manual_optimization.run(OrderedDict(batch=batch, batch_idx=batch_idx))
        strategy, progress = self.trainer.strategy, self.automatic_optimization.optim_progress.optimizer
        optimizer = self.trainer.optimizers[0]
        result = ClosureResult(None)

        @torch.enable_grad()
        def closure() -> Tensor | None:
            nonlocal result
            previous, model._current_fx_name = model._current_fx_name, "training_step"
            result = ClosureResult.from_training_step_output(strategy.training_step(batch, batch_idx))
            model._current_fx_name = previous
            progress.zero_grad.increment_ready()
            self._call("on_before_zero_grad", optimizer)
            progress.zero_grad.increment_started()
            optimizer.zero_grad()
            progress.zero_grad.increment_completed()
            if result.closure_loss is not None:
                strategy.backward(result.closure_loss, optimizer)
            return result.loss

        progress.step.increment_ready()
        strategy.optimizer_step(optimizer, closure, model)
        progress.step.increment_completed()
        return {} if result.loss is None else result.asdict()


def is_plain(trainer: Trainer) -> bool:
    """Whether a step is one that ``LeanEpochLoop`` knows: one process, a stock strategy and precision, no profiler,
    and a model and data that step and move batches as Lightning's own do."""
    model, data = trainer.lightning_module, trainer.datamodule
    # InMemoryData's own way of moving batches is to leave those that are there already, as the lean loop does.
    base_of_data = InMemoryData if isinstance(data, InMemoryData) else LightningDataModule
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) in (Precision, MixedPrecision)
        and type(trainer.profiler) in (NoProfiler, PassThroughProfiler)
        and not any(overrides(model, LightningModule, name) for name in (*STEPPING, *MOVING))
        and (data is None or not any(overrides(data, base_of_data, name) for name in MOVING))
        and is_param_in_hook_signature(model.training_step, "batch_idx", min_args=2)
        and not any(isinstance(optimizer, LightningOptimizer) for optimizer in trainer.optimizers)
    )


def overrides(instance: object, base: type, name: str) -> bool:
    """Whether the method is another than ``base``'s, by its class or on the instance itself."""
    return name in vars(instance) or getattr(type(instance), name, None) is not getattr(base, name)


def lies_on(batch, device: torch.device) -> bool:
    """Whether it is a ``Batch`` all of whose tensors are there."""
    return isinstance(batch, Batch) and all(part is None or part.device == device for part in batch)


def callable_hooks(trainer: Trainer, name: str) -> tuple[list[Callable], Callable | None]:
    """The callbacks' hooks of that name and the model's, without those that are hidden."""
    hooks = [getattr(callback, name) for callback in trainer.callbacks]
    of_model = getattr(trainer.lightning_module, name)
    return [hook for hook in hooks if callable(hook)], of_model if callable(of_model) else None


def empty_hooks(trainer: Trainer) -> list[tuple[object, str]]:
    """The step hooks of callbacks and model that are the base class's empty ones, each with whose it is."""
    of_callbacks = [(callback, Callback) for callback in trainer.callbacks]
    return [
        (instance, name)
        for instance, base in (*of_callbacks, (trainer.lightning_module, LightningModule))
        for name in STEP_HOOKS
        if not overrides(instance, base, name)
    ]


@contextmanager
def hidden(hooks: list[tuple[object, str]]) -> Iterator[None]:
    """Within the block those hooks are None on their instances, and Lightning passes over what isn't callable."""
    for instance, name in hooks:
        vars(instance)[name] = None
    try:
        yield
    finally:
        for instance, name in hooks:
            if vars(instance).get(name) is None:  # else somebody has put a hook there meanwhile
                vars(instance).pop(name, None)


def make_lean(trainer: Trainer) -> Trainer:
    """Put ``LeanEpochLoop`` in place of the stock one; a trainer of another Lightning than 2.6 is left as it is."""
    stock = trainer.fit_loop.epoch_loop
    if lightning.__version__.startswith("2.6.") and type(stock) is _TrainingEpochLoop:
        trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer, stock.min_steps, stock.max_steps)
    return trainer


def ask_cuda_cheaply() -> None:
    """Let ``torch.cuda.is_available`` ask the CUDA runtime again, not NVML.

    Importing Lightning switches to NVML, so that processes may be forked after asking; on a machine without a GPU that
    loads a library anew at each call, and every optimizer's step asks (0.1 ms; 3 microseconds without NVML). We start
    processes by running the command again, never by forking.
    """
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
