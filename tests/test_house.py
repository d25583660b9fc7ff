"""The house rules that a machine can check: floors, lint, format."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [[BIN / "lint-imports"], [BIN / "ruff", "check", "."], [BIN / "ruff", "format", "--check", "."]],
    ids=["floors", "lint", "format"],
)
def test_rule_holds(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_room_is_called_utils():
    names = {path.stem for path in (ROOT / "lit_gen").rglob("*")}
    assert not names & {"utils", "util", "common", "helpers", "misc"}


def test_constraints_leave_out_the_broken_torch():
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    assert any(line.startswith("torch==") for line in pinned)
    assert "torch==2.13.0" not in pinned
