"""Both figures, measured by one process and by two and three that share a set which they don't divide."""

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


def test_one_two_and_three_processes_agree(tmp_path):
    # The ranks have caches of their own, as on several machines: only the first of each set is written to.
    places = [(rank, world_size) for world_size in (1, 2, 3) for rank in range(world_size)]
    processes = []
    for rank, world_size in places:
        (tmp_path / f"{world_size}").mkdir(exist_ok=True)
        folder = tmp_path / f"{world_size}"
        processes.append(start(rank, world_size, folder, folder / f"cache{rank}"))
    answers = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    alone, *others = (json.loads(answer) for answer in answers)
    for (rank, world_size), figures in zip(places[1:], others, strict=True):
        assert figures == pytest.approx(alone, rel=1e-6), (rank, world_size)
        assert (tmp_path / f"{world_size}" / f"cache{rank}").exists() == (rank == 0)
    assert others[0] == others[1]
    assert others[2] == others[3] == others[4]
