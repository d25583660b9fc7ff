"""A game's figures, measured by one process and by two and three that share sets which they don't divide."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("diagnosis_of_one_rank.py")


def start(rank: int, world_size: int, folder: Path) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(rank), str(world_size), str(folder)]
    root = SCRIPT.parents[2]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True)


def test_one_two_and_three_processes_agree(tmp_path):
    places = [(rank, world_size) for world_size in (1, 2, 3) for rank in range(world_size)]
    processes = [start(rank, world_size, tmp_path) for rank, world_size in places]
    answers = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    alone, *others = (json.loads(answer.splitlines()[-1]) for answer in answers)
    numbers = {name for name, value in alone.items() if isinstance(value, float)}
    assert len(numbers) == 3 + 4 + 3 + 4 + 1 + 2 + 4 + 1 + 1 + 3 + 5
    for place, figures in zip(places[1:], others, strict=True):
        assert {name: figures[name] for name in numbers} == pytest.approx(
            {name: alone[name] for name in numbers}, rel=1e-6
        ), place
        assert figures.keys() == alone.keys()
    assert others[0] == others[1]
    assert others[2] == others[3] == others[4]
    pictures = {path.name.rpartition("_")[2]: path for path in (tmp_path / "samples").glob("nearest_training_test_*")}
    assert len(pictures) == 3  # one for each number of processes, of equal pixels
    assert len({path.read_bytes() for path in pictures.values()}) == 1
