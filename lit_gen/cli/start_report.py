"""What a run says before its first step: where it goes, its data, device, parameters, and the steps to come."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.nn.parameter import is_lazy

from lit_gen.callbacks.progress_display import clock
from lit_gen.cli import run_folder
from lit_gen.loggers.wandb import WandbRun

WIDTH = 80
MOST_PARTS = 6
"""Parts of a model that are named; smaller ones are added up."""


class StartReport(Callback):
    """Prints a run's facts, a line each, on the first process.

    Args:
        remarks: what goes into summary.json beside the metrics; gets what the data are, as ``data``.
        part_of_staged: for a stage of a staged run, whose folder and loggers are the whole run's.
        is_first: whether it is the first stage that this process runs; later ones don't repeat data and device.
    """

    def __init__(self, remarks: dict[str, Any], part_of_staged: bool = False, is_first: bool = True) -> None:
        self.remarks = remarks
        self.part_of_staged = part_of_staged
        self.is_first = is_first

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        lines = self._where(trainer)
        data = data_lines(trainer.datamodule, self.remarks)
        if self.is_first:
            lines += [*data, device_line(trainer)]
        lines += [parameters_line(pl_module), training_line(trainer)]
        if trainer.global_step > 0:
            lines.append(f"resumed: at epoch {trainer.current_epoch + 1}, after {trainer.global_step:,} steps")
        if self.is_first:
            lines.append(f"W&B: {wandb_words(trainer)}")
        show(lines)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._report_evaluation(trainer, "validating")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report_evaluation(trainer, "testing")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report_evaluation(trainer, "predicting")

    def _report_evaluation(self, trainer: Trainer, activity: str) -> None:
        if not trainer.is_global_zero:
            return
        lines = []
        if trainer.ckpt_path:
            self.remarks["evaluated"] = weights_of(Path(trainer.ckpt_path))
        if "data" not in self.remarks:  # not after a fit, which has said it
            lines = [*self._where(trainer), *data_lines(trainer.datamodule, self.remarks), device_line(trainer)]
        show([*lines, evaluation_line(trainer, activity, self.remarks.get("evaluated"))])

    def _where(self, trainer: Trainer) -> list[str]:
        folder = run_folder.shown(Path(trainer.default_root_dir))
        return [] if self.part_of_staged else [f"run folder: {folder}"]


def show(lines: list[str]) -> None:
    """Print the lines, wrapped at 80 columns with what continues a line indented; paths stay whole."""
    for line in lines:
        indent = "  " if line.startswith("  ") else ""
        for part in textwrap.wrap(
            line, WIDTH, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
        ):
            print(part, flush=True)


def data_lines(data: Any, remarks: dict[str, Any]) -> list[str]:
    """What the data are; put into ``remarks`` too, as ``data``."""
    if hasattr(data, "description"):
        described = data.description()
        remarks["data"] = described.as_dict()
        first, *others = described.lines()
        return [f"data: {first}", *(f"  {line}" for line in others)]
    remarks["data"] = {"module": type(data).__name__}
    shape = getattr(data, "event_shape", None)
    return [f"data: {type(data).__name__}" + (f", examples of shape {list(shape)}" if shape else "")]


def device_line(trainer: Trainer) -> str:
    """The device, how many processes, and the precision."""
    device = trainer.strategy.root_device
    words = str(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        words += f", {threads} thread{'s' if threads > 1 else ''}"
    elif device.type == "cuda":
        words += f", {torch.cuda.get_device_name(device)}"
    if trainer.world_size > 1:
        words = f"{trainer.world_size} processes, the first on {words}"
    return f"device: {words}; precision {trainer.precision}"


def parameters_line(model: nn.Module) -> str:
    """How many parameters each part has, and how many of all are trained."""
    parts: dict[str, int] = {}
    seen: set[int] = set()
    counts = {True: 0, False: 0}
    for name, weight in _parameters(model):
        if id(weight) in seen:  # shared by two parts: the first one's
            continue
        seen.add(id(weight))
        part = name.partition(".")[0]
        parts[part] = parts.get(part, 0) + weight.numel()
        counts[weight.requires_grad] += weight.numel()
    if not parts:
        return "parameters: none"
    named = sorted(parts, key=parts.get, reverse=True)[:MOST_PARTS]
    rest = sum(count for part, count in parts.items() if part not in named)
    words = [f"{part} {count:,}" for part, count in parts.items() if part in named]
    words += [f"others {rest:,}"] if rest else []
    return f"parameters: {', '.join(words)}; {counts[True]:,} trained, {counts[False]:,} frozen"


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, weight) for name, weight in model.named_parameters() if not is_lazy(weight))


def training_line(trainer: Trainer) -> str:
    """The steps to come: of all epochs, up to ``max_steps``, for ``max_time``, or until somebody stops the run."""
    batches, size = trainer.num_training_batches, getattr(trainer.datamodule, "batch_size", None)
    of = f"{batches:,.0f} batch{'es' if batches != 1 else ''}" if batches != float("inf") else "batches without end"
    of += f" of {size}" if size else ""
    steps, epochs = trainer.max_steps, trainer.max_epochs
    is_counted = epochs is not None and epochs > 0
    in_epochs = None
    if is_counted and batches != float("inf"):
        in_epochs = epochs * -(-int(batches) // trainer.accumulate_grad_batches)
    timers = [timer.time_remaining() for timer in trainer.callbacks if isinstance(timer, Timer)]
    limits = [f"for at most {clock(seconds)}" for seconds in timers if seconds is not None]
    if in_epochs is not None and not 0 <= steps < in_epochs:
        words = [f"{epochs:,} epoch{'s' if epochs > 1 else ''} of {of} = {in_epochs:,} steps", *limits]
    elif steps >= 0:
        words = [f"{steps:,} steps", *limits, f"an epoch is {of}"]
    elif is_counted:
        words = [f"{epochs:,} epochs of {of}", *limits]
    else:
        words = [*(limits or [_without_limit(trainer)]), f"an epoch is {of}"]
    return f"training: {', '.join(words)}"


def _without_limit(trainer: Trainer) -> str:
    if any(isinstance(callback, EarlyStopping) for callback in trainer.callbacks):
        return "until EarlyStopping ends it"
    return "without an end (no max_epochs, max_steps, max_time or EarlyStopping); Ctrl-C stops and saves it"


def weights_of(checkpoint: Path) -> dict[str, Any]:
    """Which weights a checkpoint holds: its file's name, and the steps that they were trained for."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return {"checkpoint": checkpoint.name, "step": content["global_step"]}


def evaluation_line(trainer: Trainer, activity: str, weights: Mapping[str, Any] | None) -> str:
    """What is evaluated, and what is measured; ``weights`` as ``weights_of`` the checkpoint."""
    path = trainer.ckpt_path
    of = run_folder.shown(Path(path).resolve()) if path else "the model as it is"
    if path and Path(path).resolve().is_relative_to(Path(trainer.default_root_dir).resolve()):
        of = Path(path).name
    if weights:
        of = f"{of} of step {weights['step']:,}"
    if activity == "predicting":
        return f"{activity} by {of}"
    measured = [type(callback).__name__ for callback in trainer.callbacks if hasattr(callback, "protocols")]
    return f"{activity} {of}" + (f": {', '.join(measured)}" if measured else "")


def wandb_words(trainer: Trainer) -> str:
    """Where W&B's record of the run is."""
    runs = [logger for logger in trainer.loggers if isinstance(logger, WandbRun)]
    return runs[0].whereabouts() if runs else "off"
