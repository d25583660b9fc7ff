"""``lit-gen sample --interpolate`` and ``--arithmetic``: the latents are those of samples, and mistakes are told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.cli import walks, whole_checkpoints
from lit_gen.cli.main import main
from lit_gen.cli.sample import load_model
from lit_gen.latent_walks import slerp

SHORT = ["--trainer.max_steps=20", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]
RUNS = {"vae": "vaes/vae_digits", "gan": "gans/gan_digits", "points": "gans/gan_ring"}


def trained(config: str, runs: Path) -> Path:
    assert main(["fit", "--config", f"conf/{config}.yaml", *SHORT, f"--runs={runs}"]) == 0
    (folder,) = runs.glob(f"{Path(config).name}/*")
    return folder


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory) -> Path:
    return trained(RUNS[request.param], tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory) -> Path:
    return trained(RUNS["gan"], tmp_path_factory.mktemp("runs"))


def drawn(run: Path, out: Path, *options: str) -> dict[str, np.ndarray]:
    assert main(["sample", "--ckpt", str(run), "--out", str(out), "--device", "cpu", *options]) == 0
    with np.load(out) as content:
        return dict(content)


@pytest.mark.parametrize("walk", ["lerp", "slerp"])
def test_walks_go_from_sample_to_sample(run, tmp_path, capsys, walk):
    out = tmp_path / "walks.npz"
    batches = ["--seed", "3", "--batch_size", "5"]  # the ends' draws take several batches, and so does the decoding
    samples = drawn(run, out, "--num", "12", *batches)["samples"]
    capsys.readouterr()
    walked = drawn(run, out, "--interpolate", walk, "--steps", "4", "--num", "6", *batches)
    said = capsys.readouterr().out
    assert walked["samples"].shape == (6, 4, *samples.shape[1:])
    np.testing.assert_allclose(walked["samples"][:, 0], samples[0::2], atol=1e-5)
    np.testing.assert_allclose(walked["samples"][:, -1], samples[1::2], atol=1e-5)
    steps = np.diff(walked["samples"].reshape(6, 4, -1).astype(np.float64), axis=1)
    lengths = np.sqrt((steps**2).sum(-1)).sum(1)
    assert lengths.min() > 0
    np.testing.assert_allclose(walked["path_length"], lengths)
    assert all(f"{length:.4g}" in said for length in lengths) and f"({walk}) of 4 steps" in said
    ends = torch.from_numpy(walked["latents"][:, [0, -1]])
    if walk == "slerp":
        expected = slerp(ends[:, 0], ends[:, 1], torch.linspace(0, 1, 4))
    else:
        expected = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * torch.linspace(0, 1, 4)[:, None]
    np.testing.assert_allclose(walked["latents"], expected.numpy(), atol=1e-5)
    with torch.no_grad():
        between = load_model(whole_checkpoints.find(run)).from_latents(expected[:, 1]).numpy()
    np.testing.assert_allclose(walked["samples"][:, 1], between, atol=1e-4)


def test_a_sum_is_of_the_samples_that_were_looked_at(run, tmp_path):
    out = tmp_path / "sum.npz"
    looked_at = ["--num", "7", "--seed", "2", "--batch_size", "3"]
    samples = drawn(run, out, *looked_at)["samples"]
    alone = drawn(run, out, *looked_at, "--arithmetic", "6")
    np.testing.assert_allclose(alone["samples"][0], samples[6], atol=1e-5)
    np.testing.assert_allclose(alone["averages"], samples[6:], atol=1e-5)
    z = [drawn(run, out, *looked_at, "--arithmetic", str(n))["latents"][0] for n in range(7)]
    total = drawn(run, out, *looked_at, "--arithmetic", "0, 1,1 -2,3+ 4")
    expected = (z[0] + 2 * z[1]) / 3 - (z[2] + z[3]) / 2 + z[4]
    np.testing.assert_allclose(total["latents"][0], expected, atol=1e-5)
    apart = np.abs(total["latents"][1:] - expected)
    assert total["samples"].shape == (9, *samples.shape[1:]) and len(total["averages"]) == 3
    assert apart.min() > 0 and 0.1 < apart.max() <= 0.25 + 1e-5
    with torch.no_grad():
        decoded = load_model(whole_checkpoints.find(run)).from_latents(torch.from_numpy(total["latents"])).numpy()
    np.testing.assert_allclose(total["samples"], decoded, atol=1e-4)


def test_a_leading_minus_is_a_sign():
    assert walks.parse("- 1,2+3") == [(-1, [1, 2]), (1, [3])]


def test_pictures_and_folders(run, tmp_path):
    for name, options in {"walk": ["--interpolate", "lerp"], "sum": ["--arithmetic", "0,1,2 - 3"]}.items():
        for out in (tmp_path / f"{name}.png", tmp_path / name):
            if out.suffix == "" and run.parent.name == "gan_ring":
                continue
            assert main(["sample", "--ckpt", str(run), "--num", "5", "--out", str(out), *options]) == 0
        assert Image.open(tmp_path / f"{name}.png").size[0] > 100
    if run.parent.name != "gan_ring":
        cell = 64 + 4
        for name, columns in (("walk", 8), ("sum", 4)):
            width, height = Image.open(tmp_path / f"{name}.png").size
            assert width > columns * cell and height > 5 * cell, "the grid, its labels and a title"
        plain = tmp_path / "plain.png"
        scaled = ["--scale", "2", "--interpolate", "lerp", "--num", "5"]
        assert main(["sample", "--ckpt", str(run), "--out", str(plain), *scaled]) == 0
        assert Image.open(plain).size[1] < 5 * cell
        assert len(list((tmp_path / "walk").iterdir())) == 40 and len(list((tmp_path / "sum").iterdir())) == 9


def test_the_sum_stands_amid_its_variations():
    """Cells are told apart by their brightness."""
    members = [torch.full((2, 1, 32, 32), 0.1), torch.full((1, 1, 32, 32), 0.2)]
    averages = torch.tensor([0.3, 0.4]).view(2, 1, 1, 1).expand(2, 1, 32, 32)
    samples = torch.cat([torch.zeros(1), torch.linspace(0.5, 0.9, 8)]).view(9, 1, 1, 1).expand(9, 1, 32, 32)
    cells = np.asarray(walks.sum_picture(members, averages, samples))[34::68, 34::68] / 255
    around = np.linspace(0.5, 0.9, 8)
    block = [around[:3], [around[3], 0, around[4]], around[5:]]
    np.testing.assert_allclose(cells, [[0.1, 0.1, 0.3], [0.2, 1, 0.4], *block], atol=0.003)


def test_mistakes_are_told_in_one_line(digits_run, tmp_path, capsys):
    without = trained("autoregressive/made_digits", tmp_path / "runs")
    capsys.readouterr()
    for where, options, told in [
        (without, ["--interpolate", "lerp"], "--interpolate needs a model whose samples are a function of latents"),
        (without, ["--arithmetic", "0"], "--arithmetic needs a model whose samples are a function of latents"),
        (digits_run, ["--interpolate", "lerp", "--steps", "1"], "--steps must be at least 2"),
        (digits_run, ["--interpolate", "nlerp"], "invalid choice: 'nlerp'"),
        (digits_run, ["--interpolate", "lerp", "--num", "0"], "must be at least 1, not 0"),
        (digits_run, ["--interpolate", "lerp", "--label", "3"], "--label doesn't go with it"),
        (digits_run, ["--arithmetic", "0", "--naive"], "--naive doesn't go with it"),
        (digits_run, ["--steps", "3"], "ask for one with --interpolate"),
        (digits_run, ["--interpolate", "lerp", "--arithmetic", "0"], "ask for one of them"),
        (digits_run, ["--arithmetic", "0 + 64"], "no sample 64 among --num=64, which are 0 to 63"),
        (digits_run, ["--arithmetic", "3", "--num", "3"], "no sample 3 among --num=3"),
        *(
            (digits_run, [f"--arithmetic={text}"], "is no sum of samples")
            for text in ("", "0,,1", "0 -", "a", "1 2", "1--2")
        ),
    ]:
        assert main(["sample", "--ckpt", str(where), "--out", str(tmp_path / "never.png"), *options]) == 2, options
        error = capsys.readouterr().err.strip()
        assert told in error and "\n" not in error
    assert not (tmp_path / "never.png").exists()
