"""What a run says of itself, and what that means after it is gone."""

import json
import os
import subprocess
import sys

import pytest

from lit_gen.cli import run_state
from lit_gen.errors import Interrupted


def began(folder, **changes):
    """The record of a run of this process, changed."""
    run_state.write(folder, "fit", {"model.beta": "4"})
    record = run_state.read(folder) | changes
    (folder / run_state.RECORD).write_text(json.dumps(record))


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_run_whose_process_lives_is_running(tmp_path):
    began(tmp_path)
    assert run_state.state_of(tmp_path) == run_state.RUNNING


def test_a_run_whose_process_is_gone_was_stopped(tmp_path, gone):
    began(tmp_path, pid=gone)
    assert run_state.state_of(tmp_path) == run_state.STOPPED


def test_another_process_under_the_same_number_is_not_the_run(tmp_path):
    began(tmp_path, process_started="some-other-boot/123")
    assert run_state.state_of(tmp_path) == run_state.STOPPED


def test_a_summary_finishes_a_run_until_it_is_resumed(tmp_path, gone):
    began(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    assert run_state.state_of(tmp_path) == run_state.FINISHED
    began(tmp_path)
    assert run_state.state_of(tmp_path) == run_state.RUNNING
    began(tmp_path, pid=gone)
    assert run_state.state_of(tmp_path) == run_state.STOPPED
    os.utime(tmp_path / "summary.json", ns=(1, 1))  # another summary
    assert run_state.state_of(tmp_path) == run_state.FINISHED


def test_a_run_on_another_host_is_elsewhere(tmp_path):
    began(tmp_path, host="another")
    assert run_state.state_of(tmp_path) == run_state.ELSEWHERE


def test_a_failure_is_kept_until_the_run_goes_on(tmp_path):
    began(tmp_path)
    run_state.note_failure(tmp_path, ValueError("no\n  good"))
    assert run_state.state_of(tmp_path) == run_state.FAILED
    assert run_state.read(tmp_path)["error"] == "ValueError: no good"
    run_state.write(tmp_path, "fit", {"trainer.max_epochs": "9"})
    assert run_state.state_of(tmp_path) == run_state.RUNNING
    assert run_state.read(tmp_path)["overrides"] == {"model.beta": "4", "trainer.max_epochs": "9"}


def test_runs_from_before_there_were_records(tmp_path):
    assert run_state.state_of(tmp_path) == run_state.STOPPED
    run_state.note_failure(tmp_path, ValueError())
    assert not list(tmp_path.iterdir())
    (tmp_path / "summary.json").write_text("{}")
    assert run_state.state_of(tmp_path) == run_state.FINISHED


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\xff", '{"pid": "me"}', '{"pid": -1, "host": null}'])
def test_a_garbled_record_is_none(tmp_path, text):
    (tmp_path / run_state.RECORD).write_bytes(text.encode("latin-1"))
    assert run_state.state_of(tmp_path) in (run_state.STOPPED, run_state.ELSEWHERE)
    run_state.write(tmp_path, "fit", {})
    assert run_state.state_of(tmp_path) == run_state.RUNNING


def test_a_run_that_was_asked_to_stop_has_not_failed(tmp_path, gone):
    began(tmp_path, pid=gone)
    run_state.note_failure(tmp_path, Interrupted("stopped at step 7"))
    assert run_state.state_of(tmp_path) == run_state.STOPPED
    run_state.note_failure(tmp_path, ValueError("broken"))
    assert run_state.state_of(tmp_path) == run_state.FAILED
