import io
import re
import time
from contextlib import redirect_stdout

import pytest
import torch

from lit_gen.callbacks.progress import Progress, _clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


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
    assert re.search(r"training .*epoch 1 of 2  loss [\d.]+  \d+ images/s  0:0[01] left", shown)
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
    assert progress._bar is None and "validating" in terminal.getvalue()


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


def test_time_left_reads_as_a_clock():
    assert [_clock(s) for s in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]


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
