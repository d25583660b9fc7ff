"""Mistakes in a game's config: one clear line, exit status 2, no traceback, no run folder."""

import json

import pytest

from lit_gen.cli.main import main

SHORT = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]
RING, DIGITS = "gan_ring", "gan_digits"
TEN = "lit_gen.networks.MLPDiscriminator"


def virtual(num_reference):
    inner = {"in_shape": [2], "hidden_dims": [8], "norm": "lit_gen.networks.layers.VirtualBatchNorm"}
    network = {"class_path": TEN, "init_args": inner}
    part = {"class_path": "lit_gen.networks.ReferenceBatch"}
    part["init_args"] = {"network": network, "num_reference": num_reference}
    return f"--model.discriminator={json.dumps(part)}"


def penalty(name, **arguments):
    return (
        f"--model.regularizers={json.dumps([{'class_path': f'lit_gen.regularizers.{name}', 'init_args': arguments}])}"
    )


MISTAKES = {
    "smoothing": (RING, ["--model.objective.real_smoothing=1.0"], "real_smoothing must be in [0, 1), got 1.0"),
    "negative smoothing": (
        RING,
        ["--model.objective.fake_smoothing=-0.1"],
        "fake_smoothing must be in [0, 1), got -0.1",
    ),
    "penalty": (
        RING,
        ["--model.discriminator=tests.cli.once_differentiable.OnceDifferentiable", penalty("R1")],
        "R1 needs a discriminator that is differentiable twice, which a OnceDifferentiable is not",
    ),
    "reference": (
        RING,
        [virtual(5000), "--data.num_train=4000"],
        "a reference batch of 5000 examples is larger than the training split, which holds 4000",
    ),
    "reference of a part of a batch": (
        RING,
        [virtual(3900), "--data.num_train=4000"],
        "a reference batch of 3900 examples is larger than the training split's whole batches of 256, which hold 3840",
    ),
    "steps looked through": (
        "unrolled_ring",
        ["--model.discriminator=tests.cli.once_differentiable.OnceDifferentiable"],
        "UnrolledGAN needs a discriminator that is differentiable twice, which a OnceDifferentiable is not",
    ),
    "no autoencoder": (
        RING,
        ["--model.objective=lit_gen.objectives.EnergyBased"],
        "EnergyBased plays with a discriminator that is an autoencoder",
    ),
    "image size": (DIGITS, ["--data.image_shape=[1,24,24]"], "DCGANGenerator works on square images"),
    "large image": (DIGITS, ["--data.image_shape=[1,256,256]"], "DCGANGenerator works on square images"),
    "features": (
        RING,
        [
            "--model.discriminator={class_path: lit_gen.networks.MLP, "
            "init_args: {in_shape: 2, out_shape: [], hidden_dims: [8]}}",
            penalty("FeatureMatching"),
        ],
        "FeatureMatching needs a discriminator with features",
    ),
    "divergence": (
        RING,
        [
            "--model.objective={class_path: lit_gen.objectives.FDivergence, init_args: {divergence: "
            "{class_path: lit_gen.objectives.Alpha, init_args: {alpha: 1.0}}}}"
        ],
        "Alpha's alpha must not be 0 or 1",
    ),
    "weight": (RING, [penalty("GradientPenalty", weight=-1.0)], "GradientPenalty's weight must not be negative"),
    "packs": (
        RING,
        [
            "--model.discriminator={class_path: lit_gen.networks.Packed, init_args: {num_packed: 3, network: "
            "{class_path: lit_gen.networks.MLP, init_args: {in_shape: 6, out_shape: [], hidden_dims: [8]}}}}"
        ],
        "does not fall into packs of 3",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_refused_in_one_line(name, tmp_path, capsys):
    config, arguments, expected = MISTAKES[name]
    fit = ["fit", "--config", f"conf/gans/{config}.yaml", *SHORT, f"--runs={tmp_path / 'runs'}"]
    assert main([*fit, *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("lit-gen: error: ")
    assert expected in told
    assert "\n" not in told
    if name != "packs":  # what is wrong with the batch is seen at the first one
        assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"


def test_unrolling_needs_steps_that_can_be_differentiated(tmp_path, capsys):
    arguments = ["fit", "--config", "conf/gans/unrolled_ring.yaml", *SHORT, f"--runs={tmp_path / 'runs'}"]
    assert main([*arguments, "--model.discriminator_optimizer=torch.optim.LBFGS"]) == 2
    assert "LBFGS's steps cannot be differentiated" in capsys.readouterr().err
