"""Everything that a run logs, as one table."""

import csv
import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from lit_gen.atomic_file import replacing
from lit_gen.errors import UserError

FIRST_COLUMNS = ["step", "epoch", "time"]


class MetricsCSV(Logger):
    """Writes ``<folder>/metrics.csv``: a row a step, with ``step``, ``epoch``, ``time`` and every figure's column.

    ``step`` counts batches from 0, ``time`` is in seconds since 1970. What is logged for the step of the last row
    joins that row. A row with a ``test/…`` metric is one of a test: its step is that of the next batch, and only
    metrics of the same test join it. Each row reaches the file as it is logged, so a killed run loses none; a column
    that is new is added to the whole file at once.

    A resumed run goes on in the same file: rows after the step that it resumes from are the future of the run that
    was killed, and go. Nothing else is ever deleted: the tests of earlier ends stay, and so do the metrics of a final
    validation, in the row of the batch before it.

    Args:
        folder: where the file lies; made if it isn't there.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__()
        self.file = Path(folder) / "metrics.csv"
        self._columns: list[str] = []
        self._last: dict[str, str] = {}
        self._last_offset = 0
        self._stream: io.BufferedRandom | None = None

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.file.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept, as the config has a file of its own; but before the run begins its file is looked at.

        Raises:
            UserError: the file that is there isn't one of ours, so that nothing can be added to it.
        """
        if self.file.exists():
            self._read()

    @rank_zero_only
    def log_graph(self, model: LightningModule, *args: Any) -> None:
        """Lightning hands out the model here, once for every fit, before it restores the state of a resumed one."""
        step = resumed_step(model.trainer)
        if step is not None:
            self.resume_from(step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._open()
        values = {name: repr(value) if isinstance(value, float) else str(value) for name, value in metrics.items()}
        step = int(self._last.get("step", -1)) + 1 if step is None else step
        row = {"step": str(step), "time": f"{time.time():.3f}"} | values
        joins = bool(self._last) and (is_of_test(row), row["step"]) == (is_of_test(self._last), self._last["step"])
        if joins:
            row = self._last | row
        new = [name for name in row if name not in self._columns]
        if new:
            self._add_columns(new)
        if not joins:
            self._last_offset = self._stream.seek(0, os.SEEK_END)
        self._last = row
        self._stream.seek(self._last_offset)
        self._stream.write(self._line([row.get(name, "") for name in self._columns]))
        self._stream.truncate()
        self._stream.flush()

    @rank_zero_only
    def resume_from(self, step: int) -> None:
        """Drop the rows after ``step``, the number of the last batch that the resumed run has behind it."""
        self._open()
        columns, rows = self._read()
        kept = [row for row in rows if int(row["step"]) <= step or is_of_test(row)]
        if len(kept) < len(rows):
            self._rewrite(columns, kept)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> None:
        if self._stream is not None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.touch()
        columns, rows = self._read()
        if rows or columns:
            # Rewritten rather than taken as it is: the last line of a killed run may be half a row.
            self._rewrite(columns, rows)
        else:
            self._rewrite(FIRST_COLUMNS, [])

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """The columns and the whole rows.

        Raises:
            UserError: the file isn't one of ours.
        """
        try:
            text = self.file.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            reader = csv.DictReader(io.StringIO(whole, newline=""), restval="", strict=True)
            columns, rows = list(reader.fieldnames or []), []
            if columns and "step" not in columns:
                raise ValueError("it has no column 'step'")
            for row in reader:
                if None in row or not row["step"].isdecimal():
                    raise ValueError(f"line {reader.line_num} is no row of its columns")
                rows.append(row)
        except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
            raise UserError(
                f"cannot go on in {self.file}: {error}. Mend it, or move it away: a new one is begun then"
            ) from error
        return columns, rows

    def _rewrite(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        """Replace the file at one stroke and go on at its end."""
        head = [self._line(columns), *(self._line([row.get(name, "") for name in columns]) for row in rows)]
        with replacing(self.file) as part:
            part.write_bytes(b"".join(head))
        if self._stream is not None:
            self._stream.close()
        self._stream = self.file.open("r+b")
        self._columns = list(columns)
        self._last = dict(rows[-1]) if rows else {}
        self._last_offset = sum(len(line) for line in (head[:-1] if rows else head))

    def _add_columns(self, names: list[str]) -> None:
        columns, rows = self._read()
        self._rewrite([*columns, *names], rows)

    @staticmethod
    def _line(values: list[str]) -> bytes:
        stream = io.StringIO(newline="")
        csv.writer(stream, lineterminator="\n").writerow(values)
        return stream.getvalue().encode()


def is_of_test(row: Mapping[str, str]) -> bool:
    """Whether a row holds what a test measured."""
    return any(value and name.startswith("test/") for name, value in row.items())


def resumed_step(trainer: Any) -> int | None:
    """The number, from 0, of the last batch behind a fit that is about to resume; None if it begins anew."""
    if trainer.state.fn != TrainerFn.FITTING:
        return None
    # Not restored yet, so it is read where Lightning keeps the file that it has loaded.
    loops = trainer._checkpoint_connector._loaded_checkpoint.get("loops", {}).get("fit_loop", {})
    progress = loops.get("epoch_loop.batch_progress")
    return None if progress is None else progress["total"]["ready"] - 1
