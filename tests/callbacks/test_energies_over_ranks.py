"""An RBM's figures, measured by one process and by two that share a set which they don't divide."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("energies_of_one_rank.py")


def test_two_processes_agree_with_one_and_with_each_other(tmp_path):
    commands = [(0, 1), (0, 2), (1, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(world_size), str(tmp_path / "meeting_point")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, world_size in commands
    ]
    answers = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    alone, *pair = (json.loads(answer) for answer in answers)
    assert pair[0] == pair[1]
    assert pair[0] == pytest.approx(alone, rel=1e-5)
    assert alone.keys() > {"test/free_energy_gap", "test/log_z_ais", "test/nll_nats_exact", "test/nll_nats_ais_c20_t30"}
