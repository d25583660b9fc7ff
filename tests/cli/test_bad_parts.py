"""What goes wrong while a part is built or tried: one line with its path in the config, exit status 2, no folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from lit_gen.cli.main import main

VAE, GAN, RING, AUTOENCODER = (
    f"conf/{name}.yaml" for name in ("vaes/vae_digits", "gans/gan_digits", "gans/gan_ring", "autoencoders/deep_digits")
)
ODD = "tests.cli.odd_parts"
TORCH, SCHEDULES = "torch.optim", "torch.optim.lr_scheduler"
LENET = {"class_path": "lit_gen.metrics.features.LeNet"}


def part(class_path: str, **init_args) -> str:
    return json.dumps({"class_path": class_path, "init_args": init_args})


def callbacks(class_path: str, **init_args) -> str:
    return f"--trainer.callbacks=[{part(class_path, **init_args)}]"


def schedule(name: str, player: str = "", **init_args) -> str:
    return f"--model.{player}scheduler={part(f'{SCHEDULES}.{name}', **init_args)}"


NO_STEPS = {"class_path": "lit_gen.schedules.CosineAnnealing", "init_args": {"num_steps": 0}}
BUILDING = {
    "an error of any type": (
        VAE,
        f"--model.encoder={part(f'{ODD}.NoConstructor', in_shape=[1, 8, 8], out_shape=10)}",
        "model.encoder (tests.cli.odd_parts.NoConstructor): LookupError: no recipe for a depth of 1",
    ),
    "an error without a word": (
        VAE,
        f"--model.decoder={part(f'{ODD}.Silent', in_shape=[10], out_shape=64)}",
        "model.decoder (tests.cli.odd_parts.Silent): AssertionError",
    ),
    "a size below 0": (
        VAE,
        f"--model.encoder={part('torch.nn.Linear', in_features=-1, out_features=3)}",
        "model.encoder (torch.nn.Linear): Trying to create tensor with negative dimension -1",
    ),
    "a size of 0": (
        GAN,
        f"--model.discriminator={part('torch.nn.Linear', in_features=0, out_features=3)}",
        "model.discriminator: Linear's parameter 'weight' has the shape (3, 0)",
    ),
    "within a part": (
        RING,
        f"--model.regularizers=[{part('lit_gen.regularizers.R1', weight=NO_STEPS)}]",
        "model.regularizers[0].weight: ",
    ),
    "one of several types": (
        "conf/vaes/vae_free_bits_digits.yaml",
        f"--model.beta={part('lit_gen.objectives.LinearWarmup', num_steps=0)}",
        "model.beta",
    ),
    "in a list": (
        RING,
        f"--model.regularizers=[{part('lit_gen.regularizers.WeightClipping', limit=-1.0)}]",
        "model.regularizers[0]: WeightClipping's limit must be positive, got -1.0",
    ),
    "a callback of Lightning's": (
        VAE,
        callbacks("lightning.pytorch.callbacks.EarlyStopping", monitor="val/loss", mode="least"),
        "trainer.callbacks[0] (lightning.pytorch.callbacks.EarlyStopping): `mode` can be min, max, got least",
    ),
    "data": (VAE, "--data.num_validation=-1", "data: Digits: num_validation must be at least 0, got -1"),
}
TRYING = {
    "an error of any type": (
        VAE,
        f"--model.encoder={part(f'{ODD}.NoForward', in_shape=[1, 8, 8], out_shape=10, hidden_dims=[])}",
        "the encoder does not take inputs of shape (1, 8, 8), as the data's examples are: 'scale'",
    ),
    "what no dry run names": (
        VAE,
        f"--model.likelihood={part(f'{ODD}.NoRecipe')}",
        "model.likelihood (tests.cli.odd_parts.NoRecipe): ZeroDivisionError: division of nothing",
    ),
    "a part of another kind": (
        VAE,
        f"--model.posterior={part('lit_gen.distributions.StandardNormal', dim=10)}",
        "model.posterior (lit_gen.distributions.StandardNormal): TypeError",
    ),
    "an objective of another family": (
        GAN,
        "--model.objective=lit_gen.objectives.ELBO",
        "model.objective (lit_gen.objectives.ELBO): AttributeError: 'ELBO' object has no attribute",
    ),
    "a loss of torch's": (
        RING,
        "--model.objective=torch.nn.MSELoss",
        "model.objective (torch.nn.MSELoss): AttributeError",
    ),
    "a game's objective in an autoencoder": (
        AUTOENCODER,
        "--model.objective=lit_gen.objectives.NonSaturating",
        "model.objective (lit_gen.objectives.NonSaturating): ",
    ),
    "a game's objective in a VAE": (VAE, "--model.objective=lit_gen.objectives.Hinge", "VariationalObjective"),
    "a callback's setup": (
        VAE,
        callbacks(f"{ODD}.NoSetup"),
        "trainer.callbacks[0] (tests.cli.odd_parts.NoSetup): OverflowError: too many colours",
    ),
    "a callback before the first step": (
        VAE,
        callbacks(f"{ODD}.NoTrainStart"),
        "trainer.callbacks[0] (tests.cli.odd_parts.NoTrainStart): AssertionError: not on a Friday",
    ),
    "reading data": (
        VAE,
        f"--data={part(f'{ODD}.NoReading', image_shape=[1, 8, 8])}",
        "data (tests.cli.odd_parts.NoReading): 'utf-8' codec can't decode byte 0xff",
    ),
    "building loaders": (
        VAE,
        f"--data={part(f'{ODD}.NoLoader', image_shape=[1, 8, 8])}",
        "data (tests.cli.odd_parts.NoLoader): no loader today",
    ),
    "Lightning's word on its keys": (
        VAE,
        "--trainer.val_check_interval=1000",
        "trainer (lightning.pytorch.Trainer): `val_check_interval` (1000) must be less than or equal",
    ),
}
OPTIMIZERS = {
    "rate": (VAE, "--model.optimizer.lr=-1", "model.optimizer (torch.optim.Adam): Invalid learning rate: -1.0"),
    "betas": (VAE, "--model.optimizer.betas=[-0.5,0.9]", "model.optimizer (torch.optim.Adam): Invalid beta parameter"),
    "decay": (VAE, "--model.optimizer.weight_decay=-1", "model.optimizer (torch.optim.Adam): Invalid weight_decay"),
    "rate in a game": (RING, "--model.generator_optimizer.lr=-1", "model.generator_optimizer (torch.optim.Adam): "),
    "betas in a game": (
        GAN,
        "--model.discriminator_optimizer.betas=[2.0,0.5]",
        "model.discriminator_optimizer (torch.optim.Adam): Invalid beta parameter at index 0: 2.0",
    ),
    "momentum": (
        "conf/energy/rbm_digits.yaml",
        "--model.optimizer.momentum=-1",
        "model.optimizer (torch.optim.SGD): Invalid momentum value: -1.0",
    ),
    "sparse gradients": (
        VAE,
        f"--model.optimizer={TORCH}.SparseAdam",
        "model.optimizer (torch.optim.SparseAdam): SparseAdam does not support dense gradients",
    ),
    "sparse gradients in a game": (
        RING,
        f"--model.generator_optimizer={TORCH}.SparseAdam",
        "model.generator_optimizer (torch.optim.SparseAdam): SparseAdam does not support dense gradients",
    ),
    "matrices alone": (
        VAE,
        f"--model.optimizer={TORCH}.Muon",
        "model.optimizer (torch.optim.Muon): Muon only supports",
    ),
    "several looks in a game": (RING, f"--model.discriminator_optimizer={TORCH}.LBFGS", "but LBFGS asks for several"),
    "step_size": (
        VAE,
        schedule("StepLR", step_size=0),
        "model.scheduler: a StepLR's step_size must be at least 1, got 0",
    ),
    "negative step_size": (VAE, schedule("StepLR", step_size=-5), "step_size must be at least 1, got -5"),
    "step_size in a game": (
        RING,
        schedule("StepLR", "generator_", step_size=0),
        "model.generator_scheduler: a StepLR's step_size must be at least 1, got 0",
    ),
    "T_max": (VAE, schedule("CosineAnnealingLR", T_max=0), "a CosineAnnealingLR's T_max must be at least 1, got 0"),
    "T_0": (VAE, schedule("CosineAnnealingWarmRestarts", T_0=0), "Expected positive integer T_0, but got 0"),
    "total_iters": (VAE, schedule("PolynomialLR", total_iters=-1), "total_iters must be at least 1, got -1"),
    "no total_steps": (VAE, schedule("OneCycleLR", max_lr=0.1), "You must define either total_steps OR"),
    "factor": (VAE, schedule("ReduceLROnPlateau", factor=2.0), "Factor should be < 1.0"),
    "a negative rate": (
        VAE,
        schedule("LambdaLR", lr_lambda=f"{ODD}.negative_rate"),
        "model.scheduler: LambdaLR makes a learning rate of -0.001: it must be at least 0, and finite",
    ),
    "a rate that is none": (VAE, schedule("LambdaLR", lr_lambda=f"{ODD}.no_rate"), "makes a learning rate of nan"),
}


@pytest.mark.parametrize("what", BUILDING)
def test_built(refused_fit, what):
    config, argument, message = BUILDING[what]
    assert message in refused_fit(argument, config=config)


@pytest.mark.parametrize("what", TRYING)
def test_tried(refused_fit, what):
    config, argument, message = TRYING[what]
    assert message in refused_fit(argument, config=config)


@pytest.mark.parametrize("what", OPTIMIZERS)
def test_optimizers_and_schedules(refused_fit, what):
    config, argument, message = OPTIMIZERS[what]
    assert message in refused_fit(argument, config=config)


def test_a_later_stages_optimizer_is_tried_before_the_first_stage_trains(refused_fit):
    argument = "--stages.fine_tuned.model.optimizer.lr=-1"
    told = refused_fit(argument, config="conf/autoencoders/rbm_pretrained_digits.yaml")
    assert "stage 'fine_tuned': model.optimizer (torch.optim.Adam): Invalid learning rate: -1.0" in told


def test_debug_shows_the_traceback(tmp_path, capsys):
    arguments = ["fit", "--config", VAE, callbacks(f"{ODD}.NoSetup"), f"--runs={tmp_path}", "--wandb=false", "--debug"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "odd_parts.py" in told


def test_an_error_after_the_first_step_is_a_bug(tmp_path):
    """Nothing that goes wrong in the loop is told as a mistake, whoever's the code is; and what the run left stays."""
    arguments = ["fit", "--config", VAE, callbacks(f"{ODD}.NoStep"), f"--runs={tmp_path}", "--wandb=false"]
    with pytest.raises(ZeroDivisionError, match="in the loop"):
        main(arguments)
    (folder,) = tmp_path.glob("vae_digits/*")
    assert (folder / "config.yaml").exists()


def test_wandb_leaves_no_folder_either(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = ["fit", "--config", VAE, f"--runs={tmp_path / 'runs'}"]
    assert "not on a Friday" in refused(*config, callbacks(f"{ODD}.NoTrainStart"))
    assert not list((tmp_path / "runs").glob("*/*"))


STOPPING = {
    "val/fid_lenet_100": "EarlyStopping.monitor: 'val/fid_lenet_100' is measured every 2 epochs only",
    "val/los": "EarlyStopping.monitor: 'val/los' is not among what this run logs; the nearest is 'val/loss'",
    "train/loss": (  # logged every 50 steps, and the epoch has 2
        "trainer.callbacks[1] (lightning.pytorch.callbacks.EarlyStopping): an epoch ended without its metric "
        "'train/loss'; did you mean 'val/loss'? strict: false passes over epochs that don't measure it"
    ),
}


@pytest.mark.parametrize("monitor", STOPPING)
def test_stopping_early_by_what_an_epoch_does_not_log(refused, tmp_path, monitor):
    stopping = part("lightning.pytorch.callbacks.EarlyStopping", monitor=monitor)
    fid = part("lit_gen.callbacks.FID", extractor=LENET, num_samples=100, every_n_epochs=2)
    words = ["--trainer.max_epochs=3", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    words += [f"--trainer.callbacks=[{fid},{stopping}]", "--wandb=false", f"--runs={tmp_path}"]
    assert STOPPING[monitor] in refused("fit", "--config", VAE, *words)
    assert list(tmp_path.glob("vae_digits/*/checkpoints/*.ckpt")), "what the epoch made stays"


@pytest.mark.parametrize(("reference", "count"), [("val", 0), ("val", 1), ("test", 1)])
def test_fid_against_fewer_than_two_examples(refused_fit, tmp_path, reference, count):
    for name, size in (("train", 300), ("test", 1)):
        np.save(tmp_path / f"{name}.npy", np.zeros((size, 8, 8), np.uint8))
    words = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]", f"--data.num_validation={count}"]
    words += [f"--data.path={tmp_path / 'train.npy'}", f"--data.test_path={tmp_path / 'test.npy'}"]
    words += [callbacks("lit_gen.callbacks.FID", extractor=LENET, num_samples=10, reference=reference)]
    assert f"at least 2 examples, but {reference} has {count}" in refused_fit(*words)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A small finished run."""
    runs = tmp_path_factory.mktemp("runs")
    short = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]
    assert main(["fit", "--config", VAE, *short, f"--runs={runs}"]) == 0
    (folder,) = runs.glob("vae_digits/*")
    return folder


GARBLED = {
    "no text": b"\xff\xfe\x00\x01\n",
    "another table": b"a,b\n1,2\n",
    "step that is none": b"step,epoch,time\n0,0,1.0\nthree,0,1.0\n",
    "row too long": b"step,epoch,time\n0,0,1.0,5,6\n",
    "zeros of a lost disk": b"step,epoch,time\n0,0,1.0\n\x00\x00\x00\x00\x00\n",
    "open quotes": b'step,epoch,time\n"0,0,1.0\n',
}


@pytest.mark.parametrize("what", GARBLED)
def test_resuming_beside_garbled_metrics(refused, run, what):
    metrics, config = run / "metrics.csv", run / "config.yaml"
    whole, before = metrics.read_bytes(), config.read_bytes()
    try:
        metrics.write_bytes(GARBLED[what])
        told = refused("fit", "--resume", str(run), "--trainer.max_steps=3")
        assert f"cannot go on in {metrics}" in told
        assert "move it away" in told
        assert (metrics.read_bytes(), config.read_bytes()) == (GARBLED[what], before), "all is as it was"
    finally:
        metrics.write_bytes(whole)


@pytest.mark.parametrize("device", ["meta", "nonsense", "cpu:-7"])
def test_sampling_on_a_device_that_is_none(refused, run, tmp_path, device):
    out = tmp_path / "samples.png"
    assert f"there is no device '{device}' here" in refused(
        "sample", "--ckpt", str(run), "--device", device, "--out", str(out)
    )
    assert not out.exists()
