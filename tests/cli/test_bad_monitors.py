"""A monitor that can't come is told after the first validation, and stops the run; one that may come later doesn't."""

import inspect
import json
from pathlib import Path

import pytest

import lit_gen.callbacks
from lit_gen.callbacks import Reconstructions
from lit_gen.cli.main import main
from lit_gen.cli.monitors import names_of
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
        (
            ["--trainer.limit_val_batches=0", NO_PICTURES],
            "monitor: 'val/loss' never comes: nothing is validated (trainer.limit_val_batches is 0); there is no best",
        ),
        (
            ["--data.num_validation=0"],
            "monitor: 'val/loss' never comes: nothing is validated (data.num_validation is 0); there is no best.ckpt",
        ),
        (
            ["--data.num_validation=0", "--trainer.check_val_every_n_epoch=2"],
            "monitor: 'val/loss' never comes: nothing is validated (data.num_validation is 0); there is no best.ckpt",
        ),
        (["--trainer.max_epochs=1", "--monitor=val/los", NO_PICTURES], "there is no best.ckpt by it"),
    ],
    ids=["asked to go on", "undecided", "no validation", "no examples", "no examples, later", "at the end"],
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


def test_the_pictures_of_a_shipped_config_hold_up_no_verdict(refused, tmp_path):
    words = [*BASE, "--trainer.max_epochs=3", f"--runs={tmp_path}", "--monitor=val/los"]
    assert "monitor: 'val/los' is not among what this run logs; the nearest is 'val/loss'" in refused(*words)
    (folder,) = tmp_path.glob("*/*")
    assert step_of(folder) == 4


def own_callbacks_with_an_interval() -> list[type]:
    named = [kind for kind in vars(lit_gen.callbacks).values() if inspect.isclass(kind)]
    return [kind for kind in named if "every_n_epochs" in inspect.signature(kind).parameters]


@pytest.mark.parametrize("kind", own_callbacks_with_an_interval(), ids=lambda kind: kind.__name__)
def test_of_our_own_those_that_log_have_protocols_and_no_others(kind):
    """What ``monitors.names_of`` goes by."""
    source = "".join(inspect.getsource(base) for base in kind.__mro__ if base.__module__.startswith("lit_gen."))
    logs = "pl_module.log(" in source or "pl_module.log_dict(" in source
    assert logs == ("self.protocols: dict" in source)


def test_a_callback_of_somebody_else_may_log_anything():
    class Theirs(Reconstructions):
        pass

    assert names_of(Reconstructions()) == set()
    assert names_of(Theirs()) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([callbacks(early("val/loss"))], "EarlyStopping.monitor: 'val/loss' never comes: nothing is validated"),
        ([callbacks(saving("val/loss"))], "ModelCheckpoint.monitor: 'val/loss' never comes: nothing is validated"),
        (["--trainer.limit_val_batches=0", callbacks(early("val/loss"))], "(trainer.limit_val_batches is 0)"),
    ],
)
def test_what_cannot_do_without_a_validation_is_refused_before_the_first_step(words, told, refused_fit):
    assert told in refused_fit("--trainer.max_steps=8", "--data.num_validation=0", *words)


def test_early_stopping_where_nothing_is_logged(tmp_path, capsys):
    words = ["--trainer.max_epochs=3", "--data.num_validation=0", "--monitor_missing=warn", "--monitor=null"]
    every = "--trainer.log_every_n_steps=50"
    assert main([*BASE, *words, every, f"--runs={tmp_path}", callbacks(early("val/loss"))]) == 2
    said, *_, error = capsys.readouterr().err.strip().splitlines()
    assert "EarlyStopping.monitor: 'val/loss' never comes: nothing is validated" in said
    assert "without its metric 'val/loss'; nothing at all was logged; strict: false passes over" in error


@pytest.mark.parametrize(
    ("verb", "words", "told"),
    [
        ("validate", ["--data.num_validation=0"], "nothing to validate: data.num_validation is 0"),
        ("validate", ["--trainer.limit_val_batches=0"], "nothing to validate: trainer.limit_val_batches is 0"),
        ("test", ["--trainer.limit_test_batches=0"], "nothing to test: trainer.limit_test_batches is 0"),
        ("predict", ["--trainer.limit_predict_batches=0"], "nothing to predict: trainer.limit_predict_batches is 0"),
    ],
)
def test_an_evaluation_of_no_examples_is_refused(verb, words, told, refused, trained, tmp_path):
    again = [verb, "--config", "conf/vaes/vae_digits.yaml", "--wandb=false", NO_PICTURES, f"--ckpt_path={trained}"]
    assert told in refused(*again, f"--runs={tmp_path}", *words)
    assert not list(tmp_path.glob("*/*"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main([*BASE, NO_PICTURES, "--trainer.max_steps=1", f"--runs={runs}"]) == 0
    (folder,) = runs.glob("*/*")
    return folder
