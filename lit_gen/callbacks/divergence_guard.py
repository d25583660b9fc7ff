"""A run that has diverged stops, and says where it began."""

import contextlib
import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer

from lit_gen.distributed import world_size
from lit_gen.errors import UserError

PROBE_ELEMENTS = 400
"""Gradient elements looked at after each backward pass on a CPU, where reading them all would cost a small model more
than a hundredth of its step."""

NEVER = 2**62


class DivergenceGuard(Callback):
    """Stops a run at the first loss term or gradient that isn't finite; no checkpoint is written after it.

    The error names the step, the loss term or the parameters whose gradient it was, and the last checkpoint written
    before it. Nothing is skipped: with an fp16 loss scaler, whose business infinite gradients are, only the loss
    terms are looked at.

    On a CPU each step is looked at as it ends. The gradients of the smallest parameters stand for all: what flows
    backwards through a layer reaches its bias or scale. A bad gradient that passes them by makes its weight bad, which
    shows in the next step's gradients or, at the latest, before a checkpoint is written; the error still names the
    right update and parameter.

    On an accelerator, and with several processes, a look would stall the device or need a collective call. There the
    number of the first bad step of each term and each parameter's gradient is kept on the device, and looked at every
    ``log_every_n_steps`` batches (50 where the config leaves it open), at the end of each epoch and before each
    checkpoint.

    Args:
        every_n_steps: batches between two looks; None chooses as above.

    Raises:
        UserError: on a count below 1; in training, when the run has diverged.
    """

    def __init__(self, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise UserError(f"DivergenceGuard needs every_n_steps of at least 1, got {every_n_steps}.")
        self.every_n_steps = every_n_steps
        self._every = 1
        self._deferred = False
        self._watches_gradients = True
        self._finding: str | None = None
        self._is_older = False
        self._first_bad: dict[str, _FirstBad] = {}
        self._probes: weakref.WeakKeyDictionary[Optimizer, list[nn.Parameter]] = weakref.WeakKeyDictionary()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finding, self._is_older, self._first_bad = None, False, {}
        self._probes = weakref.WeakKeyDictionary()
        self._deferred = pl_module.device.type != "cpu" or world_size() > 1 or (self.every_n_steps or 1) > 1
        self._watches_gradients = getattr(trainer.precision_plugin, "scaler", None) is None
        self._every = self.every_n_steps or (max(1, trainer.log_every_n_steps) if self._deferred else 1)
        # Lightning doesn't tell callbacks of a checkpoint of the weights alone, so each step is looked at before it.
        if any(c.save_weights_only for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)):
            self._every = 1

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if not self._watches_gradients:
            return
        if self._deferred:
            self._note_gradients(trainer, pl_module, optimizer)
        elif self._finding is None:
            probe = self._probes.get(optimizer)
            if probe is None:
                probe = self._probes[optimizer] = smallest_parameters(optimizer)
            # Not _finite: at every step of a small model even its calls are felt.
            if not all([math.isfinite(p.grad.sum().item()) for p in probe if p.grad is not None]):
                self._finding, self._is_older = _blame_gradients(trainer, pl_module, optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        terms = {name: value for name, value in _terms(outputs).items() if isinstance(value, Tensor)}
        if self._deferred:
            if terms:
                noted = self._noted("terms", list(terms), pl_module.device)
                noted.add(
                    [value.detach().float().mean().to(pl_module.device) for value in terms.values()], _step(trainer)
                )
            if _step(trainer) % self._every == 0:
                self._look(trainer)
            return
        bad = {name: value for name, value in terms.items() if not _finite(value)}
        if bad and not (self._finding and self._is_older):
            self._finding = _blame_terms(trainer, bad, batch)
        if self._finding is not None:
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        self._look(trainer)
        bad = [name for name, p in pl_module.named_parameters() if not _finite(p.detach())]
        if bad and self._finding is None:
            self._finding = f"after step {_step(trainer)} {_listed('parameter', bad)} {_be(bad)} not finite"
        self._stop(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # What went bad within a step may make the rest of that step fail: it is the cause that should be told.
        if isinstance(exception, UserError | KeyboardInterrupt) or trainer.state.fn != TrainerFn.FITTING:
            return
        if self._deferred and world_size() == 1:
            # The device itself may be what failed.
            with contextlib.suppress(RuntimeError):
                self._look(trainer)
        if self._finding is None and isinstance(exception, ValueError) and "nan" in str(exception):
            message = " ".join(str(exception).split())
            self._finding = f"step {_step(trainer)} met values that aren't finite ({message[:160]})"
        if self._finding is not None:
            raise UserError(self._message(trainer)) from exception

    def _noted(self, key: str, names: list[str], device: torch.device) -> "_FirstBad":
        noted = self._first_bad.get(key)
        if noted is None or noted.names != names:
            # A model whose terms come and go has a note for each set of them.
            key = key if noted is None else "\0".join([key, *names])
            noted = self._first_bad.setdefault(key, _FirstBad(names, device))
        return noted

    def _note_gradients(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        parameters = [p for p in _parameters(optimizer) if p.grad is not None]
        if parameters:
            key = (
                f"gradients {trainer.optimizers.index(optimizer) if optimizer in trainer.optimizers else id(optimizer)}"
            )
            noted = self._first_bad.get(key)
            if noted is None or len(noted.names) != len(parameters):
                noted = self._noted(key, _names(pl_module, parameters), pl_module.device)
            norms = torch._foreach_norm([p.grad for p in parameters])
            noted.add(norms, _step(trainer))

    def _look(self, trainer: Trainer) -> None:
        """On a device: fetch what has been noted, from all ranks, and stop if anything is bad."""
        if not self._deferred or not self._first_bad or self._finding is not None:
            return
        firsts = {key: noted.first_bad_steps() for key, noted in self._first_bad.items()}
        first = min(min(steps) for steps in firsts.values())
        if first == NEVER:
            return
        bad = {
            key: [name for name, step in zip(self._first_bad[key].names, steps, strict=True) if step == first]
            for key, steps in firsts.items()
        }
        terms = [name for key, names in bad.items() if key.startswith("terms") for name in names]
        gradients = [name for key, names in bad.items() if key.startswith("gradients") for name in names]
        if terms:
            self._finding = f"at step {first} {_listed('loss term', _causes_first(terms))} {_be(terms)} not finite"
        else:
            self._finding = f"at step {first} the gradient of {_listed('parameter', gradients)} was not finite"
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self._finding is not None:
            raise UserError(self._message(trainer))

    def _message(self, trainer: Trainer) -> str:
        good = last_checkpoint(trainer)
        where = f"the last good checkpoint is {good}" if good else "no checkpoint had been written before"
        return (
            f"the run has diverged: {self._finding}; {where}. A smaller learning rate or gradient clipping often helps."
        )


class _FirstBad:
    """For each of some named values the first step at which it wasn't finite, kept where the values are."""

    def __init__(self, names: list[str], device: torch.device) -> None:
        self.names = names
        self._first = torch.full((len(names),), NEVER, dtype=torch.int64, device=device)

    def add(self, values: Sequence[Tensor], step: int) -> None:
        """Scalars, one for each name; no synchronisation."""
        finite = torch.isfinite(torch.stack(list(values)))
        self._first = torch.where(finite, self._first, self._first.clamp(max=step))

    def first_bad_steps(self) -> list[int]:
        """The earliest over all ranks, ``NEVER`` for none. A collective call; waits for the device."""
        first = self._first.clone()
        if world_size() > 1:
            dist.all_reduce(first, op=dist.ReduceOp.MIN)
        return first.tolist()


def smallest_parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """The optimizer's smallest parameters, ``PROBE_ELEMENTS`` elements in all but at least one."""
    chosen, total = [], 0
    for parameter in sorted(_parameters(optimizer), key=lambda p: p.numel()):
        total += parameter.numel()
        if chosen and total > PROBE_ELEMENTS:
            break
        chosen.append(parameter)
    return chosen


def last_checkpoint(trainer: Trainer) -> Path | None:
    """The newest checkpoint that this run has written or was resumed from, None if there is none."""
    files = [Path(trainer.ckpt_path)] if trainer.ckpt_path else []
    for callback in trainer.checkpoint_callbacks:
        # What the callback itself remembers may be the file that it was about to write.
        if getattr(callback, "dirpath", None):
            files += Path(callback.dirpath).glob("*.ckpt")
    return max((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime_ns, default=None)


def _step(trainer: Trainer) -> int:
    """The number of the batch at hand, from 1."""
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _terms(outputs: Any) -> Mapping[str, Any]:
    if isinstance(outputs, Mapping):
        return outputs
    return {} if outputs is None else {"loss": outputs}


def _names(module: nn.Module, parameters: Iterable[nn.Parameter]) -> list[str]:
    names = {id(p): name for name, p in module.named_parameters()}
    return [names.get(id(p), "one outside the model") for p in parameters]


def _finite(x: Tensor) -> bool:
    """Whether all elements are: a sum is finite unless one isn't, or it overflows, which is as bad."""
    return math.isfinite(x.item() if x.numel() == 1 else x.sum().item())


def _blame_gradients(trainer: Trainer, module: nn.Module, optimizer: Optimizer) -> tuple[str, bool]:
    """What went bad, given that some gradient of ``optimizer`` is, and whether it did so before this step."""
    step = _step(trainer)
    # A parameter that is bad already was made so by its last update, whose gradient had passed the probe by.
    poisoned = [name for name, p in module.named_parameters() if not _finite(p.detach())]
    if poisoned and step == 1:
        return f"{_listed('parameter', poisoned)} {_be(poisoned)} not finite from the start", True
    if poisoned:
        return f"the update before step {step} made {_listed('parameter', poisoned)} not finite", True
    bad = [p for p in _parameters(optimizer) if p.grad is not None and not _finite(p.grad)]
    return f"at step {step} the gradient of {_listed('parameter', _names(module, bad))} was not finite", False


def _blame_terms(trainer: Trainer, bad: Mapping[str, Tensor], batch: Any) -> str:
    values = ", ".join(f"'{name}' ({bad[name].detach().float().mean().item():g})" for name in _causes_first(list(bad)))
    finding = f"at step {_step(trainer)} loss term{'s' * (len(bad) > 1)} {values} {_be(bad)} not finite"
    x = getattr(batch, "x", None)
    return finding if not isinstance(x, Tensor) or _finite(x) else f"{finding}, nor are the batch's own data"


def _causes_first(names: list[str]) -> list[str]:
    """The loss last: it is bad because another term is."""
    return sorted(names, key=lambda name: name == "loss")


def _listed(what: str, names: Sequence[str], most: int = 3) -> str:
    quoted = [f"'{name}'" for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what}{'s' * (len(names) > 1)} {', '.join(quoted)}{more}"


def _be(names: Sequence[str] | Mapping[str, Any]) -> str:
    return "were" if len(names) > 1 else "was"
