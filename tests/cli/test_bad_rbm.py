"""Mistakes in an RBM's config: one clear line, exit status 2, no traceback, no run folder."""

import pytest

from lit_gen.cli.main import main

SHORT = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]

MISTAKES = {
    "no_steps": (["--model.num_gibbs_steps=0"], "an RBM's num_gibbs_steps must be at least 1, got 0"),
    "no_chains": (["--model.num_chains=0"], "an RBM's num_chains must be at least 1, got 0"),
    "no_units": (["--model.hidden.shape=0"], "must be at least 1, got"),
    "momentum": (["--model.momentum.before=1.5"], "a momentum must be in [0, 1), got 1.5 and 0.9"),
    "momentum_of_adam": (["--model.optimizer=torch.optim.Adam"], "take torch.optim.SGD, or momentum: null"),
    "units_of_another_shape": (["--model.visible.shape=[1,4,4]"], "but the data's examples have shape (1, 8, 8)"),
    "weights_in_half": (["--trainer.precision=bf16-true"], "trainer.precision=bf16-true would keep the weights"),
    "clipping": (["--trainer.gradient_clip_val=1.0"], "trainer.gradient_clip_val=1.0 has no effect on RBM"),
    "values_out_of_range": (
        ["--data=lit_gen.data.Ring", "--data.binarization=none", "--model.visible.shape=2"],
        "Bernoulli units take values in [0, 1], but the data reach from",
    ),
    "below": (
        [
            "--model.below=lit_gen.networks.MLPCodec",
            "--model.below.in_shape=[1,8,8]",
            "--model.below.widths=[7]",
            "--model.visible.shape=5",
        ],
        "the visible units have shape (5,), but the codes of 'below' have shape (7,)",
    ),
    "below_of_other_data": (
        [
            "--model.below=lit_gen.networks.MLPCodec",
            "--model.below.in_shape=[1,4,4]",
            "--model.below.widths=[7]",
            "--model.visible.shape=7",
        ],
        "'below' does not take inputs of shape (1, 8, 8)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_refused_in_one_line(name, tmp_path, capsys):
    arguments, expected = MISTAKES[name]
    fit = ["fit", "--config", "conf/energy/rbm_digits.yaml", *SHORT, f"--runs={tmp_path / 'runs'}"]
    assert main([*fit, *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("lit-gen: error: ")
    assert expected in told
    assert "\n" not in told
    assert len(told) < 400
    assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"
