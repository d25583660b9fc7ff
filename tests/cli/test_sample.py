"""``lit-gen sample`` of models that draw cell by cell: the reference sampler, completion, classes, and mistakes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lit_gen.cli.main import main
from lit_gen.cli.sample import background_of, image_at
from lit_gen.data.digits import Digits
from lit_gen.data.image_folder import ImageFolder

SHORT = ["--trainer.max_steps=20", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]


SMALL = {
    "gated_pixelcnn_cifar10": ["--model.network.channels=6", "--model.network.num_layers=2"],
    "pixelcnnpp_small_cifar10": ["--model.network.num_filters=8"],
}


def trained(config: str, runs: Path, *options: str) -> Path:
    assert main(["fit", "--config", f"conf/{config}.yaml", *SHORT, *options, f"--runs={runs}"]) == 0
    (folder,) = runs.glob(f"{Path(config).name}/*")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return trained("autoregressive/gated_pixelcnn_digits", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run_of_classes(tmp_path_factory) -> Path:
    return trained("autoregressive/gated_pixelcnn_class_digits", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run_of_levels(tmp_path_factory) -> Path:
    """Of 17 levels."""
    return trained("autoregressive/pixelcnnpp_digits", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module", params=SMALL)
def run_of_eight_bits(request, tmp_path_factory) -> Path:
    """Of small colour images of 256 levels."""
    folder = tmp_path_factory.mktemp("eight_bits")
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", x=images)
    data = ["--data=lit_gen.data.ArrayFile", f"--data.path={folder / 'images.npz'}", "--data.image_shape=[3,5,4]"]
    return trained(f"autoregressive/{request.param}", folder, *SMALL[request.param], *data, "--data.num_validation=10")


@pytest.fixture(scope="module")
def vae_run(tmp_path_factory) -> Path:
    return trained("vaes/vae_digits", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def digit() -> torch.Tensor:
    """(8, 8) uint8."""
    data = Digits()
    return (next(iter(data.test_dataloader())).x[0, 0] * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def picture(tmp_path_factory, digit) -> Path:
    path = tmp_path_factory.mktemp("picture") / "digit.png"
    Image.fromarray(digit.numpy()).save(path)
    return path


def samples(run: Path, out: Path, *options: str) -> np.ndarray:
    assert main(["sample", "--ckpt", str(run), "--num", "6", "--out", str(out), *options]) == 0
    with np.load(out) as content:
        return content["samples"]


def test_the_reference_draws_the_same(run, tmp_path):
    cached, naive = (samples(run, tmp_path / "samples.npz", *options) for options in ([], ["--naive"]))
    assert cached.std() > 0
    np.testing.assert_array_equal(cached, naive)
    assert not np.array_equal(cached, samples(run, tmp_path / "samples.npz", "--seed", "1"))


def test_samples_of_levels_are_levels(run_of_levels, tmp_path):
    drawn = samples(run_of_levels, tmp_path / "samples.npz") * 16
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-5)
    assert len(np.unique(np.round(drawn))) > 2


def test_of_eight_bits_every_value_is_one_of_the_256_levels_exactly(run_of_eight_bits, tmp_path):
    drawn, naive = (samples(run_of_eight_bits, tmp_path / "samples.npz", *options) for options in ([], ["--naive"]))
    assert drawn.shape == (6, 3, 5, 4) and drawn.dtype == np.float32
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    assert np.isin(drawn, levels).all()
    assert len(np.unique(drawn)) > 100
    np.testing.assert_array_equal(drawn, naive)


@pytest.mark.parametrize("rows", [None, 0, 3, 8])
def test_a_picture_is_completed(run, picture, digit, tmp_path, rows):
    options = [] if rows is None else ["--rows", str(rows)]
    drawn = samples(run, tmp_path / "samples.npz", "--given", str(picture), *options)
    kept = 4 if rows is None else rows
    white = (digit.numpy() >= 128).astype(np.float32)
    assert (drawn[:, 0, :kept] == white[:kept]).all()
    assert kept == 8 or drawn[:, 0, kept:].std(0).sum() > 0


def test_a_given_picture_is_read_as_pictures_in_folders_are(run, tmp_path, monkeypatch, capsys):
    """Turned upright, and with the background of the run's data behind what is transparent."""
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 2), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    (tmp_path / "own").mkdir()
    for name in ("0", "1"):
        Image.fromarray(pixels, "LA").save(tmp_path / "own" / f"{name}.png", exif=exif)
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    for background in ("white", "black"):
        options = {"path": str(tmp_path / "own"), "background": background}
        data = ImageFolder(image_shape=(1, 8, 8), test_fraction=0.5, **options)
        config = yaml.safe_load(checkpoint["lit_gen_config"])
        config["data"] = {"class_path": "lit_gen.data.ImageFolder", "init_args": options}
        torch.save({**checkpoint, "lit_gen_config": yaml.safe_dump(config)}, tmp_path / f"{background}.ckpt")
        assert background_of(tmp_path / f"{background}.ckpt") == background
        x = image_at(tmp_path / "own" / "0.png", (1, 8, 8), background)
        assert torch.equal(x, next(iter(data.reference_loader("test"))).x[0])
        assert f"transparency laid over {background} in 1 of 1 pictures (0.png)" in capsys.readouterr().out
    assert background_of(run / "checkpoints" / "last.ckpt") == "white"


def test_a_completion_makes_a_grid(run, picture, tmp_path):
    out = tmp_path / "grid.png"
    assert main(["sample", "--ckpt", str(run), "--num", "4", "--given", str(picture), "--out", str(out)]) == 0
    assert Image.open(out).size[0] > 8


def test_a_class_is_asked_for(run_of_classes, picture, tmp_path):
    first, second = (samples(run_of_classes, tmp_path / "samples.npz", "--label", label) for label in "12")
    assert not np.array_equal(first, second)
    assert samples(run_of_classes, tmp_path / "samples.npz", "--label", "1", "--given", str(picture)).shape[0] == 6


@pytest.mark.parametrize("options", [[], ["--label", "7"]], ids=["every class", "one class"])
def test_the_reference_draws_the_same_of_classes(run_of_classes, tmp_path, options):
    cached, naive = (samples(run_of_classes, tmp_path / "s.npz", *options, *how) for how in ([], ["--naive"]))
    assert cached.std() > 0
    np.testing.assert_array_equal(cached, naive)


def test_mistakes_are_told_in_one_line(run, run_of_classes, vae_run, picture, tmp_path, capsys):
    small, text = tmp_path / "small.png", tmp_path / "text.png"
    Image.new("L", (7, 8)).save(small)
    text.write_text("not a picture")
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "mask.png")
    for where, options, told in [
        (run, ["--given", str(small)], "7 x 8 pixels, but this model's images are 8 x 8"),
        (run, ["--given", str(tmp_path / "none.png")], "cannot be read as an image"),
        (run, ["--given", str(text)], "cannot be read as an image"),
        (run, ["--given", str(tmp_path / "deep.png")], "more than 8 bits a channel (I;16): convert it to 8 bits."),
        (run, ["--given", str(tmp_path / "mask.png")], "no value above 1, where 255 is white: multiply its values"),
        (run, ["--given", str(picture), "--rows", "9"], "8 rows can't have 9 of them given"),
        (run, ["--rows", "3"], "name it with --given"),
        (run, ["--label", "3"], "conditioned on none"),
        (run_of_classes, ["--given", str(picture)], "name that of the picture with --label"),
        (run_of_classes, ["--label", "10"], "its classes are 0 to 9"),
        (vae_run, ["--naive"], "for models that draw pixel by pixel; VAE does not"),
        (vae_run, ["--given", str(picture)], "for models that draw pixel by pixel; VAE does not"),
    ]:
        assert main(["sample", "--ckpt", str(where), "--out", str(tmp_path / "never.png"), *options]) == 2
        error = capsys.readouterr().err.strip()
        assert told in error
        assert "\n" not in error
    assert not (tmp_path / "never.png").exists()
