"""What a run leaves in its folder beside checkpoints and pictures."""

import json
import logging
import math
import platform
import subprocess
import time
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.table import Column, Table

from lit_gen.atomic_file import replacing
from lit_gen.callbacks.intervals import is_final_validation
from lit_gen.cli import run_folder, run_state, yaml_text
from lit_gen.cli.checkpoints import CONFIG_KEY, load
from lit_gen.cli.library_messages import log_to, quiet_loggers, stop_logging
from lit_gen.cli.whole_checkpoints import damage_of
from lit_gen.data.loader import TrainingLoader
from lit_gen.randomness import run_seed

PACKAGES = ("torch", "lightning", "torchmetrics", "jsonargparse", "numpy")


class RunRecord(Callback):
    """Keeps the run folder: its config, the resolved config inside each checkpoint, the log, the last checkpoint.

    Args:
        folder: the run folder; None on ranks above 0, which learn it from rank 0.
        config: the resolved config as YAML text.
        kept: the same with its interpolations, for ``config.yaml``.
        verb: what is run.
        changes: what its command line changes in its config.
    """

    def __init__(
        self, folder: Path | None, config: str, kept: str, verb: str = "fit", changes: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.config = config
        self.kept = kept
        self.verb = verb
        self.changes = changes or {}
        self.started = time.perf_counter()
        self.is_written = False
        self._handler: logging.Handler | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = Path(trainer.strategy.broadcast(str(self.folder)))
        # Lightning offers no way to set it once the strategy, and with it the other ranks, is known.
        trainer._default_root_dir = str(self.folder)
        if trainer.is_global_zero and self._handler is None:
            if not (self.folder / run_folder.CONFIG).exists():
                self.write()
            self._handler = log_to(self.folder / "log.txt")

    def write(self) -> None:
        """Write the config, and note that this process runs the run, unless it is done; to be called by one rank.

        A new run's are written at once. Those of a run that goes on are replaced when its first step is near: if it is
        refused before, its folder says what it said.
        """
        if not self.is_written:
            self.is_written = True
            write_atomically(self.folder / run_folder.CONFIG, self.kept)
            run_state.write(self.folder, self.verb, self.changes)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml_text.load(self.config))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        take_up_stream(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG_KEY] = self.config

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self.is_written and isinstance(exception, Exception):
            run_state.note_failure(self.folder, exception)

    def close(self) -> None:
        """Let go of the log file."""
        if self._handler is not None:
            stop_logging(self._handler)
            self._handler = None


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt`` by the least value of a logged figure; epochs that didn't measure it are passed over."""

    def __init__(self, folder: Path, monitor: str) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(run_folder.BEST).stem,
            monitor=monitor,
            mode="min",
            enable_version_counter=False,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score up again, wherever the run folder lies by now; ``best.ckpt`` may know a better one."""
        there = Path(self.dirpath)
        # None: another run's checkpoint was the beginning of this one. A damaged one is written anew.
        if damage_of(there / run_folder.BEST) is not None:
            return
        # It may come of a validation after the step that the run goes on from.
        own = load(there / run_folder.BEST).get("callbacks", {}).get(self.state_key)
        if own is not None and _score(own) < _score(state_dict):
            state_dict = own
        state = {**state_dict, "dirpath": self.dirpath}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = str(there / Path(state[name]).name) if state.get(name) else ""
        state["best_k_models"] = {str(there / Path(path).name): score for path, score in state["best_k_models"].items()}
        super().load_state_dict(state)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:
            super().on_validation_end(trainer, pl_module)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        last = Path(self.dirpath) / run_folder.LAST
        if not (is_final_validation(trainer) and last.is_file()):
            super()._save_checkpoint(trainer, filepath)
            return
        # By now Lightning has counted an epoch as done that ended before its last batch; last.ckpt, of the same
        # weights, was saved before.
        checkpoint = load(last)
        checkpoint["callbacks"][self.state_key] = self.state_dict()
        trainer.strategy.save_checkpoint(checkpoint, filepath)
        trainer.strategy.barrier()
        self._last_global_step_saved = trainer.global_step


def _score(state: dict[str, Any]) -> float:
    score = state["best_model_score"]
    return math.inf if score is None else float(score)


class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt``, every so many steps and at the end: what a run goes on from.

    Where training ends amid an epoch, as by ``max_steps``, ``max_time`` or early stopping, it is saved before it ends:
    afterwards Lightning counts the epoch as done. Its place is after ``BestCheckpoint``, whose score it keeps.
    """

    def __init__(self, folder: Path, every_n_steps: int) -> None:
        super().__init__(
            dirpath=folder,
            filename=Path(run_folder.LAST).stem,
            every_n_train_steps=every_n_steps,
            enable_version_counter=False,
        )
        self.every_n_steps = every_n_steps
        self._saved_at = -1

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: where the last checkpoint lay says nothing of where the next one goes."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        step = trainer.global_step
        if step % self.every_n_steps == 0:  # the base class finds out at some length
            super().on_train_batch_end(trainer, *args)
            self._saved_at = step
        elif step == trainer.max_steps or trainer.should_stop:
            self._save_if_ending(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not (trainer.sanity_checking or is_final_validation(trainer)):
            self._save_if_ending(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not (is_amid_epoch(trainer) and self._saved_at == trainer.global_step):
            self.save(trainer)

    def _save_if_ending(self, trainer: Trainer) -> None:
        stops = trainer.should_stop and trainer.fit_loop._can_stop_early
        if is_amid_epoch(trainer) and (stops or trainer.global_step == trainer.max_steps):
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write it now."""
        trainer.save_checkpoint(Path(self.dirpath) / run_folder.LAST)
        self._saved_at = trainer.global_step


def take_up_stream(trainer: Trainer) -> None:
    """Put the training examples' stream where it stood in the checkpoint that a fit goes on from.

    Lightning does so amid an epoch only. At an epoch's end, as of a finished run that is now to train for longer, it
    takes a loader for exhausted and starts it anew; our stream would give the first epoch's order once more.
    """
    fit = trainer.fit_loop
    states, loader = fit._combined_loader_states_to_load, fit._combined_loader
    if states and loader is not None and all(isinstance(one, TrainingLoader) for one in loader.flattened):
        loader._load_state_dicts(states)
        fit._combined_loader_states_to_load = []


def is_amid_epoch(trainer: Trainer) -> bool:
    """Whether the last training batch was not its epoch's last."""
    return not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is either the old one or the whole new one."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def commit() -> str | None:
    """The commit of the checkout that lit-gen runs from, with ``+changes`` if it has any; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def protocols_of(trainer: Trainer) -> dict[str, str]:
    """Each metric's protocol, as the model and the callbacks that measured it state it."""
    measured_by = (trainer.lightning_module, *trainer.callbacks)
    return {name: line for part in measured_by for name, line in getattr(part, "protocols", {}).items()}


def write_summary(
    folder: Path,
    figures: dict[str, float],
    trainer: Trainer,
    timing: dict[str, float],
    remarks: Mapping[str, Any] | None = None,
) -> None:
    """Write ``summary.json``: figures with their protocols, seed, versions, commit, timing, and any remarks."""
    told = protocols_of(trainer)
    summary = {
        "figures": figures,
        "protocols": {name: told[name] for name in figures if name in told},
        "seed": run_seed(),
        "world_size": trainer.world_size,
        **timing,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {trainer.strategy.root_device}",
        "commit": commit(),
        **(remarks or {}),
    }
    write_atomically(folder / run_folder.SUMMARY, json.dumps(summary, indent=2) + "\n")


def print_table(title: str, figures: dict[str, float], trainer: Trainer, timing: dict[str, float]) -> None:
    """The few lines a run ends with."""
    told = protocols_of(trainer)
    figure = Column("figure", overflow="fold")  # a name cut short is of no use
    table = Table(figure, "value", "protocol", title=title, title_justify="left", min_width=len(title))
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}", told.get(name, ""))
    for name, value in timing.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:,.1f}", "")
    Console(soft_wrap=False).print(table)


def quiet_libraries() -> None:
    """Leave out what the libraries say that is no news to a user of lit-gen; the run's log keeps it."""
    quiet_loggers()
    for pattern in (
        r".*does not have many workers.*",
        r".*LeafSpec.*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*callbacks used to create the checkpoint need to be provided.*",
        r".*smaller than the logging interval.*",
        r"Found \d+ module\(s\) in eval mode.*",  # what a stage takes over frozen
    ):
        warnings.filterwarnings("ignore", pattern)
