import io
import re
import time

import pytest
from rich.console import Console

from lit_gen.callbacks.progress_display import Bar, Heartbeat, Lines, LongStep, State, clock, fitting

STATE = State(
    "training",
    0.25,
    ["epoch 12 of 200", "loss 22.31", "kl 3.2", "24,848 images/s", "2:10 left"],
    [0, 2, 4, 3, 1],
)


def test_time_reads_as_a_clock():
    assert [clock(s) for s in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]


@pytest.mark.parametrize(
    ("width", "kept"), [(80, "01234"), (64, "0134"), (45, "014"), (30, "04"), (20, "0"), (16, ""), (-3, "")]
)
def test_the_least_important_terms_go_first_and_whole(width, kept):
    assert fitting(STATE, width) == [STATE.terms[int(k)] for k in kept]


@pytest.mark.parametrize(
    ("width", "last"), [(200, "2:10 left"), (80, "2:10 left"), (60, "2:10 left"), (45, "12 of 200"), (30, "training")]
)
def test_a_bar_is_narrower_than_its_terminal(width, last):
    out = io.StringIO()
    bar = Bar(Console(width=width, force_terminal=True, no_color=True, color_system=None, file=out))
    bar.show(STATE)
    bar.close()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    (line,) = {line.rstrip() for line in re.split(r"[\r\n]+", text) if "━" in line}
    assert line.startswith("training ━") and len(line) < width
    assert last in line and "…" not in line
    assert line.endswith(last) or width < 60


def test_a_bar_counts_on_while_a_step_lasts():
    out, now = io.StringIO(), [100.0]
    bar = Bar(Console(width=80, force_terminal=True, color_system=None, file=out), now=lambda: now[0])
    step = LongStep(100.0, besides=("Progress",))
    bar.show(State("testing", 0.5, ["batch 3 of 20"], [0], step))
    step.enter("[Callback]Likelihood.on_test_batch_end")
    now[0] = 175.0
    bar.beat()
    step.enter("[Callback]Progress.on_test_batch_end")
    bar.beat()
    bar.close()
    text = out.getvalue()
    assert "Likelihood  1:15 so far  batch 3 of 20" in text
    assert "Progress" not in text


def test_lines_come_once_a_minute_by_the_clock():
    now, told = [0.0], []
    lines = Lines(lambda: now[0], told.append)
    for second in range(0, 301):
        now[0] = float(second)
        lines.show(STATE)
        lines.beat()
    lines.close()
    assert len(told) == 5
    assert told[0] == "1:00  training  epoch 12 of 200  loss 22.31  kl 3.2  24,848 images/s  2:10 left"
    assert told[-1].startswith("5:00")


def test_lines_are_flushed_one_by_one(monkeypatch):
    class Pipe(io.StringIO):
        flushed = ""

        def flush(self):
            self.flushed = self.getvalue()

    pipe, now = Pipe(), [0.0]
    monkeypatch.setattr("sys.stdout", pipe)
    lines = Lines(lambda: now[0])
    now[0] = 61.0
    lines.show(STATE)
    assert pipe.flushed == pipe.getvalue() != ""


def test_a_heart_beats_until_it_is_stopped_and_survives_a_closed_output():
    beats = []
    heart = Heartbeat(lambda: beats.append(1), seconds=0.01)
    until = time.monotonic() + 10
    while len(beats) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    heart.stop()
    assert len(beats) >= 3
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count

    def closed():
        beats.append(1)
        raise ValueError("I/O operation on closed file")

    heart = Heartbeat(closed, seconds=0.01)
    heart._thread.join(10)
    assert not heart._thread.is_alive() and len(beats) == count + 1
