import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise

import pytest
import torch
from lightning.pytorch import Callback

from lit_gen.callbacks.progress import Progress
from lit_gen.callbacks.progress_display import Lines
from lit_gen.cli.lean import NoProfiler


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextmanager
def pseudo_terminal(width: int) -> Iterator[list[str]]:
    """Within the block stdout is a terminal of that width; the list then holds every line as it stood on the screen."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    received, lines = [], []

    def read() -> None:
        while True:
            try:
                if not (part := os.read(reader, 65536)):
                    return
            except OSError:  # how Linux says that the other end is closed
                return
            received.append(part)

    thread = threading.Thread(target=read)
    thread.start()
    kept = os.dup(1)
    os.dup2(writer, 1)  # the width is asked of the process's own output
    os.close(writer)
    try:
        with open(os.dup(1), "w", encoding="utf-8") as stream, redirect_stdout(stream):
            yield lines
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        thread.join()
        os.close(reader)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(received).decode())
        lines += [line for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_nothing_is_printed_where_there_is_no_terminal(make_trainer, linear_model, small_data, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take anything for a terminal
    trainer, model, data = make_trainer(Progress()), linear_model(), small_data()
    trainer.fit(model, data)
    trainer.validate(model, data, verbose=False)
    trainer.test(model, data, verbose=False)
    assert capsys.readouterr().out == ""


def test_the_bar_shows_the_terms_the_speed_and_the_time_left(make_trainer, linear_model, small_data, terminal):
    class Slow(linear_model):
        def training_step(self, batch, batch_idx):
            time.sleep(0.12)
            return super().training_step(batch, batch_idx)

    with redirect_stdout(terminal):
        make_trainer(Progress(), max_epochs=2).fit(Slow(), small_data())
    shown = terminal.getvalue()
    assert re.search(r"training .*epoch 1 of 2  step \d  loss [\d.]+  \d+ images/s  0:0[01] left", shown)
    assert "epoch 2 of 2" in shown and "epoch 3" not in shown and "validating" in shown
    assert "distance" not in shown, "it is no term of the progress bar"


def test_the_bar_is_redrawn_ten_times_a_second_at_most(make_trainer, linear_model, small_data, terminal):
    progress = Progress()
    begin = time.perf_counter()
    with redirect_stdout(terminal):
        make_trainer(progress, max_epochs=30, limit_val_batches=0).fit(linear_model(), small_data(num=64))
    seconds = time.perf_counter() - begin
    assert 0 < terminal.getvalue().count("images/s") <= 10 * seconds + 4
    assert progress.num_examples == 30 * 64


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_evaluations_have_a_bar_of_their_own(make_trainer, linear_model, small_data, terminal, verb):
    trainer = make_trainer(Progress())
    with redirect_stdout(terminal):
        getattr(trainer, verb)(linear_model(), small_data(), verbose=False)
    assert "batch 3 of 3" in terminal.getvalue()


def test_a_failure_closes_the_bar(make_trainer, linear_model, small_data, terminal):
    class Broken(linear_model):
        def validation_step(self, batch, batch_idx):
            raise RuntimeError

    progress = Progress()
    with redirect_stdout(terminal), pytest.raises(RuntimeError):
        make_trainer(progress).fit(Broken(), small_data())
    assert progress._display is None and "validating" in terminal.getvalue()


def test_validation_does_not_count_as_training(make_trainer, linear_model, small_data):
    class SlowElsewhere(linear_model):
        def training_step(self, batch, batch_idx):
            time.sleep(0.01)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            time.sleep(0.05)
            return super().validation_step(batch, batch_idx)

        def on_train_epoch_start(self):
            if self.current_epoch == 1:
                self.trainer.callbacks[0].on_train_epoch_end(self.trainer, self)  # twice is once
                self.trainer.callbacks[0].on_train_epoch_start(self.trainer, self)

    progress = Progress()
    begin = time.perf_counter()
    make_trainer(progress, max_epochs=2, val_check_interval=1).fit(SlowElsewhere(), small_data())
    total = time.perf_counter() - begin
    # 6 batches of 0.01 s against 6 validations of 3 batches of 0.05 s
    assert 0.06 <= progress.train_seconds < total - 0.85
    assert progress.num_examples == 48
    assert progress.examples_per_second == pytest.approx(48 / progress.train_seconds)


def test_the_rate_is_over_all_ranks():
    progress = Progress()
    assert progress.examples_per_second == 0
    progress._seconds, progress.num_examples, progress._world_size = 2.0, 100, 4
    assert progress.examples_per_second == 200


def test_the_quiet_bar_costs_next_to_nothing(linear_model, make_trainer):
    progress = Progress()
    trainer, model = make_trainer(progress), linear_model()
    batch = type("B", (), {"x": torch.zeros(8, 3)})
    progress.on_train_epoch_start(trainer, model)
    begin = time.perf_counter()
    for index in range(2000):
        progress.on_train_batch_start(trainer, model, batch, index)
        progress.on_train_batch_end(trainer, model, None, batch, index)
    assert (time.perf_counter() - begin) / 2000 < 50e-6


class Game(Callback):
    """Shows as many terms as a game with three players does."""

    def on_train_batch_end(self, trainer, pl_module, *args):
        time.sleep(0.12)
        for name in ("discriminator_loss", "generator_loss", "real_score", "fake_score"):
            pl_module.log(f"train/{name}", -12345.678, prog_bar=True)


@pytest.mark.parametrize(
    ("width", "whole"), [(80, "discriminator_loss -1.235e+04"), (60, "left"), (40, "epoch 1 of 2")]
)
def test_at_any_width_the_bar_and_its_numbers_are_whole(
    make_trainer, linear_model, small_data, monkeypatch, width, whole
):
    monkeypatch.setenv("TERM", "xterm")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    with pseudo_terminal(width) as lines:
        make_trainer(Game(), Progress(), max_epochs=2).fit(linear_model(), small_data())
    assert lines and max(len(line.rstrip()) for line in lines) < width, lines
    numbers = (
        r"(epoch \d of 2|step \d|discriminator_loss -1\.235e\+04|[\d,]+ images/s|\d+:\d\d (left|so far)|loss [\d.]+)"
    )
    for line in lines:
        shown = [part for part in re.split(r"[ \u2500-\u257f]{2,}", line.strip()) if part]
        assert shown[0] in ("training", "validating"), line
        assert all(re.fullmatch(numbers, part.strip("\u2500\u2501\u257a\u2578 ")) for part in shown[1:]), line
    assert any(whole in line for line in lines)
    assert any("\u2501" in line for line in lines), "there is a bar"


def test_without_a_terminal_a_line_a_minute(make_trainer, linear_model, small_data, monkeypatch):
    told, seconds = [], iter(range(0, 100000, 7))
    monkeypatch.setattr(
        "lit_gen.callbacks.progress.display_for_this_output", lambda: Lines(lambda: next(seconds), told.append)
    )
    monkeypatch.setattr(Lines, "seconds_between", 0.0)  # every batch asks the clock, which then moves on by 7 s
    make_trainer(Progress(), max_epochs=10, limit_val_batches=0).fit(linear_model(), small_data())
    assert len(told) >= 3
    line = r"(\d):(\d\d)  training  epoch \d+ of 10  step \d+  loss [\d.]+  [\d,]+ images/s  \d:\d\d left"
    found = [re.fullmatch(line, one) for one in told]
    assert all(found), told
    times = [60 * int(one[1]) + int(one[2]) for one in found]
    assert all(60 <= after - before < 60 + 7 + 7 for before, after in pairwise(times)), times


class Measuring(Callback):
    """Works at the end of a test until something is shown."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def on_test_epoch_end(self, trainer, pl_module) -> None:
        until = time.monotonic() + 20
        while not any("Measuring" in line for line in self.told) and time.monotonic() < until:
            time.sleep(0.05)


def test_a_long_measurement_shows_which_it_is_and_that_it_lives(make_trainer, linear_model, small_data, monkeypatch):
    told, began = [], time.monotonic()
    hurried = lambda: 60 * (time.monotonic() - began)  # noqa: E731
    monkeypatch.setattr("lit_gen.callbacks.progress.display_for_this_output", lambda: Lines(hurried, told.append))
    trainer = make_trainer(Measuring(told), Progress(), profiler=NoProfiler())
    trainer.test(linear_model(), small_data(), verbose=False)
    assert any(re.fullmatch(r"\d:\d\d  testing  Measuring  .* so far  batch 3 of 3", line) for line in told), told
    assert "profile" not in vars(trainer.profiler), "nobody watches any more"


def test_max_time_has_a_time_left(make_trainer, linear_model, small_data):
    from lit_gen.callbacks.progress import _fraction

    shares = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, *args):
            time.sleep(0.05)
            shares.append(_fraction(trainer))

    make_trainer(Look(), max_epochs=-1, max_time={"seconds": 1}).fit(linear_model(), small_data())
    assert shares == sorted(shares) and shares[0] < 0.3 and 0.8 < shares[-1] <= 1.0
