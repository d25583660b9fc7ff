"""A damaged last.ckpt or best.ckpt is no dead end while the other is whole: that is used, and the screen says why."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from lit_gen.cli import whole_checkpoints
from lit_gen.cli.main import main

CONFIG = "conf/vaes/vae_digits.yaml"
FIT = ["fit", "--config", CONFIG, "--wandb=false", "--trainer.callbacks=[]", "--data.batch_size=128"]


def cut(share: float):
    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def cut_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def with_hole(path: Path) -> None:
    """As a power cut leaves it: the length is right, some blocks never reached the disk."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "one byte": (lambda path: path.write_bytes(b"P"), "is cut off or damaged"),
    "one per cent": (cut(0.01), "is cut off or damaged"),
    "half": (cut(0.5), "is cut off or damaged"),
    "but for the last byte": (cut_last_byte, "is cut off or damaged"),
    "a hole": (with_hole, "is damaged"),
    "zeros": (lambda path: path.write_bytes(bytes(path.stat().st_size)), "is cut off or damaged"),
    "text": (lambda path: path.write_text("not a checkpoint"), "is cut off or damaged"),
    "missing": (Path.unlink, "is missing"),
    "a folder": (replaced_by_folder, "is a folder"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run with a checkpoint of each kind, after two epochs."""
    runs = tmp_path_factory.mktemp("runs")
    assert main([*FIT, f"--runs={runs}", "--trainer.max_epochs=2"]) == 0
    (folder,) = runs.glob("*/*")
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "vae_digits" / "run"))


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize("how", DAMAGE)
def test_the_whole_one_is_taken_and_it_is_said_why(how, name, run, capsys):
    damage, what = DAMAGE[how]
    damage(run / "checkpoints" / name)
    other = "best.ckpt" if name == "last.ckpt" else "last.ckpt"
    assert whole_checkpoints.choose(run, prefer=name).name == other
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{name} {what}: {other} is used instead" in told
    assert whole_checkpoints.choose(run, prefer=other).name == other
    assert capsys.readouterr().err == "", "of one that nobody asked for nothing is said"


@pytest.mark.parametrize("how", ["half", "missing"])
def test_resuming_goes_on_from_the_best_where_the_last_is_damaged(how, run, capsys):
    best, last = run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt"
    DAMAGE[how][0](last)
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=3"]) == 0
    assert f"last.ckpt {DAMAGE[how][1]}: best.ckpt is used instead" in capsys.readouterr().err
    assert step_of(last) == 24
    assert whole_checkpoints.damage_of(best) is whole_checkpoints.damage_of(last) is None
    assert json.loads((run / "summary.json").read_text())["steps"] == 24


@pytest.mark.parametrize("how", ["half", "a folder"])
def test_a_damaged_best_is_written_anew_by_a_resumed_run(how, run):
    best = run / "checkpoints" / "best.ckpt"
    DAMAGE[how][0](best)
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=3"]) == 0
    assert whole_checkpoints.damage_of(best) is None
    assert step_of(best) == 24


@pytest.mark.parametrize("verb", ["test", "validate", "predict", "sample"])
def test_other_verbs_take_the_last_where_the_best_is_damaged(verb, run, tmp_path, capsys):
    DAMAGE["half"][0](run / "checkpoints" / "best.ckpt")
    words = [verb, "--config", str(run / "config.yaml"), f"--ckpt_path={run}", f"--runs={tmp_path / 'runs'}"]
    if verb == "sample":
        words = ["sample", "--ckpt", str(run), "--num", "1", "--out", str(tmp_path / "one.png")]
    assert main(words) == 0
    assert "best.ckpt is cut off or damaged: last.ckpt is used instead" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["last", "best"])
def test_ckpt_path_last_and_best(asked, run, tmp_path, capsys):
    DAMAGE["missing"][0](run / "checkpoints" / f"{asked}.ckpt")
    assert main([*FIT, f"--runs={tmp_path}", f"--ckpt_path={asked}", "--trainer.max_epochs=3"]) == 0
    assert f"{asked}.ckpt is missing" in capsys.readouterr().err


def test_the_test_after_fit(run, monkeypatch, capsys):
    from lit_gen.cli import one_run

    test = one_run._test_best

    def after_a_crash_of_the_disk(cli):
        DAMAGE["half"][0](run / "checkpoints" / "best.ckpt")
        return test(cli)

    monkeypatch.setattr(one_run, "_test_best", after_a_crash_of_the_disk)
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=3"]) == 0
    assert "best.ckpt is cut off or damaged: last.ckpt is used instead" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["empty", "half", "a hole", "a folder"])
@pytest.mark.parametrize("verb", ["fit", "sample"])
def test_where_none_is_whole_it_says_so(verb, how, run, refused):
    DAMAGE[how][0](run / "checkpoints" / "last.ckpt")
    DAMAGE["one byte"][0](run / "checkpoints" / "best.ckpt")
    before = sorted(path for path in run.rglob("*"))
    told = refused(*(["fit", "--resume", str(run)] if verb == "fit" else ["sample", "--ckpt", str(run)]))
    assert "there is no whole checkpoint in" in told
    assert f"last.ckpt {DAMAGE[how][1]}" in told
    assert "best.ckpt is cut off or damaged" in told
    assert sorted(path for path in run.rglob("*")) == before


def test_none_of_either(run, refused):
    for name in ("last.ckpt", "best.ckpt"):
        (run / "checkpoints" / name).unlink()
    assert "there is no checkpoint in" in refused("fit", "--resume", str(run))


def test_a_file_that_is_named_itself_is_no_other(run, refused, tmp_path):
    DAMAGE["half"][0](run / "checkpoints" / "last.ckpt")
    path = run / "checkpoints" / "last.ckpt"
    told = refused(*FIT, f"--runs={tmp_path / 'runs'}", f"--ckpt_path={path}")
    assert "last.ckpt is cut off or damaged; best.ckpt beside it is whole" in told


def test_a_folder_with_something_in_it_is_not_written_over(run, refused):
    replaced_by_folder(run / "checkpoints" / "last.ckpt")
    (run / "checkpoints" / "last.ckpt" / "mine.txt").write_text("mine")
    told = refused("fit", "--resume", str(run), "--trainer.max_epochs=3")
    assert "last.ckpt is a folder, where a checkpoint is to be written: move it away" in told
    assert (run / "checkpoints" / "last.ckpt" / "mine.txt").read_text() == "mine"


STAGED = """
data: {class_path: lit_gen.data.Digits, init_args: {image_shape: [1, 8, 8], batch_size: 128}}
trainer: {max_epochs: 1, callbacks: []}
monitor: val/loss
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


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Path:
    """A finished run of two stages."""
    folder = tmp_path_factory.mktemp("staged")
    (folder / "staged.yaml").write_text(STAGED)
    assert main(["fit", "--config", str(folder / "staged.yaml"), "--wandb=false", f"--runs={folder / 'runs'}"]) == 0
    (run,) = folder.glob("runs/*/*")
    return run


@pytest.mark.parametrize(("stage", "name"), [("1_one", "best.ckpt"), ("2_two", "last.ckpt")])
def test_a_staged_run_goes_on_with_the_whole_one(stage, name, staged, tmp_path, capsys):
    run = Path(shutil.copytree(staged, tmp_path / "run"))
    DAMAGE["half"][0](run / "stages" / stage / "checkpoints" / name)
    if stage == "1_one":
        shutil.rmtree(run / "stages" / "2_two")
    assert main(["fit", "--resume", str(run), "--stages.two.trainer.max_epochs=2"]) == 0
    told = capsys.readouterr()
    assert f"{name} is cut off or damaged" in told.err
    assert "stage 1 of 2, one: finished before" in told.out
    assert step_of(run / "stages" / "2_two" / "checkpoints" / "last.ckpt") == 16


def test_a_staged_run_with_no_whole_one_names_the_stage(staged, tmp_path, refused):
    run = Path(shutil.copytree(staged, tmp_path / "run"))
    for name in ("last.ckpt", "best.ckpt"):
        DAMAGE["half"][0](run / "stages" / "2_two" / "checkpoints" / name)
    told = refused("fit", "--resume", str(run), "--stages.two.trainer.max_epochs=2")
    assert "stage 'two': there is no whole checkpoint in" in told
