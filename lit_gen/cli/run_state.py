"""``run.json``: what a run leaves at its start, so that others can say whether it runs, stopped, failed or finished."""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lit_gen.atomic_file import replacing
from lit_gen.cli import run_folder
from lit_gen.errors import Interrupted

RECORD = "run.json"

RUNNING, FINISHED, FAILED, STOPPED, ELSEWHERE = "running", "finished", "failed", "stopped", "elsewhere"
"""States of a run. One without a summary whose process is on another host may run there or not: ``elsewhere``."""


def write(folder: Path, verb: str, overrides: Mapping[str, str]) -> None:
    """Note that this process begins the run, or goes on with it: then what it changes adds to what was changed before.

    Raises:
        OSError: the file cannot be written.
    """
    before = read(folder)
    changed = before.get("overrides")
    content = {
        "verb": verb,
        "overrides": {**(changed if isinstance(changed, dict) else {}), **overrides},
        "began": before.get("began", time.time()),
        "started": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": process_start(os.getpid()),
        "earlier_summary": _summary_time(folder),
    }
    _replace(folder, content)


def note_failure(folder: Path, error: BaseException) -> None:
    """Note that the run ended by an error; without a record there is nothing to add to. A run that was asked to stop
    has not failed."""
    content = read(folder)
    if content and not isinstance(error, Interrupted):
        words = " ".join(f"{type(error).__name__}: {error}".split())
        with suppress(OSError):  # the error itself matters more
            _replace(folder, {**content, "error": words[:300]})


def read(folder: Path) -> dict[str, Any]:
    """The record of a run folder; empty if there is none that can be read."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def state_of(folder: Path) -> str:
    """One of the states above.

    A new summary since the last start ends a run. What failed says so; what neither finished nor failed runs if its
    process does, and else was stopped.
    """
    record = read(folder)
    written = _summary_time(folder)
    if written is not None and written != record.get("earlier_summary"):
        return FINISHED
    if "error" in record:
        return FAILED
    if _is_alive(record):
        return RUNNING
    return ELSEWHERE if record and record.get("host") != socket.gethostname() else STOPPED


def _summary_time(folder: Path) -> int | None:
    try:
        return (folder / run_folder.SUMMARY).stat().st_mtime_ns
    except OSError:
        return None


def process_start(pid: int) -> str | None:
    """What tells a process from a later one with the same number: when it started, since which boot.

    None where the system doesn't say, and if there is no such process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{fields[19]}"
    except (OSError, IndexError):
        return None


def _is_alive(record: Mapping[str, Any]) -> bool:
    pid = record.get("pid")
    if record.get("host") != socket.gethostname() or not isinstance(pid, int) or pid < 1:
        return False
    if Path("/proc/self/stat").is_file():
        return record.get("process_started") == process_start(pid) is not None
    try:
        os.kill(pid, 0)  # sends nothing
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _replace(folder: Path, content: Mapping[str, Any]) -> None:
    with replacing(folder / RECORD) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
