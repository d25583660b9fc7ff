import csv
import time

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from lit_gen.loggers.metrics_csv import MetricsCSV


def rows(folder, *columns):
    with (folder / "metrics.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    return [tuple(row[column] for column in columns) for row in read] if columns else read


def test_a_row_a_step_and_a_column_a_figure(tmp_path):
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"epoch": 0, "train/loss": 0.1}, step=3)
    assert rows(tmp_path, "step", "epoch", "train/loss") == [("3", "0", "0.1")], "in the file at once"
    logger.log_metrics({"epoch": 0, "train/loss": 1 / 3}, step=7)
    logger.log_metrics({"epoch": 0, "val/loss": float("inf"), 'odd, "name"': 2}, step=7)
    logger.log_metrics({"epoch": 1, "train/loss": -0.0}, step=9)
    assert rows(tmp_path, "step", "train/loss", "val/loss", 'odd, "name"') == [
        ("3", "0.1", "", ""),
        ("7", repr(1 / 3), "inf", "2"),
        ("9", "-0.0", "", ""),
    ]
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert header.startswith("step,epoch,time,train/loss,val/loss,")
    assert abs(float(rows(tmp_path)[-1]["time"]) - time.time()) < 10


def test_only_the_last_row_is_joined(tmp_path):
    logger = MetricsCSV(tmp_path)
    for step, value in ((1, 0.5), (2, 0.25), (1, 0.125)):
        logger.log_metrics({"a": value}, step=step)
    logger.log_metrics({"a": 9.0}, step=1)
    assert rows(tmp_path, "step", "a") == [("1", "0.5"), ("2", "0.25"), ("1", "9.0")]


def test_a_shorter_row_leaves_nothing_of_a_longer_one(tmp_path):
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"a": 0.123456789012}, step=1)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.log_metrics({"a": 2.0}, step=2)
    assert rows(tmp_path, "step", "a") == [("1", "1.0"), ("2", "2.0")]


def test_a_step_that_is_not_told_follows_the_last(tmp_path):
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"a": 1.0})
    logger.log_metrics({"a": 2.0})
    assert rows(tmp_path, "step") == [("0",), ("1",)]


def test_another_process_goes_on_in_the_file_and_deletes_nothing(tmp_path):
    MetricsCSV(tmp_path).log_metrics({"a": 1.0}, step=100)
    second = MetricsCSV(tmp_path)
    second.log_metrics({"b": 2.0}, step=0)
    second.finalize("success")
    second.log_metrics({"a": 3.0}, step=0)
    assert rows(tmp_path, "step", "a", "b") == [("100", "1.0", ""), ("0", "3.0", "2.0")]


def test_the_tests_of_earlier_ends_stay_and_are_joined_by_no_batch(tmp_path):
    first = MetricsCSV(tmp_path)
    first.log_metrics({"a": 1.0}, step=3)
    first.log_metrics({"test/b": 2.0}, step=4)
    second = MetricsCSV(tmp_path)
    second.resume_from(3)
    second.log_metrics({"a": 3.0}, step=4)
    second.log_metrics({"a": 4.0}, step=9)
    second.log_metrics({"test/b": 5.0}, step=10)
    second.log_metrics({"test/c": 6.0}, step=10)
    third = MetricsCSV(tmp_path)
    third.resume_from(4)
    assert rows(tmp_path, "step", "a", "test/b", "test/c") == [
        ("3", "1.0", "", ""),
        ("4", "", "2.0", ""),
        ("4", "3.0", "", ""),
        ("10", "", "5.0", "6.0"),
    ]


def test_half_a_row_of_a_killed_run_goes(tmp_path):
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"a": 1.0, "b": 2.0}, step=1)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("2,0,17")
    MetricsCSV(tmp_path).log_metrics({"a": 3.0}, step=3)
    assert rows(tmp_path, "step", "a", "b") == [("1", "1.0", "2.0"), ("3", "3.0", "")]


def test_resuming_drops_the_rows_after_the_step(tmp_path):
    logger = MetricsCSV(tmp_path)
    for step in range(6):
        logger.log_metrics({"a": float(step)}, step=step)
    resumed = MetricsCSV(tmp_path)
    resumed.resume_from(3)
    resumed.log_metrics({"b": 1.0}, step=3)
    resumed.log_metrics({"a": 9.0}, step=4)
    assert rows(tmp_path, "step", "a") == [("0", "0.0"), ("1", "1.0"), ("2", "2.0"), ("3", "3.0"), ("4", "9.0")]
    assert rows(tmp_path)[3]["b"] == "1.0"


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = MetricsCSV(tmp_path / "new")
    logger.log_metrics({"a": 1.0}, step=0)
    logger.resume_from(0)
    logger.finalize("success")
    assert not (tmp_path / "new").exists()


class Counting(LightningModule):
    """Logs the number of its batch, and dies at one of them."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.dies_at = dies_at

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == self.dies_at:
            raise KeyError("killed")
        self.log("number", float(self.trainer.global_step))
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/number", float(self.trainer.global_step))

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(folder, logger, **options):
    defaults = {
        "accelerator": "cpu",
        "logger": logger,
        "max_epochs": 4,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
        "callbacks": [ModelCheckpoint(folder, filename="last", every_n_train_steps=3, enable_version_counter=False)],
    }
    return Trainer(**{**defaults, **options})


def test_a_killed_and_resumed_run_leaves_the_rows_of_the_unbroken_one(tmp_path):
    loader = torch.utils.data.DataLoader(torch.zeros(4, 1))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    trainer(whole, MetricsCSV(whole)).fit(Counting(), loader, loader)
    with pytest.raises(KeyError):
        trainer(broken, MetricsCSV(broken)).fit(Counting(dies_at=11), loader, loader)
    assert rows(broken)[-1]["step"] == "10", "two steps, and none of the last checkpoint's"
    resumed = MetricsCSV(broken)
    seen = []
    resumed.save = lambda: seen.append(rows(broken, "step"))
    trainer(broken, resumed).fit(Counting(), loader, loader, ckpt_path=broken / "last.ckpt")
    assert seen[0][-1] == ("8",), "the future of the killed run is gone before anything is logged"
    columns = ("step", "epoch", "number", "val/number")
    assert rows(broken, *columns) == rows(whole, *columns)
    assert len(rows(whole)) == 16


def test_a_test_after_the_fit_adds_its_row(tmp_path):
    loader = torch.utils.data.DataLoader(torch.zeros(4, 1))
    run = trainer(tmp_path, MetricsCSV(tmp_path), max_epochs=1)
    run.fit(Counting(), loader)
    before = rows(tmp_path, "step", "number")
    run.test(Counting(), loader, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert rows(tmp_path, "step", "number")[: len(before)] == before
    assert rows(tmp_path)[-1]["val/number"] != ""


def test_a_row_costs_little(tmp_path):
    logger = MetricsCSV(tmp_path)
    begin = time.perf_counter()
    for step in range(1000):
        logger.log_metrics({"epoch": 0, "a": 0.1 * step, "b": 0.2 * step}, step=step)
    assert (time.perf_counter() - begin) / 1000 < 1e-3
    assert len(rows(tmp_path)) == 1000
