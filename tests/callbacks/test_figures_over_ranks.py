"""Both figures, measured by one process and by two that share a set which they don't divide."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("figures_of_one_rank.py")


def start(rank: int, world_size: int, folder: Path, cache: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(rank), str(world_size), str(folder / "meeting_point")],
        env={**os.environ, "LIT_GEN_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_agree_with_one_and_with_each_other(tmp_path):
    # The two have caches of their own, as on two machines: only the first is written to.
    processes = [
        start(0, 1, tmp_path, tmp_path / "alone"),
        start(0, 2, tmp_path, tmp_path / "first"),
        start(1, 2, tmp_path, tmp_path / "second"),
    ]
    answers = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    alone, *pair = (json.loads(answer) for answer in answers)
    assert pair[0] == pair[1]
    assert pair[0] == pytest.approx(alone, rel=1e-6)
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()
