"""One stage of a staged run, as a fit in a folder of its own."""

import shutil
from pathlib import Path

from lit_gen.cli import run_folder, whole_checkpoints
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.stages import Stage
from lit_gen.cli.start_report import StartReport
from lit_gen.loggers.wandb import WandbRun


class StageCLI(LitGenCLI):
    """One stage's model, data and trainer.

    Args:
        stage: the stage.
        count: how many there are.
        run: the staged run's folder; None builds everything for trial, and leaves no trace.
        is_first: whether it is the first stage that this process trains.
    """

    def __init__(self, stage: Stage, count: int, run: Path | None, is_first: bool = True) -> None:
        self.stage, self.count, self.staged_folder = stage, count, run
        self.is_first = is_first
        super().__init__("fit", stage.arguments)

    @property
    def title(self) -> str:
        return f"{self.config.name}, stage {self.stage.number} of {self.count}: {self.stage.name}"

    @property
    def goes_on(self) -> bool:
        return True

    def config_text(self) -> str:
        lines = [f"# {self.title}"]
        lines += [f"# {target or 'all'} starts from {source}" for target, source in self.stage.start_from.items()]
        return "\n".join([*lines, super().config_text()])

    def _there(self) -> Path:
        return run_folder.of_stage(self.staged_folder, self.stage.number, self.stage.name)

    def _find_checkpoint(self, root: Path, name: str) -> Path | None:
        if self.staged_folder is None:
            return None
        whole_checkpoints.check_way(self._there())
        return whole_checkpoints.choose(self._there(), prefer=run_folder.LAST)

    def _run_folder(self, root: Path, name: str) -> Path | None:
        if self.staged_folder is None:
            return None
        if self.checkpoint is None and self._there().is_dir():
            shutil.rmtree(self._there())  # killed before its first checkpoint
        self._there().mkdir(parents=True, exist_ok=True)
        return self._there()

    def _resuming(self, folder: Path) -> str:
        return super()._resuming(folder.parent.parent)

    def how_to_resume(self) -> str | None:
        return None if self.folder is None else self._resuming(self.folder)

    def _loggers(self, folder: Path) -> list:
        return [] if self.staged_folder is None else super()._loggers(folder)

    def _report(self) -> StartReport:
        return StartReport(self.remarks, part_of_staged=True, is_first=self.is_first)

    def _wandb(self, folder: Path) -> WandbRun:
        run, stage = self.staged_folder.name, self.stage.name
        return WandbRun(folder, project="lit-gen", name=f"{self.config.name}/{run}/{stage}", run_id=f"{run}-{stage}")
