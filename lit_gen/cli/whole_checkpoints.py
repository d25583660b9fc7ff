"""Which of a run's checkpoints is read: the one that was asked for, or the other where that one is damaged."""

import zipfile
from pathlib import Path

from lit_gen.cli import checkpoints, run_folder
from lit_gen.cli.screen import say
from lit_gen.errors import UserError


def find(where: Path, prefer: str = run_folder.BEST) -> Path:
    """The checkpoint meant by a run folder or a checkpoint file; a damaged one of a run folder is passed over.

    Which is taken instead, and why, is said on the screen. A file that is named itself is the one that
    is meant: of a damaged one it is said whether the other is whole.

    Args:
        where: a run folder, which means its last stage if it has stages, or a checkpoint.
        prefer: which of a run folder's checkpoints to take if both are whole.

    Raises:
        UserError: if there is no such file, it is damaged, or there is no whole checkpoint in the folder.
    """
    if where.is_file():
        _check_named(where)
        return where
    if not where.is_dir():
        raise UserError(f"there is no checkpoint {where}")
    folder = run_folder.of_last_stage(where)
    chosen = choose(folder, prefer)
    if chosen is None:
        raise UserError(f"there is no checkpoint in {folder / run_folder.CHECKPOINTS}: is {folder} a run folder?")
    return chosen


def choose(folder: Path, prefer: str = run_folder.BEST) -> Path | None:
    """The preferred checkpoint of a run folder without stages, or the other where that is damaged or missing.

    Returns:
        None if the folder has none.

    Raises:
        UserError: if it has some, but none is whole.
    """
    there = folder / run_folder.CHECKPOINTS
    preferred, other = there / prefer, there / (run_folder.LAST if prefer == run_folder.BEST else run_folder.BEST)
    damage = {path: damage_of(path) for path in (preferred, other)}
    if damage[preferred] is None:
        return preferred
    if damage[other] is None:
        if preferred.exists() or prefer == run_folder.LAST or _had_a_best(other):
            say(f"{run_folder.shown(preferred)} {damage[preferred]}: {other.name} is used instead")
        return other
    found = [path for path in damage if path.exists()]
    if not found:
        return None
    told = " and ".join(f"{path.name} {damage[path]}" for path in found)
    raise UserError(f"there is no whole checkpoint in {run_folder.shown(there)}: {told}; start a new run")


def damage_of(path: Path) -> str | None:
    """What is wrong with a checkpoint's file, to follow its name in a sentence; None if it is whole.

    A checkpoint is a zip archive, whose list of contents comes last and has a checksum of each part: a file that was
    cut off anywhere has no list, and one with a hole has a part that differs from its checksum.
    """
    if path.is_dir():
        return "is a folder"
    if not path.is_file():
        return "is missing"
    try:
        if path.stat().st_size == 0:
            return "is empty"
        with zipfile.ZipFile(path) as archive:
            return None if archive.testzip() is None else "is damaged"
    except zipfile.BadZipFile:
        return "is cut off or damaged"
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or 'it is damaged'})"


def _check_named(path: Path) -> None:
    others = [path.with_name(name) for name in (run_folder.LAST, run_folder.BEST) if name != path.name]
    if run_folder.of_checkpoint(path) is None or (damage := damage_of(path)) is None:
        return  # what is no run's may be anything: its reader says what
    whole = [other.name for other in others if damage_of(other) is None]
    raise UserError(f"{run_folder.shown(path)} {damage}" + (f"; {whole[0]} beside it is whole" if whole else ""))


def make_way(folder: Path) -> None:
    """Remove the empty folders that stand where a run is to write its checkpoints."""
    for path in _in_the_way(folder):
        path.rmdir()


def check_way(folder: Path) -> None:
    """Refuse to go on in a run folder that has something else where its checkpoints are to be written.

    Raises:
        UserError: a folder with something in it.
    """
    for path in _in_the_way(folder):
        if any(path.iterdir()):
            raise UserError(f"{run_folder.shown(path)} is a folder, where a checkpoint is to be written: move it away")


def _in_the_way(folder: Path) -> list[Path]:
    paths = [folder / run_folder.CHECKPOINTS / name for name in (run_folder.LAST, run_folder.BEST)]
    return [path for path in paths if path.is_dir()]


def _had_a_best(last: Path) -> bool:
    """Whether the run had written a ``best.ckpt`` before this checkpoint."""
    states = checkpoints.load(last).get("callbacks", {})
    return any("BestCheckpoint" in key and state["best_model_score"] is not None for key, state in states.items())
