"""How long a run took, over all its legs: the fits of one run, each of which went on where the one before stopped."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_gen.callbacks.progress import Progress
from lit_gen.cli import run_folder
from lit_gen.cli.shortened import Plan

Leg = dict[str, Any]
"""``started`` (ISO 8601, UTC), ``from_step`` and ``to_step`` (optimizer steps), ``seconds_fit``, ``seconds_training``
and ``examples``, as they stand in checkpoints and in ``summary.json``."""


class RunClock(Callback):
    """Keeps the legs of a run in its checkpoints, so that the time of a killed leg counts up to its last checkpoint.

    ``seconds_fit`` is the time of all that a fit does, ``seconds_training`` that between the first and the last batch
    of each epoch. A leg without a training batch, as of a finished run that is resumed, is none.

    Args:
        progress: counts training.
        clock: seconds that only rise.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.perf_counter) -> None:
        self.progress = progress
        self.clock = clock
        self._earlier: list[Leg] = []
        self._began: float | None = None
        self._started = ""
        self._from_step = 0
        self._trainer: Trainer | None = None
        self.plan: Plan | None = None
        self.goes_on = False
        """Whether the run is that of the checkpoint that it starts from."""
        self._planned: float | None = None

    def start(self, plan: Plan | None = None, goes_on: bool = False) -> None:
        """Begin this process's leg; a fit that nobody starts it for starts it itself, and plans what it does."""
        self.plan, self.goes_on = plan, goes_on
        self._began, self._started = self.clock(), datetime.now(UTC).isoformat(timespec="milliseconds")

    def legs(self) -> list[Leg]:
        """All legs, oldest first, with the present one as far as it has come."""
        return [*self._earlier, *([] if self.progress.num_examples == 0 else [self._present()])]

    def _present(self) -> Leg:
        return {
            "started": self._started,
            "from_step": self._from_step,
            "to_step": self._trainer.global_step,
            "seconds_fit": self.clock() - self._began,
            "seconds_training": self.progress.train_seconds,
            "examples": self.progress.num_examples * self._trainer.world_size,
        }

    def state_dict(self) -> dict[str, Any]:
        """The legs so far."""
        return {"legs": self.legs(), "planned": self._planned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after ``state_dict``'s legs."""
        self._earlier = list(state_dict["legs"])
        self._planned = state_dict.get("planned") if self.goes_on else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._began is None:
            self.start()
        # What a fit did after its last checkpoint, as its final validation, stands in the summary alone.
        self._earlier = completed(self._earlier, legs_of(Path(trainer.default_root_dir) / run_folder.SUMMARY))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer, self._from_step = trainer, trainer.global_step
        self._settle(trainer)

    def _settle(self, trainer: Trainer) -> float:
        """Batches that the config's files plan, or those of the leg with which the run began if these were more."""
        if self.plan is not None:
            self._planned = max(self._planned or 0.0, self.plan.of_files(trainer))
        return self._planned or 0.0

    def share(self, trainer: Trainer) -> float:
        """The share, at most 1, of the training that the config's files plan that is this run's."""
        if self.plan is None:
            return 1.0
        whole, planned = self._settle(trainer), self.plan.of_run(trainer)
        return 1.0 if planned >= whole else planned / whole


def totals(legs: Sequence[Leg]) -> dict[str, float]:
    """Seconds, and images a second in training, of all legs together."""
    spent = {key: float(sum(leg[key] for leg in legs)) for key in ("seconds_fit", "seconds_training")}
    training, examples = spent["seconds_training"], sum(leg["examples"] for leg in legs)
    return {**spent, "images_per_second": examples / training if training > 0 else 0.0}


def epochs_of(trainer: Trainer) -> int:
    """Epochs begun, of all legs: one that ended before its last batch counts."""
    return trainer.fit_loop.epoch_progress.total.started


def completed(legs: Sequence[Leg], recorded: Sequence[Leg]) -> list[Leg]:
    """The legs, each as it was recorded when it ended, if it ended at the same step."""
    by_key = {(leg["started"], leg["to_step"]): leg for leg in recorded}
    return [by_key.get((leg["started"], leg["to_step"]), leg) for leg in legs]


def legs_of(summary: Path) -> list[Leg]:
    """The legs that a ``summary.json`` lists; none where there is none, or none that can be read."""
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    legs = content.get("legs") if isinstance(content, Mapping) else None
    legs = legs if isinstance(legs, list) else []
    return [leg for leg in legs if isinstance(leg, Mapping) and {"started", "to_step"} <= leg.keys()]
