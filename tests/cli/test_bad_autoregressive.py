"""Mistakes in an autoregressive model's config: one clear line, exit status 2, no traceback, no run folder."""

import pytest

from lit_gen.cli.main import main

SHORT = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]

PIXELCNN, CLASSES = "pixelcnn_digits", "gated_pixelcnn_class_digits"
PLUSPLUS, MIXTURE = "pixelcnnpp_digits", "lit_gen.distributions.PixelLogisticMixtureHead"
MISTAKES = {
    "sees nothing": (
        PIXELCNN,
        ["--model.network.first_kernel_size=1"],
        "first_kernel_size is an odd number from 3, not 1",
    ),
    "even kernel": (PIXELCNN, ["--model.network.kernel_size=4"], "odd"),
    "grey data": (PIXELCNN, ["--data.binarization=none"], "BernoulliHead is a likelihood of the 2 levels k/1"),
    "other levels": (PLUSPLUS, ["--model.likelihood.num_levels=16"], "a likelihood of the 16 levels k/15"),
    "parameters": (PIXELCNN, [f"--model.likelihood={MIXTURE}"], "give the network before it params_per_output 100"),
    "image size": (PIXELCNN, ["--model.network.event_shape=[1,9,8]"], "inputs of shape (1, 9, 8)"),
    "classes alone": (PIXELCNN, ["--model.network.num_classes=10"], "is conditioned on classes: take ClassConditional"),
    "few classes": (CLASSES, ["--model.network.num_classes=9"], "the data have 10 classes, but the network knows 9"),
    "average": (PIXELCNN, ["--model.ema_decay=1.5"], "ema_decay must be in [0, 1) or null, got 1.5"),
    "no order": (
        PIXELCNN,
        ["--model.network={class_path: lit_gen.networks.MLP, init_args: {in_shape: 4, out_shape: 4, hidden_dims: []}}"],
        "a MLP keeps to no order of cells",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_refused_in_one_line(name, tmp_path, capsys):
    config, arguments, expected = MISTAKES[name]
    fit = ["fit", "--config", f"conf/autoregressive/{config}.yaml", *SHORT, f"--runs={tmp_path / 'runs'}"]
    assert main([*fit, *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("lit-gen: error: ")
    assert expected in told
    assert "\n" not in told
    assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"
