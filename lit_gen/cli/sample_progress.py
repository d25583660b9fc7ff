"""How much there is to sample, how far it is, and whether it fits."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lit_gen.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LONG_SECONDS, LARGE_BYTES = 10, 10**9
"""An estimate is given of what takes longer or more space."""

LINE_SECONDS = 60
"""Between two lines where the output is no terminal."""

REFRESH_SECONDS = 0.1


class SampleProgress:
    """An estimate after the first batch, then a bar, or a line a minute where the output is no terminal.

    Args:
        num_samples: how many are to be drawn.
        out: where they are written to.
    """

    def __init__(self, num_samples: int, out: Path) -> None:
        self.num_samples = num_samples
        self.out = out
        self.done = 0
        self._began = self._said = time.perf_counter()
        self._bar = None
        self._free = _free_bytes(out)

    def __enter__(self) -> "SampleProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def check_num_files(self) -> None:
        """Refuse more files than the file system can take.

        Raises:
            UserError: says how many it can.
        """
        there = _existing(self.out)
        counts = os.statvfs(there) if hasattr(os, "statvfs") else None
        if counts is not None and counts.f_files > 0 and counts.f_favail < self.num_samples:
            raise UserError(
                f"--num={self.num_samples}: {there} has room for {counts.f_favail:,} more files; ask for fewer samples "
                "or an .npz"
            )

    def check_memory(self, num_bytes: int) -> None:
        """Refuse what needs more memory than the machine has.

        Raises:
            UserError: says how much it needs.
        """
        check_memory(num_bytes, f"--num={self.num_samples}: a picture of so many", "ask for a folder/ or an .npz")

    def after(self, x: "Tensor", num_bytes: int) -> None:
        """Called when a batch has been drawn and written.

        Args:
            x: the batch.
            num_bytes: what is on the disk so far; looked at after the first batch only.

        Raises:
            UserError: after the first batch, if the disk hasn't room for all.
        """
        first, self.done = self.done == 0, self.done + len(x)
        now = time.perf_counter()
        if self.done >= self.num_samples and self._bar is None:
            return
        left = (now - self._began) * (self.num_samples - self.done) / self.done
        if first:
            self._estimate(x, num_bytes, left)
        self._show(now, left)

    def _estimate(self, x: "Tensor", num_bytes: int, left: float) -> None:
        on_disk = num_bytes * self.num_samples // self.done
        if self._free is not None and on_disk > self._free:
            raise UserError(
                f"--num={self.num_samples}: about {size(on_disk)} would be written to {self.out}, but only "
                f"{size(self._free)} are free there; ask for fewer samples"
            )
        in_memory = self.num_samples * x[0].numel() * x.element_size()
        if left >= LONG_SECONDS or max(on_disk, in_memory) >= LARGE_BYTES:
            disk = f", about {size(on_disk)} on disk" if on_disk else ""
            print(
                f"{self.num_samples:,} samples: {size(in_memory)} as an array in memory{disk}, {clock(left)} to go; "
                "Ctrl-C leaves nothing behind",
                flush=True,
            )

    def _show(self, now: float, left: float) -> None:
        if self._bar is None and sys.stdout.isatty() and left >= 1:
            self._bar = _bar(self.num_samples)
        if self._bar is not None:
            if now - self._said >= REFRESH_SECONDS or self.done >= self.num_samples:
                self._bar.update(self._bar.task_ids[0], completed=self.done, left=f"{clock(left)} to go")
                self._bar.refresh()
                self._said = now
        elif now - self._said >= LINE_SECONDS:
            share = 100 * self.done / self.num_samples
            print(f"{self.done:,} of {self.num_samples:,} samples ({share:.3g} %), {clock(left)} to go", flush=True)
            self._said = now


def check_memory(num_bytes: int, what: str, instead: str) -> None:
    """Refuse what needs more memory than there is in all.

    Raises:
        UserError: says ``what`` needs how much, and what to do ``instead``.
    """
    there = _memory()
    if there is not None and num_bytes > there:
        raise UserError(f"{what} needs {size(num_bytes)} of memory, and there are {size(there)}; {instead}")


def size(num_bytes: int) -> str:
    """Such as "1.5 GB"."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6)):
        if num_bytes >= 10**power:
            return f"{num_bytes / 10**power:,.3g} {unit}"
    return f"{num_bytes / 1000:.3g} kB"


def clock(seconds: float) -> str:
    """Such as "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} min" if hours else f"{minutes} min"


def _bar(num_samples: int):
    from rich.progress import BarColumn, Progress, TextColumn

    columns = ["sampling", BarColumn(bar_width=24), "{task.completed:,} of {task.total:,}", "{task.fields[left]}"]
    bar = Progress(*(TextColumn(part) if isinstance(part, str) else part for part in columns), auto_refresh=False)
    bar.add_task("", total=num_samples, left="")
    bar.start()
    return bar


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(path)).free
    except OSError:
        return None


def _memory() -> int | None:
    """Bytes of memory that the machine, or the container, has; None where it doesn't say."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(there, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return there
