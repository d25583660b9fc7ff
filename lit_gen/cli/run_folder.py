"""Run folders: ``runs/<config name>/<id>/``, made so that no run can overwrite another.

config.yaml     the resolved config
checkpoints/    last.ckpt, and best.ckpt by the config's ``monitor``
metrics.csv     everything logged, a row a step
samples/        pictures
summary.json    final figures by name, seed, versions, commit, seconds
log.txt         what Lightning and Python's warnings said
"""

import os
import time
from pathlib import Path

from lit_gen.errors import UserError

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"


def new_id() -> str:
    """An id that sorts by time and that two runs starting together don't share."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"


def make(root: Path, name: str) -> Path:
    """Make a fresh run folder; its path is absolute, so that checkpoints know each other wherever a run goes on from.

    Raises:
        UserError: if it cannot be written.
    """
    folder = root.resolve() / name / new_id()
    try:
        folder.mkdir(parents=True, exist_ok=False)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot make the run folder {folder}: {reason}; choose another with --runs=FOLDER") from error
    return folder


def of_checkpoint(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if it lies in one."""
    folder = checkpoint.resolve().parent.parent
    inside = checkpoint.resolve().parent.name == CHECKPOINTS and (folder / CONFIG).is_file()
    return folder if inside else None


def latest(root: Path, name: str) -> Path:
    """The newest run of a config that has a checkpoint.

    Raises:
        UserError: if there is none.
    """
    runs = sorted(path for path in (root / name).glob("*") if (path / CHECKPOINTS / LAST).is_file())
    if not runs:
        raise UserError(f"there is no run with a checkpoint under {root / name}")
    return runs[-1]


def shown(folder: Path) -> Path:
    """A folder as a person at this prompt would write it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def find_checkpoint(where: Path, prefer: str = BEST) -> Path:
    """The checkpoint meant by a run folder or a checkpoint file.

    Args:
        where: a run folder, or a checkpoint.
        prefer: which of a run folder's checkpoints to take if both are there.

    Raises:
        UserError: if there is no such file, or no checkpoint in the folder.
    """
    if where.is_dir():
        found = [path for name in (prefer, LAST) if (path := where / CHECKPOINTS / name).is_file()]
        if not found:
            raise UserError(f"there is no checkpoint in {where / CHECKPOINTS}: is {where} a run folder?")
        return found[0]
    if not where.is_file():
        raise UserError(f"there is no checkpoint {where}")
    return where
