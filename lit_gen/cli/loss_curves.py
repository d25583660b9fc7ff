"""``curves.png`` of a run: what it logged in training and validation, over the steps."""

import csv
import re
import warnings
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer

from lit_gen.atomic_file import replacing
from lit_gen.callbacks.captions import titled
from lit_gen.callbacks.charts import Curve, curves
from lit_gen.callbacks.pictures import batches_done
from lit_gen.cli import run_folder
from lit_gen.cli.screen import say
from lit_gen.loggers.metrics_csv import MetricsCSV

FILE = "curves.png"
SPLITS = ("train", "val")
MOST_PANELS = 24
MOST_POINTS = 1000
"""In a curve: of more the mean of neighbours is drawn."""

UNITS = {"nats": "nats", "bits": "bits", "dim": "bits/dim", "db": "dB", "kl": "nats", "bound": "nats"}
"""By a word of a term's name, the last one first. Divergences and bounds on log p are in nats throughout."""


def save(trainer: Trainer, is_whole: bool = True) -> None:
    """Draw ``<run>/curves.png`` from the run's whole ``metrics.csv``, which a resumed run goes on in.

    A run that keeps no ``metrics.csv`` has no picture, and none fails for its picture: that is a warning. Where
    nothing of a whole training was logged, that is said.

    Args:
        trainer: the run's.
        is_whole: whether the training came to its end; of one that failed, the error is what there is to say.
    """
    folder = Path(trainer.default_root_dir)
    if not trainer.is_global_zero or trainer.fast_dev_run:
        return
    file = folder / "metrics.csv"
    if not file.is_file() and not any(isinstance(logger, MetricsCSV) for logger in trainer.loggers):
        return
    try:
        terms = read(file) if file.is_file() else {}
        if is_whole and not any("train" in splits for splits in terms.values()):
            say(_told_without_training(trainer, bool(terms)))
        if terms:
            draw(terms, folder / FILE, run_folder.called(folder))
    except Exception as error:  # whatever it is, the training counts for more
        warnings.warn(f"{FILE} could not be drawn ({type(error).__name__}: {error})"[:300], stacklevel=2)


def _told_without_training(trainer: Trainer, has_others: bool) -> str:
    what = f"{FILE} has no curves of the training" if has_others else f"there is no {FILE}: nothing was logged"
    return (
        f"{what} (trainer.log_every_n_steps is {trainer.log_every_n_steps}, training batches {batches_done(trainer)})"
    )


def read(file: Path) -> dict[str, dict[str, Curve]]:
    """The curves of each term, by split, those of losses first.

    Columns are ``<split>/<term>``, as ``train/loss``; those without a split, and those of the test, are left out.
    """
    steps: dict[str, array] = {}
    values: dict[str, array] = {}
    for step, name, value in _cells(file):
        steps.setdefault(name, array("d")).append(step)
        values.setdefault(name, array("d")).append(value)
    terms: dict[str, dict[str, Curve]] = {}
    for name in sorted(values, key=lambda name: "loss" not in name):
        split, term = name.split("/", 1)
        terms.setdefault(term, {})[split] = thinned(np.array(steps[name]), np.array(values[name]))
    return {term: {split: terms[term][split] for split in SPLITS if split in terms[term]} for term in terms}


def _cells(file: Path) -> Iterator[tuple[float, str, float]]:
    with file.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        names = next(rows, [])
        wanted = [(place, name) for place, name in enumerate(names) if name.startswith(tuple(f"{s}/" for s in SPLITS))]
        at = names.index("step") if wanted else 0
        for row in rows:
            for place, name in wanted:
                if place < len(row) and row[place]:
                    yield float(row[at]), name, float(row[place])


def thinned(steps: np.ndarray, values: np.ndarray) -> Curve:
    """At most ``MOST_POINTS`` of them, each the mean of as many neighbours."""
    every = -(-len(steps) // MOST_POINTS)
    if every <= 1:
        return Curve(steps, values)
    starts = np.arange(0, len(steps), every)
    counts = np.diff([*starts, len(steps)])
    return Curve(np.add.reduceat(steps, starts) / counts, np.add.reduceat(values, starts) / counts)


def draw(terms: dict[str, dict[str, Curve]], file: Path, name: str) -> None:
    """Write the picture; beyond ``MOST_PANELS`` terms it says how many are left out."""
    shown = dict(list(terms.items())[:MOST_PANELS])
    title = f"{name}: training and validation"
    if len(shown) < len(terms):
        title += f"\nanother {len(terms) - len(shown)} terms are in metrics.csv"
    units = {term: unit for term in shown if (unit := unit_of(term))}
    picture = titled(curves(shown, "step (training batches)", units), title)
    with replacing(file) as part:
        picture.save(part, format="PNG")


def unit_of(term: str) -> str | None:
    """Such as "nats" of ``nll_nats_k500``; None where the name doesn't say."""
    return next((UNITS[word] for word in reversed(re.split(r"[_/]", term)) if word in UNITS), None)
