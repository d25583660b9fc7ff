"""LightningCLI with a run folder: parses configs and builds model, data and trainer."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningCLI
from omegaconf.errors import OmegaConfBaseException

from lit_gen.callbacks.divergence_guard import DivergenceGuard
from lit_gen.callbacks.intervals import FinalValidation
from lit_gen.callbacks.prediction_writer import PredictionWriter
from lit_gen.callbacks.progress import Progress
from lit_gen.callbacks.stop_on_interrupt import StopOnInterrupt
from lit_gen.cli import (
    interpolation,
    lean,
    log_interval,
    monitors,
    overrides,
    parser,
    precision,
    run_clock,
    run_folder,
    run_record,
    run_state,
    shortened,
    start_up,
    trainer_keys,
    whole_checkpoints,
)
from lit_gen.cli.config_files import name_of
from lit_gen.cli.parts import FirstStep, FirstStepAmidEpoch, Parts
from lit_gen.cli.start_report import StartReport
from lit_gen.errors import UserError
from lit_gen.loggers.metrics_csv import MetricsCSV
from lit_gen.loggers.wandb import WandbRun

NOTHING_BUT = {run_folder.CONFIG, run_folder.LOG, "metrics.csv", run_state.RECORD}
"""Files that a run folder gets before there is any work in it."""

NEWEST = {"last": run_folder.LAST, "best": run_folder.BEST}


class LitGenCLI(LightningCLI):
    """Parses one verb's configs and overrides, makes or finds the run folder, and builds model, data and trainer.

    Args:
        verb: fit, validate, test or predict.
        arguments: the command line after the verb.
        resume: the run folder to go on in, for ``fit --resume RUN``.
    """

    def __init__(self, verb: str, arguments: Sequence[str], resume: Path | None = None) -> None:
        self.verb = verb
        self.arguments = list(arguments)
        self.resume = resume
        self._made: list[Path] = []
        self.remarks: dict[str, Any] = {}
        """What goes into summary.json beside the figures."""
        self.parts = Parts()
        self.first_step = FirstStep()
        parser.set_up()
        super().__init__(
            run=False,
            args=self.arguments,
            parser_class=parser.Parser,
            parser_kwargs={"parser_mode": "omegaconf+", "prog": f"lit-gen {verb}"},
            auto_configure_optimizers=False,
            save_config_callback=None,
            load_from_checkpoint_support=False,
            seed_everything_default=0,
            trainer_defaults={"num_sanity_val_steps": 0, "enable_model_summary": False},
        )

    def add_arguments_to_parser(self, parser) -> None:
        parser.add_argument("--runs", type=str, default="runs", help="where run folders are made")
        parser.add_argument("--name", type=str | None, help="the run's name (default: the first config's file name)")
        parser.add_argument("--monitor", type=str | None, help="the figure whose least value makes best.ckpt")
        parser.add_argument(
            "--monitor_missing",
            type=Literal["stop", "warn"],
            default="stop",
            help="what to do after the first validation if 'monitor' isn't among what is logged",
        )
        parser.add_argument(
            "--score",
            type=Literal["in_proportion", "full"],
            default="in_proportion",
            help="how much of the test a training has that the command line cut short",
        )
        parser.add_argument("--checkpoint_every_n_steps", type=int, default=500, help="how often last.ckpt is written")
        parser.add_argument("--wandb", type=bool, default=True, help="log to W&B too (offline unless logged in)")
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            help="a checkpoint or run folder; 'last' or 'best': of the newest run of this name",
        )
        if self.verb == "fit":
            parser.add_argument("--resume", type=str | None, help="a run folder to go on in, with its own config")
            parser.add_argument(
                "--stages", type=list | None, help="fits run in turn, each with a name, start_from and its own keys"
            )

    def parse_arguments(self, parser, args) -> None:
        try:
            self.config = parser.parse_args(args)
        except (OmegaConfBaseException, RecursionError) as error:
            place, reason = interpolation.explained(error, parser.unresolved)
            raise UserError(f"{place}: {reason}" if place else f"in the config: {reason}") from error
        if self.config.model is None:
            raise UserError("no model: name one in a config, as in lit-gen fit --config vaes/vae_digits")
        if self.config.data is None:
            raise UserError("no data: name a data module, e.g. --data=data/mnist")
        trainer_keys.check(self.config)
        # Until lightning_verbs.run ends.
        torch.set_default_dtype(precision.default_dtype_of(self.config.trainer.precision))

    def before_instantiate_classes(self) -> None:
        start_up.end()  # the classes that the config names have been imported
        # The parsed namespace no longer holds the files' names.
        if self.config.name is None:
            self.config.name = name_of(self.arguments) or self.verb
        run_folder.check_name(self.config.name, "name")
        self.config.runs = os.path.expanduser(self.config.runs)
        self.checkpoint = self._find_checkpoint(Path(self.config.runs), self.config.name)

    @property
    def goes_on(self) -> bool:
        """Whether a fit goes on in the run of its checkpoint; one named by its path begins a run of its own."""
        return self.resume is not None or self.config.ckpt_path == "last"

    def plan(self) -> shortened.Plan:
        """How long the training is, by the command line and without."""
        files = shortened.without_lengths(self.arguments)
        of_files = None if files is None else dict(self.parser.parse_args(files).trainer)
        return shortened.Plan(dict(self.config.trainer), of_files)

    def _find_checkpoint(self, root: Path, name: str) -> Path | None:
        if self.resume is not None:
            whole_checkpoints.check_way(self.resume)
            return whole_checkpoints.find(self.resume, prefer=run_folder.LAST)
        where = self.config.ckpt_path
        if where is None:
            if self.verb != "fit":
                raise UserError(f"{self.verb} needs a checkpoint: --ckpt_path=RUN, a file, 'best' or 'last'")
            return None
        prefer = run_folder.LAST if self.verb == "fit" else run_folder.BEST
        if where in NEWEST:
            return whole_checkpoints.find(run_folder.latest(root, name), prefer=NEWEST[where])
        return whole_checkpoints.find(Path(where), prefer=prefer)

    def _run_folder(self, root: Path, name: str) -> Path:
        if self.verb == "fit" and self.goes_on:
            existing = run_folder.of_checkpoint(self.checkpoint)
            if existing is not None:
                return existing
        self._made = run_folder.absent(root, name)
        return run_folder.make(root, name, overrides.suffix(overrides.overrides(self.arguments), self.verb))

    def instantiate_classes(self) -> None:
        try:
            self.config_init = self.parts.build(self.parser, self.config)
        except ValueError as error:  # of jsonargparse: what is wrong is in the config, not in what a part raised
            raise UserError(parser.readable(str(error), self.parser)) from error
        self.datamodule, self.model = self.config_init.data, self.config_init.model
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = dict(self.config_init.trainer)
        trainer_keys.check_optimization(self.model, config)
        # Made only now that every part of the config has been built without an error.
        self.folder = self._run_folder(Path(self.config.runs), self.config.name) if _get_rank() in (None, 0) else None
        changes = overrides.overrides(self.arguments)
        self.record = run_record.RunRecord(self.folder, self.config_text(), self.kept_text(), self.verb, changes)
        if self.folder is not None:
            self.first_step.on_near.append(self.record.write)
        self.progress = Progress()
        self.clock = run_clock.RunClock(self.progress)
        folder = self.folder or Path(self.config.runs)
        config["callbacks"] = self._callbacks(config, folder)
        if config["logger"] in (None, True):
            config["logger"] = self._loggers(folder)
        # Lightning's own bar; ours is among the callbacks.
        config["enable_progress_bar"] = False
        config["profiler"] = config["profiler"] or lean.NoProfiler()
        try:
            trainer = self._instantiate_trainer({**config, "default_root_dir": str(folder), **kwargs}, [])
            precision.check_on(config["precision"], trainer.strategy.root_device)
        except UserError:
            self.discard()
            raise
        except Exception as error:  # of whatever type: Lightning refuses values with several
            self.discard()
            raise UserError(f"trainer: {_with_hint(str(error))}") from error
        return lean.make_lean(trainer)

    def discard(self) -> None:
        """Remove a run folder that was made for a run that was refused: there has been no step, or it left nothing."""
        self.record.close()
        if self.folder is None or not self.folder.is_dir():
            return
        holds_work = self.first_step.is_near or any(self.folder.glob(f"{run_folder.CHECKPOINTS}/*.ckpt"))
        if not holds_work or {path.name for path in self.folder.iterdir()} <= NOTHING_BUT:
            run_folder.remove(self.folder, self._made)

    def how_to_resume(self) -> str | None:
        """The command that goes on with the run; None if it has left nothing to go on from."""
        left = self.folder is not None and (self.folder / run_folder.CHECKPOINTS / run_folder.LAST).is_file()
        return self._resuming(self.folder) if left else None

    def _resuming(self, folder: Path) -> str:
        return f"lit-gen fit --resume {run_folder.shown(folder)}"

    @property
    def title(self) -> str:
        """What the run is called in its table."""
        return self.config.name

    def config_text(self) -> str:
        """The resolved config as YAML.

        What a resumed or repeated run needs is the config itself, not where it was stored.
        """
        kept = self.config.clone()
        for key in ("config", "ckpt_path", "resume", "stages"):
            kept.pop(key, None)
        return self.parser.dump(kept, skip_none=False, skip_link_targets=False)

    def kept_text(self) -> str:
        """The config as it is kept in the run folder: with its interpolations, so that it can be changed and run."""
        return interpolation.keep(self.config_text(), self.parser.unresolved)

    def _callbacks(self, config: dict[str, Any], folder: Path) -> list[Callback]:
        given = config["callbacks"] or []
        watch = monitors.MonitorWatch(self.config.monitor_missing == "stop", self._resuming(folder))
        self.progress.shows_bar = config["enable_progress_bar"] is not False  # it is the run's clock too
        callbacks = [
            self.record,
            self.first_step,
            self._report(),
            watch,
            *(given if isinstance(given, list) else [given]),
            FirstStepAmidEpoch(self.first_step),
            DivergenceGuard(),
            self.progress,
        ]
        if config["log_every_n_steps"] is None and not config["barebones"]:
            callbacks.insert(0, log_interval.LogInterval(self.config.trainer))
        if self.verb == "predict":
            callbacks.append(PredictionWriter())
        if self.verb == "fit":
            callbacks[-1:-1] = [self.clock, FinalValidation()]  # before the bar, which shows a final validation
        if self.verb != "fit" or config["enable_checkpointing"] is False or config["fast_dev_run"]:
            return callbacks
        there = folder / run_folder.CHECKPOINTS
        callbacks.append(
            StopOnInterrupt(there / run_folder.LAST, f"Go on with: {self._resuming(folder)}"),
        )
        if self.config.monitor:
            callbacks.append(run_record.BestCheckpoint(there, self.config.monitor))
        callbacks.append(run_record.LastCheckpoint(there, self.config.checkpoint_every_n_steps))
        return callbacks

    def _report(self) -> StartReport:
        return StartReport(self.remarks)

    def _loggers(self, folder: Path) -> list:
        if _get_rank() not in (None, 0):
            return []
        loggers = [MetricsCSV(folder)]
        if self.config.wandb and self.verb == "fit":
            loggers.append(self._wandb(folder))
        return loggers

    def _wandb(self, folder: Path) -> WandbRun:
        return WandbRun(folder, project="lit-gen", name=f"{self.config.name}/{folder.name}")


def _with_hint(message: str) -> str:
    """Lightning's account of why there is no trainer; where the accelerator isn't there, with what to take instead."""
    if "backend found" in message or "can not run on your system" in message:
        return f"{message.rstrip()} Take --trainer.accelerator=cpu or auto."
    if "CPUAccelerator" in message and "int > 0" in message:
        return f"{message.rstrip()} There is no GPU here: take --trainer.devices=2 for two processes, or 1."
    return message
