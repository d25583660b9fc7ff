"""A monitor that can't come is told after the first validation, and stops the run; one that may come later doesn't."""

import json
from pathlib import Path

import pytest

from lit_gen.cli.main import main
from lit_gen.models.vaes.vae import VAE

BASE = ["fit", "--config", "conf/vaes/vae_digits.yaml", "--wandb=false", "--data.batch_size=256"]
NO_PICTURES = "--trainer.callbacks=[]"
SCHEDULE = "--model.scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau"


def early(monitor: str, **options) -> str:
    arguments = json.dumps({"monitor": monitor, **options})
    return f"{{class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {arguments}}}"


def saving(monitor: str) -> str:
    arguments = json.dumps({"monitor": monitor})
    return f"{{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {arguments}}}"


def fid(every: int) -> str:
    extractor = "{class_path: lit_gen.metrics.features.LeNet}"
    arguments = f"{{extractor: {extractor}, num_samples: 20, every_n_epochs: {every}}}"
    return f"{{class_path: lit_gen.callbacks.FID, init_args: {arguments}}}"


def precision(every: int) -> str:
    arguments = f"{{num_samples: 20, every_n_epochs: {every}}}"
    return f"{{class_path: lit_gen.callbacks.PrecisionRecall, init_args: {arguments}}}"


def callbacks(*each: str) -> str:
    return f"--trainer.callbacks=[{', '.join(each)}]"


# Words, what is said of them, and after how many epochs the run stops.
STOPS = {
    "a misspelt name": (["--monitor=val/los", NO_PICTURES], "monitor: 'val/los' is not among", "'val/loss'", 1),
    "another split's": (["--monitor=test/loss", NO_PICTURES], "monitor: 'test/loss' is not among", "'val/loss'", 1),
    "no split": (["--monitor=loss", NO_PICTURES], "monitor: 'loss' is not among", "'val/loss'", 1),
    "nothing near": (["--monitor=accuracy", NO_PICTURES], "monitor: 'accuracy' is not among", "there are val/", 1),
    "of the training": (["--monitor=train/los", NO_PICTURES], "monitor: 'train/los' is not among", "'train/loss'", 1),
    "a metric's other count": (
        ["--monitor=val/fid_lenet_2k", callbacks(fid(50))],
        "monitor: 'val/fid_lenet_2k' is not among",
        "the nearest is 'val/fid_lenet_20'",
        1,
    ),
    "after all have measured": (
        ["--monitor=val/precision", callbacks(precision(2))],
        "monitor: 'val/precision' is not among",
        "the nearest is 'val/precision_data_k3_20'",
        2,
    ),
    "only at the test": (
        ["--monitor=val/fid_lenet_20", callbacks(fid(0))],
        "monitor: 'val/fid_lenet_20' is not among",
        "there are val/",
        1,
    ),
    "early stopping": (
        [callbacks(early("val/los"))],
        "EarlyStopping.monitor: 'val/los' is not among",
        "'val/loss'",
        1,
    ),
    "lenient early stopping": (
        [callbacks(early("val/los", strict=False))],
        "EarlyStopping.monitor: 'val/los' is not among",
        "'val/loss'",
        1,
    ),
    "early stopping at each epoch by a metric of some": (
        [callbacks(early("val/fid_lenet_20"), fid(2))],
        "EarlyStopping.monitor: 'val/fid_lenet_20' is measured every 2 epochs only",
        "set every_n_epochs to 1",
        1,
    ),
    "a checkpoint of one's own": (
        [callbacks(saving("val/los"))],
        "ModelCheckpoint.monitor: 'val/los' is not among",
        "'val/loss'",
        1,
    ),
    "a learning rate's schedule": (
        [SCHEDULE, "--trainer.callbacks=[]", "--monitor=null"],
        "ReduceLROnPlateau's monitor: 'val/loss' is not among",
        "the nearest is 'train/loss'",
        1,
    ),
}


@pytest.mark.parametrize("case", STOPS)
def test_a_monitor_that_never_comes_stops_the_run(case, tmp_path, monkeypatch, capsys):
    words, told, hint, epochs = STOPS[case]
    if case == "a learning rate's schedule":  # all models of ours log a loss
        monkeypatch.setattr(
            VAE, "validation_step", lambda self, batch, index: {"squared_error": batch.x.flatten(1)[:, 0]}
        )
    arguments = [*BASE, "--trainer.max_epochs=9", f"--runs={tmp_path}", "--trainer.log_every_n_steps=1", *words]
    assert main(arguments) == 2
    *before, message = capsys.readouterr().err.strip().splitlines()
    assert len(message) < 400
    assert message.startswith("lit-gen: error: ")
    assert told in message
    assert hint in message
    assert len(before) == (case == "after all have measured")
    (folder,) = tmp_path.glob("*/*")
    assert f"saved, go on with: lit-gen fit --resume {folder}" in message
    assert step_of(folder) == 4 * epochs
    assert not (folder / "summary.json").exists()


def step_of(folder: Path) -> int:
    import torch

    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def test_the_stopped_run_goes_on_with_the_right_name(refused, tmp_path):
    arguments = [*BASE, "--trainer.max_epochs=3", f"--runs={tmp_path}", NO_PICTURES]
    assert "--monitor=…" in refused(*arguments, "--monitor=val/los")
    (folder,) = tmp_path.glob("*/*")
    assert main(["fit", "--resume", str(folder), "--monitor=val/loss"]) == 0
    assert (folder / "checkpoints" / "best.ckpt").is_file()
    assert json.loads((folder / "summary.json").read_text())["steps"] == 12


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--monitor=val/los", "--monitor_missing=warn", NO_PICTURES], "the nearest is 'val/loss'"),
        (["--monitor=val/precision_data_k3_20", callbacks(precision(2))], "PrecisionRecall may log it later"),
        (["--trainer.limit_val_batches=0", NO_PICTURES], "monitor: 'val/loss' nothing is validated, so it never comes"),
        (["--trainer.max_epochs=1", "--monitor=val/los", NO_PICTURES], "there is no best.ckpt by it"),
    ],
    ids=["asked to go on", "undecided", "no validation", "at the end"],
)
def test_what_does_not_stop_a_run_is_said_once_on_the_screen(words, told, tmp_path, capsys):
    assert main([*BASE, "--trainer.max_epochs=3", f"--runs={tmp_path}", *words]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "monitor: " in line]
    assert len(said) == 1
    assert told in said[0]
    (folder,) = tmp_path.glob("*/*")
    assert told in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["--monitor=val/fid_lenet_20", callbacks(fid(2))],
        ["--monitor=val/loss", callbacks(early("train/loss"))],
        ["--monitor=val/loss", callbacks(early("val/fid_lenet_20", strict=False), fid(2))],
        ["--monitor=null", NO_PICTURES],
    ],
    ids=["an interval", "training", "lenient", "none"],
)
def test_what_comes_is_not_mentioned(words, tmp_path, capsys):
    words = [*words, "--trainer.log_every_n_steps=1"]
    assert main([*BASE, "--trainer.max_epochs=2", f"--runs={tmp_path}", *words]) == 0
    assert "onitor" not in capsys.readouterr().err


def test_a_mode_that_there_is_not(refused_fit):
    assert "monitor_missing" in refused_fit("--monitor_missing=perhaps")
