"""``fit`` of a config with stages: each an ordinary fit in a folder of its own, handing its weights to later ones."""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import _get_rank
from torch import Tensor

from lit_gen.cli import (
    handing_on,
    interpolation,
    one_run,
    overrides,
    run_clock,
    run_folder,
    run_record,
    run_state,
    sample,
    stages,
    whole_checkpoints,
)
from lit_gen.cli.stage_cli import StageCLI
from lit_gen.cli.stages import Stage
from lit_gen.errors import Interrupted, UserError
from lit_gen.loggers.wandb import WandbRun
from lit_gen.randomness import seeded


class StagedRun:
    """The stages of one run, in turn.

    Args:
        these: all of its stages.
        resume: the run folder to go on in; a new one is made where it is None.
        arguments: the run's command line.
    """

    def __init__(self, these: Sequence[Stage], resume: Path | None, arguments: Sequence[str] = ()) -> None:
        self.stages = list(these)
        self.overrides = overrides.overrides(arguments)
        self.folder = resume.resolve() if resume else None
        self.is_new = False
        self._is_written = False
        self._made: list[Path] = []
        self._has_begun = False
        self.transfers: dict[str, list[handing_on.Transfer]] = {}
        self._configs: dict[str, str] = {}
        # What stages without a checkpoint hand on: in a fast_dev_run, and without checkpointing.
        self._at_hand: dict[str, Mapping[str, Tensor]] = {}

    def prepare(self) -> None:
        """Build every stage that is still to be trained, for trial, and make the run folder when all are sound.

        Raises:
            UserError: a mistake in a stage, or stages that don't chain.
        """
        first = None
        if self.folder is None:
            first = self._trial(self.stages[0])
            self.folder = self._folder_asked_for(first)
        gives: dict[str, handing_on.Shapes] = {}
        world_sizes: dict[str, int] = {}
        for stage in self.stages:
            if self._is_finished(stage):
                gives[stage.name] = self._shapes_of_finished(stage)
                continue
            cli = first if first is not None and stage.number == 1 else self._trial(stage)
            later = [other.name for other in self.stages[stage.number - 1 :]]
            takes = handing_on.shapes(cli.model.state_dict())
            self.transfers[stage.name] = handing_on.transfers(stage, takes, gives, later)
            handing_on.check_below(stage, cli.model, self.transfers[stage.name])
            with told_of(stage):
                try_on_data(cli)
            self._configs[stage.name] = cli.kept_text()
            gives[stage.name] = handing_on.shapes(handing_on.handed_on(cli.model))
            world_sizes[stage.name] = cli.trainer.world_size
        if len(set(world_sizes.values())) > 1:
            told = ", ".join(f"'{name}' asks for {size}" for name, size in world_sizes.items())
            raise UserError(f"all stages of a run need the same number of processes, but {told}")
        if self.folder is None:
            self.is_new = True
            if is_rank_zero():
                words = overrides.suffix(self.overrides)
                self._made = run_folder.absent(Path(cli.config.runs), cli.config.name)
                self.folder = run_folder.make(Path(cli.config.runs), cli.config.name, words)

    def fit(self) -> None:
        """Train the stages that are still to be trained; the summary and the table of each, and the run's own."""
        handler = None
        if is_rank_zero():
            if self.is_new:
                self._write()
            handler = run_record.log_to(self.folder / run_folder.LOG)
            self._say(f"run folder: {run_folder.shown(self.folder)}")
        try:
            for stage in self.stages:
                if self._is_finished(stage):
                    self._say(f"stage {stage.number} of {len(self.stages)}, {stage.name}: finished before")
                else:
                    self._say(f"stage {stage.number} of {len(self.stages)}: {stage.name}")
                    self._fit_stage(stage)
        except KeyboardInterrupt as interrupt:
            where = run_folder.shown(self.folder) if self.folder else "RUN"  # told by the rank that knows it
            raise Interrupted(f"interrupted; go on with: lit-gen fit --resume {where}") from interrupt
        except Exception as error:
            if self._is_written:
                run_state.note_failure(self.folder, error)
            raise
        finally:
            if handler is not None:
                run_record.stop_logging(handler)
        if is_rank_zero():
            self._write()  # of a run whose stages had no step to do
            self._write_summary()
            print(f"run folder: {run_folder.shown(self.folder)}")

    def _write(self) -> None:
        """Write config and record unless it is done; those of a run that goes on when its first step is near."""
        if not self._is_written:
            self._is_written = True
            run_record.write_atomically(self.folder / run_folder.CONFIG, stages.whole(self.stages, self._configs))
            run_state.write(self.folder, "fit", self.overrides)

    def discard(self) -> None:
        """Remove the folder of a run that was refused before its first stage had begun."""
        if self.is_new and self.folder and not any((self.folder / run_folder.STAGES).glob("*")):
            run_folder.remove(self.folder, self._made)

    # Before anything trains.

    def _trial(self, stage: Stage) -> StageCLI:
        with told_of(stage):
            return StageCLI(stage, len(self.stages), None)

    def _folder_asked_for(self, cli: StageCLI) -> Path | None:
        where = cli.config.ckpt_path
        if where is None:
            return None
        if where != "last":
            raise UserError(f"--ckpt_path={where}: a run with stages goes on with --resume RUN or --ckpt_path=last")
        newest = run_folder.latest(Path(cli.config.runs), cli.config.name).resolve()
        if run_folder.last_stage(newest) is None:
            # As of one stage's own config, which goes by the run's name: it is not ours to write stages into.
            raise UserError(
                f"--ckpt_path=last: {run_folder.shown(newest)}, the newest run of this name, has no stages; name the "
                "run with --resume RUN"
            )
        return newest

    def _is_finished(self, stage: Stage) -> bool:
        # The last stage goes on as any run does, for as many epochs as it is now asked for.
        if self.folder is None or self.is_new or stage.number == len(self.stages):
            return False
        # A fast_dev_run leaves a summary, but nothing to hand on.
        until = [self._there(one) for one in self.stages[: stage.number]]
        return all((there / run_folder.SUMMARY).is_file() and has_checkpoint(there) for there in until)

    def _there(self, stage: Stage) -> Path:
        return run_folder.of_stage(self.folder, stage.number, stage.name)

    def _shapes_of_finished(self, stage: Stage) -> handing_on.Shapes:
        if stage.own:
            raise UserError(
                f"--stages.{stage.name}…: that stage is finished, and later ones began from it; start a new run"
            )
        self._configs[stage.name] = (self._there(stage) / run_folder.CONFIG).read_text(encoding="utf-8")
        with told_of(stage):
            return handing_on.shapes(self._handed_on(stage.name))

    # Training.

    def _fit_stage(self, stage: Stage) -> None:
        with told_of(stage):
            cli = StageCLI(stage, len(self.stages), self.folder, is_first=not self._has_begun)
            self._has_begun = True
            if is_rank_zero():
                cli.first_step.on_near.append(self._write)
            with one_run.mistakes_told(cli):
                cli.remarks["started_from"] = {
                    transfer.target: f"{transfer.stage}.{transfer.source}" for transfer in self.transfers[stage.name]
                }
                one_run.check_checkpoint(cli)
                if cli.checkpoint is None:
                    self._start(cli, self.transfers[stage.name])
                one_run.fit(cli)
        for logger in cli.trainer.loggers:
            if isinstance(logger, WandbRun):
                logger.finish()
        self.folder = cli.record.folder.parent.parent  # which the other ranks learn in the first stage
        if not has_checkpoint(cli.record.folder):
            given = handing_on.handed_on(cli.model)
            self._at_hand[stage.name] = {name: tensor.detach().cpu().clone() for name, tensor in given.items()}
        del cli
        gc.collect()  # model, trainer and data know each other; the next stage may need their memory

    def _start(self, cli: StageCLI, transfers: list[handing_on.Transfer]) -> None:
        givers = {transfer.stage for transfer in transfers}
        given = {name: self._handed_on(name) for name in givers}
        taken = {transfer.target: given[transfer.stage][transfer.source] for transfer in transfers}
        cli.model.load_state_dict(taken, strict=False)

    def _handed_on(self, name: str) -> Mapping[str, Tensor]:
        """What a finished stage hands on, from its best checkpoint if it chose one, else its last."""
        if name in self._at_hand:
            return self._at_hand[name]
        (stage,) = (stage for stage in self.stages if stage.name == name)
        # Building a model draws random weights, which must not shift what this stage draws.
        with seeded(0, torch.device("cpu")):
            return handing_on.handed_on(sample.load_model(whole_checkpoints.find(self._there(stage))))

    def _write_summary(self) -> None:
        of_stage = {
            stage.name: json.loads((self._there(stage) / run_folder.SUMMARY).read_text(encoding="utf-8"))
            for stage in self.stages
        }
        whole: dict[str, Any] = dict(of_stage[self.stages[-1].name])
        whole.pop("started_from", None)
        for key in ("figures", "protocols"):
            prefixed = {f"{name}/{figure}": v for name, one in of_stage.items() for figure, v in one[key].items()}
            whole[key] = {**whole[key], **prefixed}
        told = ("steps", "epochs", "seconds_fit", "seconds_training", "images_per_second", "legs", "started_from")
        # Of all stages, as the run's folder is all stages'; each stage's own stand beside its name.
        every = list(of_stage.values())
        whole |= {key: sum(one[key] for one in every) for key in ("steps", "epochs")}
        whole.pop("legs", None)
        whole |= run_clock.totals([leg for one in every for leg in one.get("legs", [])])
        whole["stages"] = {
            stage.name: {
                "folder": str(self._there(stage).relative_to(self.folder)),
                **{key: of_stage[stage.name][key] for key in told if key in of_stage[stage.name]},
            }
            for stage in self.stages
        }
        run_record.write_atomically(self.folder / run_folder.SUMMARY, json.dumps(whole, indent=2) + "\n")

    def _say(self, message: str) -> None:
        if is_rank_zero():
            print(message, flush=True)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder has a checkpoint."""
    return any((folder / run_folder.CHECKPOINTS).glob("*.ckpt"))


def is_rank_zero() -> bool:
    """Whether this process is the one that writes."""
    return _get_rank() in (None, 0)


@contextmanager
def told_of(stage: Stage) -> Iterator[None]:
    """Within the block a mistake is told as the stage's."""
    try:
        yield
    except UserError as error:
        raise UserError(f"stage '{stage.name}': {error}") from error


def try_on_data(cli: StageCLI) -> None:
    """Let the data say whether they can be had as asked for, and the model whether it takes their shapes.

    Calls what Lightning will call again in the stage's own fit.

    Raises:
        UserError: they can't, or it doesn't.
    """
    cli.model.trainer = cli.datamodule.trainer = cli.trainer
    cli.trainer.datamodule = cli.datamodule
    if is_rank_zero():
        cli.datamodule.prepare_data()  # a model may look at the first examples
    # Data or a model may ask for what only a fit has; if something is wrong with them, their own fit will say so.
    with suppress(AttributeError, RuntimeError, NotImplementedError, TypeError):
        if is_rank_zero():  # the others may be ahead of what it prepares
            cli.datamodule.setup("fit")
            cli.datamodule.train_dataloader()
        cli.model.setup("fit")
    cli.parts.try_optimizers(cli.model)


def print_config(these: Sequence[Stage]) -> None:
    """Print the whole run's config, resolved."""
    texts = {}
    for stage in these:
        words = [word for word in stage.arguments if not word.startswith("--print_config")]
        with told_of(stage):
            texts[stage.name] = StageCLI(replace(stage, arguments=words), len(these), None).config_text()
    print(interpolation.PRINTED + stages.whole(these, texts), end="")


def fit(these: Sequence[Stage], resume: Path | None, arguments: Sequence[str] = ()) -> None:
    """Run all stages that are not finished yet.

    Raises:
        UserError: a mistake in any stage, told before the first one trains where that is possible.
    """
    if any(word.startswith("--print_config") for word in these[0].arguments):
        print_config(these)
        return
    run = StagedRun(these, resume, arguments)
    run.prepare()
    try:
        run.fit()
    except UserError:
        run.discard()
        raise
