"""A refused resume leaves the run as it was, byte by byte."""

import re
from pathlib import Path

import pytest
import torch

from lit_gen.cli.main import main
from lit_gen.models import VAE

CONFIG = "conf/vaes/vae_digits.yaml"
EPOCHS = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=3", "--trainer.log_every_n_steps=1"]
QUICK = ["--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of two epochs of three steps."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(["fit", "--config", CONFIG, *QUICK, *EPOCHS, f"--runs={runs}"]) == 0
    (folder,) = runs.glob("*/*")
    return folder


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Path:
    """A finished run of two stages."""
    folder = tmp_path_factory.mktemp("staged")
    text = Path(CONFIG).read_text()
    model = re.search(r"^model:\n(?:  .*\n)+", text, flags=re.M).group(0)
    data = re.search(r"^data:.*\n(?:  .*\n)*", text, flags=re.M).group(0)
    stages = "".join(f"- {{name: {name}, trainer: {{max_steps: {n}}}}}\n" for n, name in enumerate(("one", "two"), 1))
    (folder / "staged.yaml").write_text(f"{model}{data}stages:\n{stages}")
    assert main(["fit", "--config", str(folder / "staged.yaml"), *QUICK, f"--runs={folder / 'runs'}"]) == 0
    (run,) = (folder / "runs").glob("*/*")
    return run


def contents(run: Path) -> dict[str, bytes]:
    """Every file but the logs."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name != "log.txt"]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


REFUSED = {
    "--model.optimizer.lr=-1": "Invalid learning rate",
    "--trainer.max_epochs=0": "trainer.max_epochs must be at least 2, got 0",
    "--trainer.max_epochs=1": "trainer.max_epochs must be at least 2, got 1",
    "--trainer.max_steps=5": "trainer.max_steps must be at least 6, got 5",
    "--model.scheduler={class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: 0}}": "model.scheduler",
    "--data.batch_size=0": "batch_size",
    "--model.prior.dim=3": "another model",
}


@pytest.mark.parametrize("word", REFUSED)
def test_of_a_finished_run(run, refused, word):
    before = contents(run)
    assert REFUSED[word] in refused("fit", "--resume", str(run), word)
    assert contents(run) == before


def test_a_run_that_made_its_folders_takes_them_away(tmp_path, refused):
    """What is refused only after the run folder was made."""
    words = ["fit", "--config", CONFIG, *QUICK, "--model.optimizer.lr=-1"]
    assert "Invalid learning rate" in refused(*words, f"--runs={tmp_path / 'new' / 'runs'}")
    assert not list(tmp_path.iterdir())
    (tmp_path / "old" / "vae_digits" / "another").mkdir(parents=True)
    assert "Invalid learning rate" in refused(*words, f"--runs={tmp_path / 'old'}")
    assert [path.name for path in tmp_path.glob("*/*/*")] == ["another"]
    (tmp_path / "mine").mkdir()
    assert "Invalid learning rate" in refused(*words, f"--runs={tmp_path / 'mine'}")
    assert not list((tmp_path / "mine").iterdir())


EMPTY = {
    "--monitor=": "monitor is empty: name a metric",
    "--monitor= ": "monitor is empty: name a metric",
    "--wandb=": "wandb",
    "--score=": "score",
    "--checkpoint_every_n_steps=": "checkpoint_every_n_steps",
    "--runs=None": "runs: Expected text, got null",
    "--runs=null": "runs: Expected text, got null",
    "--data={class_path: lit_gen.data.ArrayFile, init_args: {path: None}}": "path",
    "--trainer.callbacks.every_n_epochs=3": "trainer.callbacks is a list",
}


@pytest.mark.parametrize("word", EMPTY)
def test_options_that_say_nothing(refused, tmp_path, monkeypatch, word):
    conf = Path(CONFIG).resolve()
    monkeypatch.chdir(tmp_path)
    assert EMPTY[word] in refused("fit", f"--config={conf}", *QUICK[1:], word)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "says"), [("monitor: ''", "monitor is empty"), ("runs: None", "runs"), ("runs: ''", "runs")]
)
def test_configs_that_say_nothing(refused, tmp_path, monkeypatch, text, says):
    conf = Path(CONFIG).resolve()
    monkeypatch.chdir(tmp_path)
    Path("later.yaml").write_text(text)
    assert says in refused("fit", f"--config={conf}", "--config=later.yaml", *QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["later.yaml"]


def test_with_a_table_that_cannot_be_read(run, refused):
    table = run / "metrics.csv"
    before = table.read_bytes()
    table.write_bytes(b"no table\nat all\n")
    try:
        garbled = contents(run)
        assert "cannot go on in" in refused("fit", "--resume", str(run), "--trainer.max_epochs=3")
        assert contents(run) == garbled
    finally:
        table.write_bytes(before)


@pytest.mark.parametrize("word", ["--model.optimizer.lr=-1", "--stages.two.trainer.max_steps=1"])
def test_of_a_staged_run(staged, refused, word):
    before = contents(staged)
    assert "stage 'two'" in refused("fit", "--resume", str(staged), word)
    assert contents(staged) == before


def test_what_is_accepted_is_recorded(run):
    before = contents(run)
    assert main(["fit", "--resume", str(run), "--checkpoint_every_n_steps=7"]) == 0  # without a step to do
    after = contents(run)
    assert b"checkpoint_every_n_steps: 7" in after["config.yaml"]
    assert b'"checkpoint_every_n_steps": "7"' in after["run.json"]
    assert after["run.json"] != before["run.json"]
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=3"]) == 0
    assert b'"trainer.max_epochs": "3"' in contents(run)["run.json"]


def test_amid_an_epoch_the_record_is_replaced_too(tmp_path, monkeypatch):
    """Lightning does not start an epoch again that was begun before."""
    words = ["--trainer.max_steps=2", "--trainer.limit_train_batches=4", f"--runs={tmp_path}"]
    assert main(["fit", "--config", CONFIG, *QUICK, *words]) == 0
    (run,) = tmp_path.glob("*/*")
    seen = []

    def step(self, *args):
        seen.append((run / "run.json").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(VAE, "training_step", step)
    main(["fit", "--resume", str(run), "--trainer.max_steps=3"])
    assert '"trainer.max_steps": "3"' in seen[0]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
