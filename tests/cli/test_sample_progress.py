"""Estimates of what takes long or much space, and how far it is."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from lit_gen.cli import sample_progress
from lit_gen.cli.sample_progress import SampleProgress, clock, size
from lit_gen.errors import UserError

BATCH = torch.zeros(100, 1, 8, 8)


@pytest.fixture
def passing(monkeypatch):
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(sample_progress.time, "perf_counter", lambda: now[0])

    def passing(seconds: float) -> None:
        now[0] += seconds

    return passing


def test_an_estimate_after_the_first_batch_and_a_line_a_minute(passing, capsys, tmp_path):
    with SampleProgress(100_000, tmp_path / "folder") as progress:
        for batch in range(1000):
            passing(0.9)
            progress.after(BATCH, 100 * 4096)
            if batch == 0:
                estimate = capsys.readouterr().out
    assert estimate == (
        "100,000 samples: 25.6 MB as an array in memory, about 410 MB on disk, 15 min to go; Ctrl-C leaves nothing "
        "behind\n"
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14, "of a quarter of an hour"
    assert lines[0] == "6,700 of 100,000 samples (6.7 %), 14 min to go"


def test_what_is_quick_and_small_says_nothing(passing, capsys, tmp_path):
    with SampleProgress(1000, tmp_path / "folder") as progress:
        for _ in range(10):
            passing(0.5)
            progress.after(BATCH, 100 * 4096)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar(passing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_progress.sys.stdout, "isatty", lambda: True, raising=False)
    with SampleProgress(100_000, tmp_path / "folder") as progress:
        for _ in range(1000):
            passing(0.9)
            progress.after(BATCH, 100 * 4096)
        assert progress._bar.tasks[0].completed == 100_000
    assert "sampling" in capsys.readouterr().out


def test_a_disk_or_a_memory_that_is_too_small_is_said_at_once(monkeypatch, tmp_path):
    usage = SimpleNamespace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with (
        SampleProgress(100_000, tmp_path / "new" / "folder") as progress,
        pytest.raises(UserError, match=r"about 410 MB would be written to .*folder, but only 100 MB are free there"),
    ):
        progress.after(BATCH, 100 * 4096)
    monkeypatch.setattr(sample_progress, "_memory", lambda: 10**9)
    SampleProgress(10, tmp_path).check_memory(10**9)
    with pytest.raises(UserError, match=r"--num=10: a picture of so many needs 2 GB of memory, and there are 1 GB"):
        SampleProgress(10, tmp_path).check_memory(2 * 10**9)


def test_numbers_for_people():
    assert [size(n) for n in (500, 4096, 25_600_000, 1.5e9, 6.3e12)] == [
        "0.5 kB",
        "4.1 kB",
        "25.6 MB",
        "1.5 GB",
        "6.3 TB",
    ]
    assert [clock(s) for s in (5.2, 61, 7500, 3.6e6)] == ["5 s", "1 min", "2 h 05 min", "1,000 h 00 min"]
