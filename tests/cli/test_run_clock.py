"""A run's time and counts are those of all its legs. The clock of these tests counts training batches, nothing else."""

import csv
import json
from pathlib import Path

import pytest
import torch

from lit_gen.callbacks import progress
from lit_gen.callbacks.progress import Progress
from lit_gen.cli import loss_curves, run_clock
from lit_gen.cli.main import main

EPOCH = 8  # batches of 128
BASE = ["fit", "--config", "conf/vaes/vae_digits.yaml", "--wandb=false", "--data.batch_size=128"]
BASE += ["--trainer.callbacks=[]", "--trainer.log_every_n_steps=4"]
KEYS = ("steps", "epochs", "seconds_fit", "seconds_training", "images_per_second")


class Killed(BaseException):
    """As good as SIGKILL: nobody handles it."""


@pytest.fixture
def batches(monkeypatch):
    """A clock that a batch moves on by one second; ``dies_at`` kills the run after so many batches."""

    class Clock:
        now, dies_at = 0.0, None

        def perf_counter(self) -> float:
            return self.now

        monotonic = perf_counter

    clock = Clock()
    count = Progress.on_train_batch_end

    def counted(*args):
        clock.now += 1
        count(*args)
        if clock.now == clock.dies_at:
            raise Killed

    monkeypatch.setattr(Progress, "on_train_batch_end", counted)
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(run_clock.RunClock.__init__, "__defaults__", (clock.perf_counter,))
    return clock


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def counts(folder: Path) -> tuple:
    return tuple(summary(folder)[key] for key in KEYS)


def only(runs: Path) -> Path:
    (folder,) = runs.glob("*/*")
    return folder


def steps_of_tests(folder: Path) -> list[str]:
    with (folder / "metrics.csv").open() as file:
        return [row["step"] for row in csv.DictReader(file) if row.get("test/loss")]


def test_a_run_in_one_piece(batches, tmp_path):
    assert main([*BASE, f"--runs={tmp_path}", "--trainer.max_epochs=2"]) == 0
    assert counts(only(tmp_path)) == (16, 2, 16.0, 16.0, 128.0)
    (leg,) = summary(only(tmp_path))["legs"]
    assert (leg["from_step"], leg["to_step"], leg["examples"]) == (0, 16, 16 * 128)


def test_drawing_the_curves_is_no_part_of_the_fit(batches, tmp_path, monkeypatch):
    def slow(trainer, **kwargs) -> None:
        batches.now += 1000

    monkeypatch.setattr(loss_curves, "save", slow)
    assert main([*BASE, f"--runs={tmp_path}", "--trainer.max_epochs=1"]) == 0
    assert counts(only(tmp_path)) == (8, 1, 8.0, 8.0, 128.0)
    assert batches.now >= 1000, "they were drawn"


def test_a_finished_run_that_is_resumed_keeps_its_time_and_its_test(batches, tmp_path):
    assert main([*BASE, f"--runs={tmp_path}", "--trainer.max_steps=5"]) == 0
    folder = only(tmp_path)
    before = summary(folder)
    assert steps_of_tests(folder) == ["5"]
    assert main(["fit", "--resume", str(folder)]) == 0
    assert counts(folder) == (5, 1, 5.0, 5.0, 128.0)
    assert summary(folder) == before


def test_a_run_that_goes_on_adds_up_its_legs(batches, tmp_path):
    assert main([*BASE, f"--runs={tmp_path}", "--trainer.max_epochs=1"]) == 0
    folder = only(tmp_path)
    assert main(["fit", "--resume", str(folder), "--trainer.max_epochs=3"]) == 0
    assert counts(folder) == (24, 3, 24.0, 24.0, 128.0)
    legs = summary(folder)["legs"]
    assert [(leg["from_step"], leg["to_step"], leg["seconds_fit"]) for leg in legs] == [(0, 8, 8.0), (8, 24, 16.0)]
    assert legs[0]["started"] < legs[1]["started"]
    assert steps_of_tests(folder) == ["8", "24"], "the test of the earlier end is still there"
    whole = tmp_path / "whole"
    assert main([*BASE, f"--runs={whole}", "--trainer.max_epochs=3"]) == 0
    assert counts(only(whole)) == counts(folder)


def test_a_killed_leg_counts_up_to_its_last_checkpoint(batches, tmp_path):
    batches.dies_at = 13
    with pytest.raises(Killed):
        main([*BASE, f"--runs={tmp_path}", "--trainer.max_epochs=3", "--checkpoint_every_n_steps=5"])
    folder = only(tmp_path)
    batches.dies_at = None
    assert main(["fit", "--resume", str(folder)]) == 0
    assert counts(folder) == (24, 3, 24.0, 24.0, 128.0)
    assert [(leg["from_step"], leg["to_step"]) for leg in summary(folder)["legs"]] == [(0, 10), (10, 24)]


def steps_of_training(folder: Path) -> list[str]:
    with (folder / "metrics.csv").open() as file:
        return [row["step"] for row in csv.DictReader(file) if row.get("train/loss")]


def test_a_killed_run_is_logged_at_the_steps_of_the_unbroken_one(batches, tmp_path):
    """Where the config leaves the interval open, which then follows from the length of the training."""
    words = [word for word in BASE if "log_every_n_steps" not in word] + ["--trainer.max_epochs=3"]
    assert main([*words, f"--runs={tmp_path / 'whole'}"]) == 0
    batches.now, batches.dies_at = 0.0, 13
    with pytest.raises(Killed):
        main([*words, f"--runs={tmp_path / 'killed'}", "--checkpoint_every_n_steps=5"])
    batches.dies_at = None
    assert main(["fit", "--resume", str(only(tmp_path / "killed"))]) == 0
    steps = steps_of_training(only(tmp_path / "killed"))
    assert steps == steps_of_training(only(tmp_path / "whole")) == [str(step) for step in range(1, 24, 2)]


def test_what_a_leg_did_after_its_last_checkpoint_is_not_forgotten(batches, tmp_path):
    """As the validation after the training, which takes its time too."""
    assert main([*BASE, f"--runs={tmp_path}", "--trainer.max_epochs=1"]) == 0
    folder = only(tmp_path)
    changed = summary(folder)
    changed["legs"][0]["seconds_fit"] = 50.0
    (folder / "summary.json").write_text(json.dumps(changed))
    assert main(["fit", "--resume", str(folder), "--trainer.max_epochs=2"]) == 0
    assert summary(folder)["seconds_fit"] == 58.0


@pytest.mark.parametrize("content", ["", "[]", '{"legs": 3}', '{"legs": [7]}'])
def test_a_summary_that_cannot_be_read_has_no_legs(content, tmp_path):
    (tmp_path / "summary.json").write_text(content)
    assert run_clock.legs_of(tmp_path / "summary.json") == []
    assert run_clock.legs_of(tmp_path / "none.json") == []


def test_a_checkpoint_of_before_there_were_legs_can_be_resumed(batches, tmp_path):
    assert main([*BASE, f"--runs={tmp_path}", "--trainer.max_epochs=1"]) == 0
    last = only(tmp_path) / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["callbacks"] = {key: value for key, value in checkpoint["callbacks"].items() if "RunClock" not in key}
    torch.save(checkpoint, last)
    assert main(["fit", "--resume", str(only(tmp_path)), "--trainer.max_epochs=2"]) == 0
    assert counts(only(tmp_path))[:3] == (16, 2, 8.0)


STAGED = """
data: {class_path: lit_gen.data.Digits, init_args: {image_shape: [1, 8, 8], batch_size: 128}}
trainer: {max_epochs: 1, callbacks: []}
stages:
  - name: one
    model: &model
      class_path: lit_gen.models.classifiers.Classifier
      init_args:
        network:
          class_path: lit_gen.networks.MLP
          init_args: {in_shape: "${data.image_shape}", out_shape: 10, hidden_dims: [12]}
  - name: two
    start_from: one
    model: *model
"""


def test_a_staged_run_has_the_totals_of_its_stages_beside_each_stage_s(batches, tmp_path):
    config = tmp_path / "staged.yaml"
    config.write_text(STAGED)
    runs = f"--runs={tmp_path / 'runs'}"
    assert main(["fit", "--config", str(config), "--wandb=false", runs, "--stages.one.trainer.max_epochs=2"]) == 0
    folder = only(tmp_path / "runs")
    assert counts(folder) == (24, 3, 24.0, 24.0, 128.0)
    of_stage = summary(folder)["stages"]
    assert [tuple(of_stage[name][key] for key in KEYS) for name in ("one", "two")] == [
        (16, 2, 16.0, 16.0, 128.0),
        (8, 1, 8.0, 8.0, 128.0),
    ]
    assert main(["fit", "--resume", str(folder), "--trainer.max_epochs=3"]) == 0
    assert counts(folder) == (40, 5, 40.0, 40.0, 128.0)
    assert [len(summary(folder)["stages"][name]["legs"]) for name in ("one", "two")] == [1, 2]
