"""Numbers in a config with which no run makes sense: one line that names the key, and nothing left behind."""

import pytest

from lit_gen.cli.main import main

VAE = "conf/vaes/vae_digits.yaml"
GAN, MADE, CVAE, PIXEL = (
    f"conf/{name}.yaml"
    for name in (
        "gans/gan_digits",
        "autoregressive/made_digits",
        "vaes/cvae_half_digits",
        "autoregressive/pixelcnn_digits",
    )
)
KEYS = {
    **{f"--seed_everything={value}": "seed_everything must be a whole number from 0" for value in (-1, 2**32, 2**64)},
    "--seed_everything=true": "seed_everything must be a whole number from 0 to 4294967295, got true",
    "--checkpoint_every_n_steps=0": "checkpoint_every_n_steps must be at least 1, got 0",
    "--checkpoint_every_n_steps=-5": "checkpoint_every_n_steps must be at least 1, got -5",
    "--trainer.log_every_n_steps=0": "trainer.log_every_n_steps must be at least 1, got 0",
    "--trainer.log_every_n_steps=-1": "trainer.log_every_n_steps must be at least 1, got -1",
    "--trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches must be at least 1, got 0",
    "--trainer.check_val_every_n_epoch=0": "trainer.check_val_every_n_epoch must be at least 1, got 0",
    "--trainer.check_val_every_n_epoch=-1": "trainer.check_val_every_n_epoch must be at least 1, got -1",
    "--trainer.val_check_interval=0": "trainer.val_check_interval must be positive, got 0",
    "--trainer.gradient_clip_val=-1": "trainer.gradient_clip_val must be at least 0, got -1",
    "--trainer.limit_train_batches=-1": "trainer.limit_train_batches must be at least 0, got -1",
    "--trainer.limit_val_batches=-0.5": "trainer.limit_val_batches must be at least 0, got -0.5",
    "--trainer.overfit_batches=-1": "trainer.overfit_batches must be at least 0, got -1",
    "--trainer.max_epochs=-2": "trainer.max_epochs must be at least -1, got -2",
    "--trainer.num_nodes=0": "trainer.num_nodes must be at least 1, got 0",
    "--trainer.devices=many": "trainer.devices=many: it is how many devices",
    "--trainer.devices=-3": "trainer: `devices`",
    "--trainer.max_time=soon": "trainer: `Timer(duration='soon')`",
}
SIZES = {
    "hidden_dims of 0": (VAE, "--model.encoder.hidden_dims=[0]", "model.encoder: each of a MLP's hidden_dims"),
    "negative hidden_dims": (VAE, "--model.decoder.hidden_dims=[64,-3]", "must be at least 1, got [64, -3]"),
    "params_per_output": (VAE, "--model.encoder.params_per_output=0", "a MLP's params_per_output must be at least 1"),
    "prior": (VAE, "--model.prior.dim=-1", "must be at least 1, got"),
    "channels of 0": (GAN, "--model.generator.base_channels=0", "a DCGANGenerator's base_channels must be at least 1"),
    "negative channels": (GAN, "--model.discriminator.base_channels=-4", "base_channels must be at least 1, got -4"),
    "widths of MADE": (MADE, "--model.network.hidden_dims=[0]", "at least 1 unit each, got hidden_dims [0]"),
    "kernel_size": (PIXEL, "--model.network.kernel_size=0", "kernel_size is an odd number from 3, not 0"),
    "blocks": (PIXEL, "--model.network.num_blocks=-1", "num_blocks must be at least 1, got -1"),
    "image_shape": (
        CVAE,
        "--model.condition.image_shape=[0,8,8]",
        "each of a GivenHalf's image_shape must be at least 1",
    ),
    "positions": ("conf/vaes/vq_vae_digits.yaml", "--model.positions=[0,2]", "each of a VQVAE's positions must be"),
    "codes": ("conf/vaes/vq_vae_digits.yaml", "--model.quantizer.num_codes=0", "at least 1"),
}


@pytest.mark.parametrize("argument", KEYS)
def test_key_of_the_run(refused_fit, argument):
    assert KEYS[argument] in refused_fit(argument)


@pytest.mark.parametrize("what", SIZES)
def test_size_of_a_network(refused_fit, what):
    config, argument, message = SIZES[what]
    assert message in refused_fit(argument, config=config)


def test_a_stage_is_refused_before_the_first_one_trains(refused_fit):
    told = refused_fit(
        "--stages.fine_tuned.trainer.log_every_n_steps=0", config="conf/autoencoders/rbm_pretrained_digits.yaml"
    )
    assert "stage 'fine_tuned': trainer.log_every_n_steps must be at least 1, got 0" in told


TIMER = "{class_path: lightning.pytorch.callbacks.Timer, init_args: {duration: '00:00:00:01'}}"


@pytest.mark.parametrize(
    "ends", ["--trainer.max_steps=2", "--trainer.max_time=00:00:00:01", f"--trainer.callbacks=[{TIMER}]"]
)
def test_a_run_without_an_end_says_so(tmp_path, capsys, ends):
    words = ["fit", "--config", VAE, "--trainer.max_epochs=-1", "--trainer.callbacks=[]", "--wandb=false"]
    words += ["--trainer.limit_val_batches=1", f"--runs={tmp_path}"]
    stops = "--trainer.callbacks=[tests.cli.odd_parts.Interrupted]"
    assert main([*words, stops]) == 130
    assert "training: without an end (no max_epochs" in capsys.readouterr().out
    assert main([*words, ends]) == 0
    assert "without an end" not in capsys.readouterr().out
