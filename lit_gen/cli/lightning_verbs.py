"""``lit-gen fit | validate | test | predict``: LightningCLI with a run folder."""

import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from lit_gen.callbacks.divergence_guard import DivergenceGuard
from lit_gen.callbacks.prediction_writer import PredictionWriter
from lit_gen.callbacks.progress import Progress
from lit_gen.callbacks.stop_on_interrupt import StopOnInterrupt
from lit_gen.cli import checkpoints, lean, parser, run_folder, run_record
from lit_gen.errors import Interrupted, UserError
from lit_gen.loggers.metrics_csv import MetricsCSV
from lit_gen.loggers.wandb import WandbRun

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
            trainer_defaults={"log_every_n_steps": 50, "num_sanity_val_steps": 0, "enable_model_summary": False},
        )

    def add_arguments_to_parser(self, parser) -> None:
        parser.add_argument("--runs", default="runs", help="where run folders are made")
        parser.add_argument("--name", type=str | None, help="the run's name (default: the first config's file name)")
        parser.add_argument("--monitor", type=str | None, help="the figure whose least value makes best.ckpt")
        parser.add_argument("--checkpoint_every_n_steps", type=int, default=500, help="how often last.ckpt is written")
        parser.add_argument("--wandb", type=bool, default=True, help="log to W&B too (offline unless logged in)")
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            help="a checkpoint or run folder; 'last' or 'best': of the newest run of this name",
        )
        if self.verb == "fit":
            parser.add_argument("--resume", type=str | None, help="a run folder to go on in, with its own config")

    def parse_arguments(self, parser, args) -> None:
        try:
            self.config = parser.parse_args(args)
        except OmegaConfBaseException as error:
            raise UserError(f"in the config: {str(error).splitlines()[0]}") from error
        if self.config.data is None:
            raise UserError("no data: name a data module, e.g. data: ../data/mnist.yaml")

    def _config_name(self) -> str:
        if self.config.name:
            return self.config.name
        # The parsed namespace no longer holds the files' names.
        words = [part for word in self.arguments for part in word.split("=", 1)]
        files = [after for word, after in pairwise(words) if word in ("--config", "-c")]
        return Path(files[0]).stem if files else self.verb

    def before_instantiate_classes(self) -> None:
        root, name = Path(self.config.runs), self._config_name()
        self.config.name = name
        self.checkpoint = self._find_checkpoint(root, name)

    def _find_checkpoint(self, root: Path, name: str) -> Path | None:
        if self.resume is not None:
            return run_folder.find_checkpoint(self.resume, prefer=run_folder.LAST)
        where = self.config.ckpt_path
        if where is None:
            if self.verb != "fit":
                raise UserError(f"{self.verb} needs a checkpoint: --ckpt_path=RUN, a file, 'best' or 'last'")
            return None
        prefer = run_folder.LAST if self.verb == "fit" else run_folder.BEST
        if where in NEWEST:
            return run_folder.find_checkpoint(run_folder.latest(root, name), prefer=NEWEST[where])
        return run_folder.find_checkpoint(Path(where), prefer=prefer)

    def _run_folder(self, root: Path, name: str) -> Path:
        # Only where the words say so: a checkpoint named by its path begins a run of its own.
        if self.verb == "fit" and (self.resume is not None or self.config.ckpt_path == "last"):
            existing = run_folder.of_checkpoint(self.checkpoint)
            if existing is not None:
                return existing
        return run_folder.make(root, name)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            # jsonargparse's account of a part's constructor that refused its arguments.
            raise UserError(parser.readable(str(error), self.parser)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = dict(self.config_init.trainer)
        # Made only now that every part of the config has been built without an error.
        self.folder = self._run_folder(Path(self.config.runs), self.config.name) if _get_rank() in (None, 0) else None
        # What a resumed or repeated run needs is the config itself, not where it was stored.
        text = self.parser.dump(self._config_to_keep(), skip_none=False, skip_link_targets=False)
        self.record = run_record.RunRecord(self.folder, text)
        self.progress = Progress()
        folder = self.folder or Path(self.config.runs)
        config["callbacks"] = self._callbacks(config, folder)
        if config["logger"] in (None, True):
            config["logger"] = self._loggers(folder)
        # Lightning's own bar; ours is among the callbacks.
        config["enable_progress_bar"] = False
        config["profiler"] = config["profiler"] or lean.NoProfiler()
        try:
            trainer = self._instantiate_trainer({**config, "default_root_dir": str(folder), **kwargs}, [])
        except (MisconfigurationException, ValueError, ImportError) as error:
            self.discard()
            raise UserError(str(error)) from error
        return lean.make_lean(trainer)

    def discard(self) -> None:
        """Remove a run folder that was made for a run that was refused: nothing but its config and log is in it."""
        self.record.close()
        if self.folder and {path.name for path in self.folder.iterdir()} <= {
            run_folder.CONFIG,
            "log.txt",
            "metrics.csv",
        }:
            shutil.rmtree(self.folder)

    def can_resume(self) -> bool:
        """Whether the run has left a checkpoint to go on from."""
        return self.folder is not None and (self.folder / run_folder.CHECKPOINTS / run_folder.LAST).is_file()

    def _config_to_keep(self):
        kept = self.config.clone()
        for key in ("config", "ckpt_path", "resume"):
            kept.pop(key, None)
        return kept

    def _callbacks(self, config: dict[str, Any], folder: Path) -> list[Callback]:
        given = config["callbacks"] or []
        callbacks = [self.record, *(given if isinstance(given, list) else [given]), DivergenceGuard()]
        if config["enable_progress_bar"] is not False:
            callbacks.append(self.progress)
        if self.verb == "predict":
            callbacks.append(PredictionWriter())
        if self.verb != "fit" or config["enable_checkpointing"] is False or config["fast_dev_run"]:
            return callbacks
        there = folder / run_folder.CHECKPOINTS
        callbacks.append(
            StopOnInterrupt(there / run_folder.LAST, f"Go on with: lit-gen fit --resume {run_folder.shown(folder)}"),
        )
        callbacks.append(run_record.LastCheckpoint(there, self.config.checkpoint_every_n_steps))
        if self.config.monitor:
            callbacks.append(run_record.BestCheckpoint(there, self.config.monitor))
        return callbacks

    def _loggers(self, folder: Path) -> list:
        if _get_rank() not in (None, 0):
            return []
        loggers = [MetricsCSV(folder)]
        if self.config.wandb and self.verb == "fit":
            loggers.append(WandbRun(folder, project="lit-gen", name=f"{self.config.name}/{folder.name}"))
        return loggers


def _arguments_of_run(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """``--resume RUN`` stands for that run's config, before any override."""
    arguments = list(arguments)
    for position, word in enumerate(arguments):
        if word == "--resume" or word.startswith("--resume="):
            value = word.partition("=")[2] or (arguments[position + 1 : position + 2] or [""])[0]
            del arguments[position : position + (1 if "=" in word else 2)]
            run = Path(value)
            if not (run / run_folder.CONFIG).is_file():
                raise UserError(f"cannot resume '{value}': it is not a run folder (it has no {run_folder.CONFIG})")
            return ["--config", str(run / run_folder.CONFIG), *arguments], run
    return arguments, None


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _fit(cli: LitGenCLI) -> None:
    trainer, seconds = cli.trainer, time.perf_counter()
    path = str(cli.checkpoint) if cli.checkpoint else None
    trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=path, weights_only=True)
    timing = {
        "seconds_fit": time.perf_counter() - seconds,
        "seconds_training": cli.progress.train_seconds,
        "images_per_second": cli.progress.examples_per_second,
    }
    steps, epochs = trainer.global_step, trainer.current_epoch
    if cli.config.monitor and not trainer.fast_dev_run and cli.config.monitor not in trainer.callback_metrics:
        logged = ", ".join(name for name in trainer.callback_metrics if name.startswith("val/"))
        message = f"monitor: '{cli.config.monitor}' was never logged, so there is no best.ckpt; there are {logged}"
        warnings.warn(message, stacklevel=2)
    figures = _test_best(cli)
    _finish(cli, figures, {"steps": steps, "epochs": epochs, **timing})


def _test_best(cli: LitGenCLI) -> dict[str, float]:
    there = Path(cli.trainer.default_root_dir) / run_folder.CHECKPOINTS
    # A fast_dev_run and a run without checkpointing have none: then the weights at hand are tested.
    chosen = next((there / name for name in (run_folder.BEST, run_folder.LAST) if (there / name).is_file()), None)
    cli.trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path=chosen, verbose=False, weights_only=True)
    return _figures(cli.trainer.callback_metrics)


def _evaluate(cli: LitGenCLI) -> None:
    seconds = time.perf_counter()
    entry = getattr(cli.trainer, cli.verb)
    quiet = {} if cli.verb == "predict" else {"verbose": False}
    if cli.verb == "predict":
        quiet["return_predictions"] = False
    entry(cli.model, datamodule=cli.datamodule, ckpt_path=str(cli.checkpoint), weights_only=True, **quiet)
    _finish(cli, _figures(cli.trainer.callback_metrics), {"seconds": time.perf_counter() - seconds})


def _finish(cli: LitGenCLI, figures: dict[str, float], timing: dict[str, float]) -> None:
    if cli.trainer.is_global_zero:
        folder = Path(cli.trainer.default_root_dir)
        run_record.write_summary(folder, figures, cli.trainer, timing)
        run_record.print_table(folder, figures, cli.trainer, timing)


def run(verb: str, arguments: Sequence[str]) -> None:
    """Run one of Lightning's verbs.

    Raises:
        UserError: a mistake in the config, the data, the checkpoint, or what was asked of the machine.
    """
    run_record.quiet_libraries()
    lean.ask_cuda_cheaply()
    arguments, resume = _arguments_of_run(arguments)
    cli = LitGenCLI(verb, arguments, resume)
    try:
        if cli.checkpoint is not None:
            checkpoints.check_fits(checkpoints.load(cli.checkpoint), cli.model, cli.checkpoint)
        if verb == "fit":
            _fit(cli)
        else:
            _evaluate(cli)
    except UserError:
        cli.discard()
        raise
    except MisconfigurationException as error:
        raise UserError(str(error)) from error
    except SystemExit as stop:
        # How Lightning ends after a Ctrl-C that it handled itself: in an evaluation, or the second one.
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        hint = (
            f"go on with: lit-gen fit --resume {run_folder.shown(cli.folder)}"
            if cli.can_resume()
            else "nothing was saved"
        )
        raise Interrupted(f"interrupted; {hint}") from stop
    finally:
        cli.record.close()
        sys.stdout.flush()
