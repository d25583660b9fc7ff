"""``lit-gen list runs``: the runs there are, newest first, read from their folders' small files alone."""

import csv
import difflib
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lit_gen.cli import run_folder, run_state, yaml_text
from lit_gen.cli.options import OptionParser
from lit_gen.errors import UserError

WIDTH = 80
METRICS_CSV = "metrics.csv"
ACCURACIES = ("_se", "_ess", "_mc_se")
"""Ends of the names of metrics that say how accurate another one is."""


class Run(NamedTuple):
    """One row of the table.

    Attributes:
        folder: the run folder.
        verb: what was run.
        changes: what its command line changed.
        state: one of ``run_state``'s.
        metrics: the main ones, by name.
        remark: how far it is or why it ended, where that is known.
        damage: what is wrong with its files.
    """

    folder: Path
    verb: str
    changes: dict[str, str]
    state: str
    metrics: dict[str, float]
    remark: str
    damage: list[str]


def run(arguments: Sequence[str]) -> None:
    """List the runs.

    Raises:
        UserError: there is no such folder, or no run of that name in it.
    """
    parser = OptionParser(
        prog="lit-gen list runs",
        description="The runs there are, newest first: what differs from the config, state, main metrics, age.",
    )
    parser.add_argument("name", nargs="?", help="only runs of this name, e.g. vae_digits")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders are (default: runs)")
    parser.add_argument("--num", type=int, default=20, help="how many to list (default: 20)")
    options = parser.parse_args(list(arguments))
    if options.num < 1:
        raise UserError(f"--num must be at least 1, not {options.num}")
    if not options.runs.is_dir():
        raise UserError(f"there is no folder {options.runs}: name the one that holds your runs with --runs=FOLDER")
    folders = find_runs(options.runs)
    if options.name is not None:
        names = sorted({folder.parent.name for folder in folders})
        if options.name not in names:
            close = difflib.get_close_matches(options.name, names, n=1)
            hint = f"; the nearest is '{close[0]}'" if close else f"; there are {', '.join(names[:8])}" if names else ""
            raise UserError(f"there is no run named '{options.name}' in {options.runs}{hint}")
        folders = [folder for folder in folders if folder.parent.name == options.name]
    if not folders:
        print(f"no runs in {options.runs} yet: lit-gen fit --config FILE makes one")
        return
    for line in table([read(folder) for folder in folders[: options.num]], len(folders) - options.num, time.time()):
        print(line)


def find_runs(root: Path) -> list[Path]:
    """The run folders, newest first by the time in their names; what has no such name comes last."""
    folders = [path for path in root.glob("*/*") if path.is_dir() and not path.name.startswith(".")]
    timed = re.compile(r"\d{8}-\d{6}")
    return sorted(folders, key=lambda path: (bool(timed.match(path.name)), path.name), reverse=True)


def read(folder: Path) -> Run:
    """What a folder says about its run; never raises, whatever it holds."""
    record, damage = run_state.read(folder), []
    if not record and (folder / run_state.RECORD).exists():
        damage.append(f"{run_state.RECORD} can't be read")
    summary = _json(folder / run_folder.SUMMARY, damage)
    config = _config(folder, damage)
    changes = record.get("overrides")
    history = _history(folder, config.get("monitor"), damage)
    state = run_state.state_of(folder)
    remark = str(record.get("error", "")) if state == run_state.FAILED else ""
    if state != run_state.FINISHED and not remark:
        remark = history.reached
    return Run(
        folder,
        str(record.get("verb", "fit")),
        {str(key): str(value) for key, value in changes.items()} if isinstance(changes, Mapping) else {},
        state,
        {**history.monitored, **_main(summary.get("figures"))},
        remark,
        damage,
    )


def table(runs: Sequence[Run], num_older: int, now: float) -> list[str]:
    """The table's lines, each at most 80 characters unless a name alone is longer.

    Args:
        runs: what to show, newest first.
        num_older: how many are left out.
        now: seconds since 1970.
    """
    lines = [f"{'RUN':<62}{'STATE':<11}AGE"]
    for one in runs:
        path = f"{one.folder.parent.name}/{one.folder.name}"
        state, age = "damaged" if one.damage else one.state, age_of(one.folder, now)
        if len(path) > 61:
            lines.append(path)
            path = ""
        lines.append(f"{path:<62}{state:<11}{age}")
        verb = [] if one.verb == "fit" else [one.verb]
        lines += _wrapped([*verb, *(f"{key}={value}" for key, value in one.changes.items())])
        lines += _wrapped([*([one.remark] if one.remark else []), *(f"{k} {v:.6g}" for k, v in one.metrics.items())])
        lines += _wrapped([f"damaged: {what}" for what in one.damage])
    if num_older > 0:
        lines.append(f"and {num_older} older: --num={len(runs) + num_older} lists all")
    return lines


def age_of(folder: Path, now: float) -> str:
    """How long ago a run began, in one unit."""
    began = run_state.read(folder).get("began")
    if not isinstance(began, int | float) or not math.isfinite(began):
        try:
            began = time.mktime(time.strptime(folder.name[:15], "%Y%m%d-%H%M%S"))
        except (ValueError, OverflowError):
            return "?"
    seconds = max(0.0, now - began)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _wrapped(words: Sequence[str]) -> Iterator[str]:
    """The words, two spaces apart, in indented lines that fit; at most two, as this is an overview."""
    lines = [""]
    for word in words:
        word = word if len(word) <= WIDTH - 2 else word[: WIDTH - 3] + "…"
        if len(lines[-1]) + 2 + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f"  {word}"
    return iter([line for line in lines if line][:2])


def _json(path: Path, damage: list[str]) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        content = None
    if not isinstance(content, Mapping):
        damage.append(f"{path.name} can't be read")
        return {}
    return content


def _config(folder: Path, damage: list[str]) -> Mapping[str, Any]:
    """The resolved config; of a staged run the last stage's keys over the common ones."""
    path = folder / run_folder.CONFIG
    try:
        content = yaml_text.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        damage.append(f"no {path.name}")
        return {}
    except (OSError, ValueError, yaml.YAMLError):
        content = None
    if not isinstance(content, Mapping):
        damage.append(f"{path.name} can't be read")
        return {}
    stages = content.get("stages")
    last = stages[-1] if isinstance(stages, list) and stages else None
    return {**content, **last} if isinstance(last, Mapping) else content


class History(NamedTuple):
    """What ``metrics.csv`` says: how far the run came, and the monitor's least value, by its name."""

    reached: str
    monitored: dict[str, float]


def _history(folder: Path, monitor: Any, damage: list[str]) -> History:
    """Read from the last stage that began, where a run has stages."""
    stages = sorted((folder / run_folder.STAGES).glob("*"), key=lambda path: _number(path.name))
    there = stages[-1] if stages else folder
    reached, best = "", math.inf
    try:
        with (there / METRICS_CSV).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                epoch, step = _number(row.get("epoch")), _number(row.get("step"))
                if step >= 0:
                    reached = f"epoch {epoch + 1}, step {step + 1}" if epoch >= 0 else f"step {step + 1}"
                best = min(best, _float(row.get(str(monitor)), math.inf))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, csv.Error):
        damage.append(f"{METRICS_CSV} can't be read")
    if stages and reached:
        reached = f"stage {there.name.partition('_')[2]}, {reached}"
    return History(reached, {str(monitor): best} if math.isfinite(best) else {})


def _number(text: Any) -> int:
    found = re.match(r"\d+", str(text))
    return int(found[0]) if found else -1


def _float(text: Any, otherwise: float) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return otherwise
    return value if math.isfinite(value) else otherwise


def _main(figures: Any) -> dict[str, float]:
    """A summary's metrics without those that only say how accurate others are, and without each stage's own."""
    if not isinstance(figures, Mapping):
        return {}
    named = {str(name): value for name, value in figures.items() if isinstance(value, int | float)}
    main = {name: value for name, value in named.items() if not name.endswith(ACCURACIES)}
    return {name: value for name, value in main.items() if name.startswith(("test/", "val/"))} or main
