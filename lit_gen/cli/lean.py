"""Taking out of Lightning's step what does nothing: for a small model it costs more than the arithmetic.

``make_lean`` replaces the trainer's epoch loop, and its precision plugin where that is single precision, by ones that
do the same with fewer look-ups. While an epoch runs the step hooks that are the base class's empty ones are hidden;
hooks that anybody overrides are called, in Lightning's order. ``NoProfiler`` spares entering a profiler that profiles
nothing. ``python -m benchmarks fit_overhead`` shows what is left.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher, _PrefetchDataFetcher
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler, Profiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
from lightning.pytorch.utilities.combined_loader import _MaxSizeCycle
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor
from torch.optim import LBFGS, Optimizer
from torch.optim.optimizer import _global_optimizer_pre_hooks

from lit_gen.cli.step_hooks import StepHooks, empty_hooks, hidden, overrides
from lit_gen.data.base import InMemoryData
from lit_gen.models.gradients import clear_gradients
from lit_gen.models.manual import ManualOptimizationModel
from lit_gen.protocols import Batch

STEPPING = ("optimizer_step", "optimizer_zero_grad", "backward")
"""What a model overrides to step in its own way."""

MOVING = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
"""What a model or a data module overrides to move batches in its own way."""


class NoProfiler(Profiler):
    """Lightning's PassThroughProfiler without a generator for each of some fifty sections of a step.

    While somebody watches, it reports the name of each section that is entered, such as
    ``[Callback]FID.on_test_epoch_end``; otherwise it does nothing.
    """

    _nothing = nullcontext()

    def start(self, action_name: str) -> None:
        """Nothing."""

    def stop(self, action_name: str) -> None:
        """Nothing."""

    def profile(self, action_name: str):
        """A context that does nothing."""
        return self._nothing

    def watch(self, listener: Callable[[str], None] | None) -> None:
        """Report each section to ``listener`` from now on; None: no longer."""
        self.__dict__.pop("profile", None)
        if listener is not None:

            def profile(action_name: str):
                listener(action_name)
                return self._nothing

            self.profile = profile  # on the instance, so that nothing is asked while nobody watches


class StepResult(NamedTuple):
    """What a training step gave.

    Attributes:
        loss: to be differentiated; None passes the step over.
        outputs: all it gave, detached: what hooks see.
    """

    loss: Tensor | None
    outputs: dict

    @classmethod
    def of(cls, output) -> "StepResult":
        """Take what ``training_step`` returned; what isn't a dict of tensors goes Lightning's own, longer way."""
        if type(output) is dict and "loss" in output and all([isinstance(value, Tensor) for value in output.values()]):
            return cls(output["loss"], {name: value.detach() for name, value in output.items()})
        result = ClosureResult.from_training_step_output(output)
        return cls(result.closure_loss, {} if result.loss is None else result.asdict())


class LeanPrecision(Precision):
    """Lightning's single precision. While ``hooks`` is set, hooks are called from there rather than looked up."""

    hooks: StepHooks | None = None
    _nothing = nullcontext()

    def train_step_context(self):
        """A context that does nothing."""
        return self._nothing

    def pre_backward(self, tensor: Tensor, module: LightningModule) -> Tensor:
        """``on_before_backward``."""
        if self.hooks is None:
            return super().pre_backward(tensor, module)
        self.hooks.call("on_before_backward", tensor)
        return tensor

    def post_backward(self, tensor: Tensor, module: LightningModule) -> Tensor:
        """``on_after_backward``."""
        if self.hooks is None:
            return super().post_backward(tensor, module)
        self.hooks.call("on_after_backward")
        return tensor.detach()

    def optimizer_step(self, optimizer: Optimizer, model: LightningModule, closure: Callable[[], Any], **kwargs) -> Any:
        """The closure, the hooks, the step, where torch's ``step`` would call the closure first just so."""
        if self.hooks is None or kwargs or not evaluates_first(optimizer):
            return super().optimizer_step(optimizer, model, closure, **kwargs)
        result = closure()
        self._after_closure(model, optimizer)
        optimizer.step()
        return result

    def _after_closure(self, model: LightningModule, optimizer: Optimizer) -> None:
        if self.hooks is None:
            super()._after_closure(model, optimizer)
            return
        self.hooks.call("on_before_optimizer_step", optimizer)
        clip = self.hooks.trainer.gradient_clip_val
        if clip is not None or self.hooks.model_clips:
            self._clip_gradients(model, optimizer, clip, self.hooks.trainer.gradient_clip_algorithm)


class LeanResults(_ResultCollection):
    """Lightning's collection of logged figures, in which a figure of single steps that is logged as before is just set.

    Lightning first walks through its whole state to move it to where it is already: a tenth of a small model's step.
    """

    def __init__(self, training: bool) -> None:
        super().__init__(training)
        self._as_before: dict[str, tuple] = {}

    def log(self, fx: str, name: str, value, **options) -> None:
        """As the base class's."""
        is_plain = isinstance(value, Tensor) and self.dataloader_idx is None and not options.get("on_epoch", True)
        key, how = f"{fx}.{name}", (options, getattr(value, "device", None))
        if is_plain and key in self and self._as_before.get(key) == how:
            self.update_metrics(key, value.detach(), 1)
            return
        super().log(fx, name, value, **options)
        if is_plain:
            self._as_before[key] = how


def evaluates_first(optimizer: Optimizer) -> bool:
    """Whether its ``step`` calls a closure once, before anything else: torch's own do, but for L-BFGS and where hooks
    of the step come before."""
    hooks = optimizer._optimizer_step_pre_hooks or _global_optimizer_pre_hooks
    return type(optimizer).__module__.startswith("torch.optim") and not hooks and not isinstance(optimizer, LBFGS)


class LeanEpochLoop(_TrainingEpochLoop):
    """Lightning's training epoch, whose step looks nothing up that is the same in every step of an epoch.

    A step is the same sequence of hooks, counters, forward and backward passes as in the loop it stands in for
    (Lightning 2.6), through the same strategy and precision plugin. What isn't plain is left to that loop: the first
    step after a restart, gradient accumulation, and everything that ``is_plain`` excludes.
    """

    _only_iterator: Iterator | None = None

    def __init__(self, trainer: Trainer, min_steps: int | None = None, max_steps: int = -1) -> None:
        super().__init__(trainer, min_steps, max_steps)
        self._results = LeanResults(training=True)

    def run(self, data_fetcher) -> None:
        precision = self.trainer.precision_plugin
        with hidden(empty_hooks(self.trainer)):
            try:
                super().run(data_fetcher)
            finally:
                if isinstance(precision, LeanPrecision):
                    precision.hooks = None
                self._only_iterator = None  # it may hold worker processes, and can't be copied

    def on_run_start(self, data_fetcher) -> None:
        super().on_run_start(data_fetcher)
        trainer = self.trainer
        self._plain = is_plain(trainer) and not isinstance(data_fetcher, _DataLoaderIterDataFetcher)
        self._hooks = StepHooks(trainer)
        self._ours_by_hand = isinstance(trainer.lightning_module, ManualOptimizationModel)
        self._validates = self._should_check_val_epoch()
        self._only_iterator = only_iterator(data_fetcher) if self._plain else None
        if isinstance(trainer.precision_plugin, LeanPrecision) and self._plain:
            trainer.precision_plugin.hooks = self._hooks

    def advance(self, data_fetcher) -> None:
        trainer, progress = self.trainer, self.batch_progress
        skips_backward = self.automatic_optimization._skip_backward
        if self.restarting or not self._plain or trainer.accumulate_grad_batches != 1 or skips_backward:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        batch = self._next_batch(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        if not lies_on(batch, trainer.strategy.root_device):
            batch = trainer.strategy.batch_to_device(batch)
        progress.increment_ready()
        self._begin_batch(batch)
        outputs = None
        ends_epoch = batch is not None and self._hooks.call("on_train_batch_start", batch, batch_idx) == -1
        if ends_epoch:
            progress.increment_by(0, is_last_batch=True)
        elif batch is not None:  # Lightning takes None for a batch to pass over
            progress.increment_started()
            outputs = self._optimize(batch, batch_idx)
        progress.increment_processed()
        self._step_schedules()
        if ends_epoch:
            raise StopIteration
        self._hooks.call("on_train_batch_end", outputs, batch, batch_idx)
        self._end_batch()

    def _next_batch(self, fetcher: _DataFetcher):
        """What ``next`` of the fetcher gives first, without putting a tree of one leaf together."""
        if self._only_iterator is None:
            return next(fetcher)[0]
        if fetcher.done:
            raise StopIteration
        try:
            batch = next(self._only_iterator)
        except StopIteration:
            fetcher.done = True
            raise
        fetcher.fetched += 1
        fetcher.done = fetcher.fetched >= fetcher.length
        return batch

    def _should_check_val_fx(self, data_fetcher) -> bool:
        return self._validates and super()._should_check_val_fx(data_fetcher)

    def _step_schedules(self) -> None:
        if self.trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
            if self._num_ready_batches_reached():
                self.update_lr_schedulers("epoch", update_plateau_schedulers=False)

    def _begin_batch(self, batch) -> None:
        connector, results = self.trainer._logger_connector, self._results
        connector._first_loop_iter = connector._first_loop_iter is None
        if not connector._first_loop_iter:
            connector._current_fx = None  # set by whatever is logged from here on: see _end_batch
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None

    def _end_batch(self) -> None:
        # Collecting the figures for the bar and the callbacks is passed over where no step hook has logged any.
        connector, results = self.trainer._logger_connector, self._results
        reaches_loggers = connector.should_update_logs or self.trainer.fast_dev_run
        if connector._first_loop_iter or connector._current_fx is not None or reaches_loggers:
            connector.on_batch_end()
        else:
            results.batch = results.batch_size = None
        self.batch_progress.increment_completed()
        if reaches_loggers:
            connector.update_train_step_metrics()

    def _optimize(self, batch, batch_idx: int) -> dict:
        model = self.trainer.lightning_module
        if not model.automatic_optimization:
            if not self._ours_by_hand:
                return self.manual_optimization.run(OrderedDict(batch=batch, batch_idx=batch_idx))
            # Ours step the optimizers themselves, so Lightning's wrappers of them have nothing to count.
            previous, model._current_fx_name = model._current_fx_name, "training_step"
            outputs = self.trainer.strategy.training_step(batch, batch_idx)
            model._current_fx_name = previous
            return outputs
        strategy, progress = self.trainer.strategy, self.automatic_optimization.optim_progress.optimizer
        optimizer = self.trainer.optimizers[0]
        result = StepResult(None, {})

        def closure() -> Tensor | None:
            nonlocal result
            with torch.enable_grad():
                previous, model._current_fx_name = model._current_fx_name, "training_step"
                result = StepResult.of(strategy.training_step(batch, batch_idx))
                model._current_fx_name = previous
                progress.zero_grad.increment_ready()
                self._hooks.call("on_before_zero_grad", optimizer)
                progress.zero_grad.increment_started()
                clear_gradients(optimizer)
                progress.zero_grad.increment_completed()
                if result.loss is not None:
                    strategy.backward(result.loss, optimizer)
            return result.outputs.get("loss")

        progress.step.increment_ready()
        strategy.optimizer_step(optimizer, closure, model)
        progress.step.increment_completed()
        return result.outputs


def only_iterator(fetcher: _DataFetcher) -> Iterator | None:
    """What a fetcher draws from where that is one loader, in an epoch of known length, and nothing is drawn ahead."""
    combined = fetcher.combined_loader
    alone = type(fetcher) is _PrefetchDataFetcher and len(combined.flattened) == 1
    if not alone or combined.flattened[0] is not combined.iterables or fetcher.length is None or fetcher.batches:
        return None
    return combined._iterator.iterators[0] if type(combined._iterator) is _MaxSizeCycle else None


def is_plain(trainer: Trainer) -> bool:
    """Whether a step is one that ``LeanEpochLoop`` knows: one process, a stock strategy and precision, no profiler,
    and a model and data that step and move batches as Lightning's own do."""
    model, data = trainer.lightning_module, trainer.datamodule
    # InMemoryData's own way of moving batches is to leave those that are there already, as the lean loop does.
    base_of_data = InMemoryData if isinstance(data, InMemoryData) else LightningDataModule
    return (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) in (Precision, LeanPrecision, MixedPrecision)
        and type(trainer.profiler) in (NoProfiler, PassThroughProfiler)
        and not any(overrides(model, LightningModule, name) for name in (*STEPPING, *MOVING))
        and (data is None or not any(overrides(data, base_of_data, name) for name in MOVING))
        and is_param_in_hook_signature(model.training_step, "batch_idx", min_args=2)
        and not any(isinstance(optimizer, LightningOptimizer) for optimizer in trainer.optimizers)
    )


def lies_on(batch, device: torch.device) -> bool:
    """Whether it is a ``Batch`` all of whose tensors are there."""
    return isinstance(batch, Batch) and all([part is None or part.device == device for part in batch])


def make_lean(trainer: Trainer) -> Trainer:
    """Put ``LeanEpochLoop`` and ``LeanPrecision`` in place of the stock ones, unless this isn't Lightning 2.6."""
    stock = trainer.fit_loop.epoch_loop
    if lightning.__version__.startswith("2.6.") and type(stock) is _TrainingEpochLoop:
        trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer, stock.min_steps, stock.max_steps)
        if type(trainer.precision_plugin) is Precision:
            trainer.strategy.precision_plugin = LeanPrecision()
    return trainer


def ask_cuda_cheaply() -> None:
    """Let ``torch.cuda.is_available`` ask the CUDA runtime again, not NVML.

    Importing Lightning switches to NVML, so that processes may be forked after asking; on a machine without a GPU that
    loads a library anew at each call, and every optimizer's step asks (0.1 ms; 3 microseconds without NVML). We start
    processes by running the command again, never by forking.
    """
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
