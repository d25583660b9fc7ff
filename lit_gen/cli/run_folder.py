"""Run folders: ``runs/<config name>/<id>/``, made so that no run can overwrite another.

config.yaml     the resolved config
run.json        what its command line changed, and which process runs it
checkpoints/    last.ckpt, and best.ckpt by the config's ``monitor``
metrics.csv     everything logged, a row a step
curves.png      the terms of the loss over the steps
samples/        pictures
summary.json    final figures by name, seed, versions, commit, seconds
log.txt         what Lightning and Python's warnings said
stages/         of a staged run: each stage's own run folder, <number>_<name>
"""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lit_gen.cli import yaml_text
from lit_gen.errors import UserError

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"
LOG = "log.txt"
STAGES = "stages"
MAX_NAME = 200
"""Bytes of a run's name; file systems take 255."""
LAST = "last.ckpt"
BEST = "best.ckpt"


def check_name(name: str, key: str) -> None:
    """Check that a run's name is one folder's, so that no run is written elsewhere than below ``--runs``.

    Args:
        name: the name.
        key: what it comes from, for the message.

    Raises:
        UserError: it is empty, has a slash or an unprintable character, begins with a dot or a dash, or is too long.
    """
    if not name.strip():
        raise UserError(f"{key} is empty: a run needs a name for its folder; leave it out for the config's own")
    if any(sign in "/\\" or not sign.isprintable() for sign in name) or name[0] in ".-" or name != name.strip():
        raise UserError(
            f"{key}: {name!r} cannot name a run's folder: it has no slash, does not begin with a dot or a dash, nor "
            "begin or end with a space; --runs=FOLDER says where runs are made"
        )
    if len(name.encode()) > MAX_NAME:
        raise UserError(f"{key}: '{name[:40]}…' is too long for a folder's name: at most {MAX_NAME} bytes")


def new_id() -> str:
    """An id that sorts by time and that two runs starting together don't share."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"


def make(root: Path, name: str, suffix: str = "") -> Path:
    """Make a fresh run folder; its path is absolute, so that checkpoints know each other wherever a run goes on from.

    Args:
        root: where run folders are made.
        name: the run's name.
        suffix: the end of the folder's name, after its id.

    Raises:
        UserError: if it cannot be written.
    """
    folder = root.resolve() / name / (f"{new_id()}-{suffix}" if suffix else new_id())
    try:
        folder.mkdir(parents=True, exist_ok=False)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot make the run folder {folder}: {reason}; choose another with --runs=FOLDER") from error
    return folder


def absent(root: Path, name: str) -> list[Path]:
    """The folders above a run's own that aren't there yet, the innermost first."""
    folder = root.resolve() / name
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove(folder: Path, made: Sequence[Path]) -> None:
    """Remove a run folder, and of the folders ``made`` for it those that are empty."""
    shutil.rmtree(folder)
    with suppress(OSError):  # somebody else's run is in it by now
        for path in made:
            path.rmdir()


def of_checkpoint(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if it lies in one."""
    folder = checkpoint.resolve().parent.parent
    inside = checkpoint.resolve().parent.name == CHECKPOINTS and (folder / CONFIG).is_file()
    return folder if inside else None


def called(run: Path) -> str:
    """A run folder's name in words: "<config name>/<id>", of a stage "<config name>/<id>, stage <number>_<name>"."""
    if run.parent.name == STAGES:
        return f"{called(run.parent.parent)}, stage {run.name}"
    return f"{run.parent.name}/{run.name}"


def latest(root: Path, name: str) -> Path:
    """The newest run of a config that has a checkpoint, be it last or best.

    Raises:
        UserError: if there is none.
    """
    within = [Path(CHECKPOINTS) / checkpoint for checkpoint in (LAST, BEST)]
    patterns = [pattern for path in within for pattern in (f"*/{path}", f"*/{STAGES}/*/{path}")]
    runs = sorted(
        {root / name / path.relative_to(root / name).parts[0] for p in patterns for path in (root / name).glob(p)}
    )
    if not runs:
        raise UserError(f"there is no run with a checkpoint under {root / name}")
    return runs[-1]


def shown(folder: Path) -> Path:
    """A folder as a person at this prompt would write it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def of_stage(run: Path, number: int, name: str) -> Path:
    """A stage's own run folder within the staged run's."""
    return run / STAGES / f"{number}_{name}"


def last_stage(run: Path) -> Path | None:
    """The folder of a staged run's last stage, whether it is there yet or not; None of a run without stages."""
    path = run / CONFIG
    config = yaml_text.load(path.read_text(encoding="utf-8")) if path.is_file() else None
    stages = config.get("stages") if isinstance(config, dict) else None
    return of_stage(run, len(stages), stages[-1]["name"]) if stages else None


def of_last_stage(run: Path) -> Path:
    """The run folder itself, or that of its last stage if it has stages.

    Raises:
        UserError: if it hasn't come to that stage.
    """
    stage = last_stage(run)
    if stage is not None and not stage.is_dir():
        raise UserError(f"{run} has not come to its last stage, '{stage.name}', yet: go on with fit --resume")
    return stage or run
