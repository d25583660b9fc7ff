"""Precisions: what there is trains and is scored in it throughout; the rest is refused before anything is built."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lit_gen.cli import precision
from lit_gen.cli.main import main
from lit_gen.data import Digits, Ring

FAMILIES = [
    "vaes/vae_digits",
    "vaes/cvae_gan_digits",
    "vaes/vae_iaf_digits",
    "gans/gan_ring",
    "gans/gan_digits",
    "autoregressive/made_digits",
    "autoregressive/pixelcnn_digits",
    "energy/rbm_digits",
    "autoencoders/deep_digits",
    "autoencoders/pca_digits",
]
TWO = [f"--trainer.limit_{split}_batches=2" for split in ("train", "val", "test")] + ["--wandb=false"]
DOUBLE = "--trainer.precision=64-true"


def few_samples(name: str) -> str:
    """The config's callbacks, with samples and chains enough to be measured at all, and one that looks at types."""
    callbacks = yaml.safe_load(Path(f"conf/{name}.yaml").read_text())["trainer"].get("callbacks", [])
    for callback in callbacks:
        given = callback.get("init_args", {})
        for key in ("num_samples", "num_chains", "num_temperatures"):
            if key in given:
                given[key] = min(given[key], 20)
    callbacks.append({"class_path": "tests.cli.odd_parts.OnlyDoubles"})
    return f"--trainer.callbacks={json.dumps(callbacks)}"


def fit(tmp_path, name: str, *arguments: str) -> list[str]:
    return ["fit", "--config", f"conf/{name}.yaml", *TWO, f"--runs={tmp_path}", *arguments]


@pytest.mark.parametrize("name", FAMILIES)
def test_all_of_a_run_in_double_precision(tmp_path, name):
    assert main(fit(tmp_path, name, DOUBLE, "--trainer.max_epochs=1", few_samples(name))) == 0
    assert torch.get_default_dtype() == torch.float32
    (run,) = tmp_path.glob("*/*")
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"].values()
    assert {value.dtype for value in weights if value.is_floating_point()} <= {torch.float64}
    figures = json.loads((run / "summary.json").read_text())["figures"]
    assert figures and all(math.isfinite(value) for value in figures.values())
    again = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run), f"--runs={tmp_path / 'again'}"]
    assert main(again) == 0
    (test,) = (tmp_path / "again").glob("*/*")
    found = json.loads((test / "summary.json").read_text())["figures"]
    both = found.keys() & figures.keys()  # a fit on few batches scores fewer examples, and says so in the names
    assert any(name != "test/loss" for name in both)
    assert {name: found[name] for name in both} == pytest.approx({name: figures[name] for name in both}, rel=1e-12)


@pytest.mark.parametrize("name", ["vaes/vae_digits", "gans/gan_ring", "autoregressive/made_digits"])
def test_a_double_run_is_gone_on_with_and_sampled(tmp_path, name):
    assert main(fit(tmp_path / "runs", name, DOUBLE, "--trainer.max_epochs=1", "--trainer.callbacks=[]")) == 0
    (run,) = (tmp_path / "runs").glob("*/*")
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=2"]) == 0
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    out = tmp_path / "samples.npz"
    assert main(["sample", "--ckpt", str(run), "--num", "3", "--out", str(out)]) == 0
    assert np.isfinite(np.load(out)["samples"]).all()
    assert torch.get_default_dtype() == torch.float32


def test_stages_in_double_precision(tmp_path):
    name = "classifiers/few_labels_digits"
    assert main(fit(tmp_path, name, DOUBLE, "--trainer.fast_dev_run=2")) == 0


def test_data_are_the_same_in_any_precision():
    def first(data):
        return next(iter(data.reference_loader("train"))).x

    makers = [lambda: Digits(image_shape=[1, 8, 8]), lambda: Ring()]
    single = [first(make()) for make in makers]
    torch.set_default_dtype(torch.float64)
    try:
        double = [first(make()) for make in makers]
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, wider in zip(single, double, strict=True):
        assert (ours.dtype, wider.dtype) == (torch.float32, torch.float64)
        assert torch.equal(ours, wider.float())


@pytest.mark.parametrize("name", ["vaes/vae_digits", "gans/gan_ring", "autoregressive/made_digits"])
def test_mixed_precision_on_a_cpu(tmp_path, name):
    assert main(fit(tmp_path, name, "--trainer.precision=bf16-mixed", "--trainer.fast_dev_run=2")) == 0


REFUSED = {
    "bf16-true": "trainer.precision=bf16-true would keep the weights themselves in 16 bits",
    "16-true": "trainer.precision=16-true would keep the weights themselves in 16 bits",
    "transformer-engine": "trainer.precision=transformer-engine replaces layers",
    "transformer-engine-float16": "trainer.precision=transformer-engine-float16 replaces layers",
    "nonsense": "trainer.precision",
}


@pytest.mark.parametrize("asked", REFUSED)
@pytest.mark.parametrize("name", ["vaes/vae_digits", "autoencoders/pca_digits", "energy/rbm_digits"])
def test_precision_that_there_is_not(refused_fit, asked, name):
    told = refused_fit(f"--trainer.precision={asked}", config=f"conf/{name}.yaml")
    assert REFUSED[asked] in told
    assert "bf16-mixed" in told, "what to take instead"
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("asked", ["16-mixed", "16"])
def test_half_precision_needs_a_gpu(refused_fit, asked):
    """Lightning would take bfloat16 in its place, and say so in a warning alone."""
    told = refused_fit(f"--trainer.precision={asked}", "--trainer.accelerator=cpu")
    assert f"trainer.precision={asked} needs a GPU, and this run is on a CPU; take bf16-mixed or 32-true" in told


@pytest.mark.parametrize(
    ("asked", "name"),
    [(None, "32-true"), (32, "32-true"), ("64", "64-true"), ("bf16", "bf16-mixed"), ("16-true", "16-true")],
)
def test_names(asked, name):
    assert precision.full_name(asked) == name
