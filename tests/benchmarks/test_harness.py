"""A claim's ratio is that of its two sides, turn by turn; what is printed and written has the promised columns."""

import json
import sys

import pytest
import torch

from benchmarks import __main__ as program
from benchmarks.harness import compare, summarise
from benchmarks.memory import PeakBytes


def test_ratio_is_the_median_over_the_turns_and_the_first_turn_warms_up():
    ours = iter([100.0, 2.0, 3.0, 10.0])
    result = compare("claim", lambda: next(ours), lambda: 2.0, goal=1.5, detail="", turns=3)
    assert result.ratio == 1.5
    assert result.ok


def test_a_ratio_above_the_goal_is_short():
    result = summarise("claim", [1.11], 1.10, "")
    assert not result.ok
    assert result.line().split() == ["claim", "1.110", "0.000", "1.10", "short"]


def test_program_prints_and_writes_the_promised_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "CLAIMS", {"one": lambda: iter([summarise("one", [1.0], 1.1, "sides")])})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "one", "--json", str(tmp_path / "out.json")])
    assert program.main() == 0
    assert capsys.readouterr().out.split() == ["name", "ratio", "spread", "goal", "one", "1.000", "0.000", "1.10", "ok"]
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert row == {"name": "one", "ratio": 1.0, "spread": 0.0, "goal": 1.1, "ok": "ok", "detail": "sides"}


def test_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "nonsense"])
    with pytest.raises(SystemExit) as stop:
        program.main()
    assert stop.value.code == 2


def test_peak_counts_what_is_alive_at_once():
    with PeakBytes() as one:
        for _ in range(5):
            torch.ones(1000)
    with PeakBytes() as five:
        kept = [torch.ones(1000) for _ in range(5)]
    assert one.peak < 2 * 4000 + 1
    assert five.peak >= 4000 * len(kept)


def test_small_figures_keep_their_digits():
    assert summarise("claim", [0.00321], 1 / 150, "").line().split() == ["claim", "0.00321", "0.000", "0.0067", "ok"]
