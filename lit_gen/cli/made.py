"""The files that a run made, for the person who asked for it."""

import re
from pathlib import Path

from lit_gen.cli import run_folder

PICTURE = re.compile(r"(.+)_(\d{7,})\.png")
"""A picture's kind and the number of batches that it was drawn after."""

NAMES = {
    "best checkpoint": f"{run_folder.CHECKPOINTS}/{run_folder.BEST}",
    "last checkpoint": f"{run_folder.CHECKPOINTS}/{run_folder.LAST}",
    "predictions": "predictions.npz",
    "weights": "weights.safetensors",
    "everything logged": "metrics.csv",
    "curves of the losses": "curves.png",
    "summary": run_folder.SUMMARY,
}


def made_in(folder: Path) -> dict[str, Path]:
    """The files of a run folder by what they are: checkpoints, the newest picture of each kind, the results."""
    files = {what: folder / name for what, name in NAMES.items()}
    checkpoints = {what: path for what, path in files.items() if what.endswith("checkpoint")}
    rest = {what: path for what, path in files.items() if what not in checkpoints}
    found = {**checkpoints, **newest_pictures(folder / "samples"), **rest}
    return {what: path for what, path in found.items() if path.is_file()}


def newest_pictures(folder: Path) -> dict[str, Path]:
    """The newest picture of each kind, by its kind."""
    newest: dict[str, tuple[int, Path]] = {}
    for path in sorted(folder.glob("*.png")):
        if match := PICTURE.fullmatch(path.name):
            kind, step = match.group(1), int(match.group(2))
            newest[kind] = max(newest.get(kind, (-1, path)), (step, path))
    return {kind: path for kind, (_, path) in sorted(newest.items())}


def show(folder: Path) -> None:
    """Print where each of them lies, and the run folder."""
    made = made_in(folder)
    width = max(map(len, made), default=0)
    for what, path in made.items():
        print(f"{what:<{width}}  {run_folder.shown(path)}")
    print(f"run folder: {run_folder.shown(folder)}")
