"""Mistakes in what ``lit-gen sample`` is asked for: one line, and nothing written."""

from pathlib import Path

import pytest
from PIL import Image

from lit_gen.cli import sample_progress
from lit_gen.cli.main import main

SHORT = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]


def trained(config: str, runs: Path) -> Path:
    assert main(["fit", "--config", f"conf/{config}.yaml", *SHORT, f"--runs={runs}"]) == 0
    (folder,) = runs.glob(f"{Path(config).name}/*")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    return trained("vaes/vae_digits", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def ring(tmp_path_factory) -> Path:
    return trained("gans/gan_ring", tmp_path_factory.mktemp("runs"))


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with a file, a folder of samples, and a folder that is called as a picture is."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "full" / "000000.png")
    (tmp_path / "grid.png").mkdir()
    return tmp_path


def test_a_checkpoint_is_named_by_the_other_verbs_option_too(capsys):
    for words, told in ((["--ckpt_path=nowhere"], "there is no checkpoint nowhere"), ([], "--ckpt/--ckpt_path")):
        assert main(["sample", *words]) == 2
        assert told in capsys.readouterr().err


def entries(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


OPTIONS = {
    "a folder that isn't empty": (["--out", "full"], "full: the folder isn't empty, it holds 000000.png; name another"),
    "the same with a slash": (["--out", "full/"], "replaced with --overwrite"),
    "where one stands": (["--out", "."], "the folder isn't empty, it holds file, full and 1 more"),
    "a file in place of a folder": (["--out", "file"], "there is a file of that name, so it can't be a folder"),
    "a folder in place of a picture": (["--out", "grid.png"], "there is a folder of that name"),
    "a device": (["--out", "/dev/full/"], "there is a file of that name"),
    "below a file": (["--out", "file/new/samples.npz"], "file is a file, not a folder"),
    "no name": (["--out", ""], "--out='' names no file"),
    "a name with a zero byte": (["--out", "a\0b.png"], "names no file"),
    "a name that is too long": (["--out", "x" * 300], "File name too long"),
    "an unknown kind": (["--out", "samples.gif"], "a picture (.png, .jpg), an .npz, or a folder/, not .gif"),
    "no scale": (["--scale", "0"], "--scale must be at least 1, the samples' own pixels, not 0"),
    "a negative scale": (["--scale=-3"], "--scale must be at least 1"),
    "half a scale": (["--scale", "0.5"], "argument --scale: invalid int value: '0.5'"),
    "a scale of arrays": (["--scale", "2", "--out", "samples.npz"], "an .npz holds the samples as they are"),
    "no samples": (["--num", "0"], "--num and --batch_size must be at least 1, not 0"),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_mistakes_in_the_options_are_found_before_the_model_is_looked_at(refused, place, monkeypatch, what):
    options, message = OPTIONS[what]
    monkeypatch.chdir(place)
    before = entries(place)
    assert message in refused("sample", "--ckpt", "nowhere", *options)
    assert entries(place) == before


MODELS = {
    "a grid no viewer opens": (
        "digits",
        ["--num", "1000000000"],
        "144,000 million pixels; viewers open 80 million",
    ),
    "a scale no viewer opens": ("digits", ["--scale", "5000"], "million pixels"),
    "a folder of pictures no viewer opens": ("digits", ["--scale", "5000", "--out", "new/"], "million pixels"),
    "more files than there can be": ("digits", ["--num", "1" + "0" * 15, "--out", "new/"], "ask for fewer samples"),
    "an array larger than the disk": (
        "digits",
        ["--num", "1" + "0" * 15, "--out", "new.npz"],
        "are free there",
    ),
    "more points than can be seen": ("ring", ["--num", "1000000000"], "at most 1,000,000 can be drawn"),
    "a folder of points": (
        "ring",
        ["--out", "new/"],
        "no grey or RGB images: a folder holds",
    ),
    "points enlarged": ("ring", ["--scale", "2"], "samples of shape (2,) are no grey or RGB images"),
    "walks beyond the memory": ("digits", ["--num", "1000000000", "--interpolate", "lerp"], "of memory, and there are"),
    "steps beyond the memory": (
        "digits",
        ["--steps", "1000000000", "--interpolate", "lerp"],
        "--num=8 and --steps=1000000000 needs",
    ),
    "sums beyond the memory": ("digits", ["--num", "1" + "0" * 12, "--arithmetic", "0"], "of memory, and there are"),
}


@pytest.mark.parametrize("what", MODELS)
def test_what_cannot_be_made_of_the_model_is_said_and_nothing_left(refused, request, tmp_path, monkeypatch, what):
    model, options, message = MODELS[what]
    run = request.getfixturevalue(model)
    monkeypatch.chdir(tmp_path)
    told = refused("sample", "--ckpt", str(run), "--device", "cpu", *options)
    assert message in told
    assert entries(tmp_path) == {}


def test_a_picture_larger_than_the_memory(refused, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_progress, "_memory", lambda: 10**6)
    told = refused("sample", "--ckpt", str(digits), "--num", "5000", "--out", str(tmp_path / "new.png"))
    assert "--num=5000: a picture of so many needs 3.84 MB of memory, and there are 1 MB; ask for a folder/" in told
    assert entries(tmp_path) == {}


def test_a_batch_larger_than_the_memory(refused, digits, tmp_path):
    many = str(10**13)
    told = refused("sample", "--ckpt", str(digits), "--num", many, "--batch_size", many, "--out", f"{tmp_path}/new.npz")
    assert f"--batch_size={many}: no memory to draw 10,000,000,000,000 at a time; lower it" in told
    assert entries(tmp_path) == {}
