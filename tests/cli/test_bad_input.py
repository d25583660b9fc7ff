"""Each mistake a person can make: one clear line, exit status 2, no traceback, nothing overwritten."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from lit_gen.cli.main import main

CONFIG = "conf/vaes/vae_digits.yaml"
SHORT = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A small finished run."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(["fit", "--config", CONFIG, *SHORT, f"--runs={runs}"]) == 0
    (folder,) = runs.glob("vae_digits/*")
    return folder


def fit(tmp_path: Path, *arguments: str, config: str = CONFIG) -> list[str]:
    return ["fit", "--config", config, *SHORT, f"--runs={tmp_path / 'runs'}", *arguments]


CONFIGS = {
    "binary": (b"PK\x03\x04\x90\xff", "is not a YAML text file"),
    "control characters": (b"PK\x03\x04", "is not a YAML text file"),
    "another encoding": ("a: ä".encode("utf-16"), "is not a YAML text file"),
    "empty": (b"", "is empty"),
    "comments alone": (b"# nothing\n", "is empty"),
    "open bracket": (b"seed_everything: 1\na: [1", "is not YAML: "),
    "tabs": (b"a:\n\tb: 1", "in line 2"),
    "word": (b"hello", "holds only 'hello', but a config maps keys to values"),
    "list": (b"- 1\n- 2", "holds a list, but a config maps keys to values"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_config_that_is_none(refused, tmp_path, what):
    content, message = CONFIGS[what]
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    (tmp_path / "naming.yaml").write_text("data: odd.yaml")
    (tmp_path / "staged.yaml").write_text("stages: [{name: one, model: odd.yaml}]")
    told = [
        refused("fit", "--config", str(path)),
        refused("fit", f"--config={path}"),
        refused(*fit(tmp_path, f"--data={path}")),
        refused("fit", "--config", str(tmp_path / "naming.yaml")),
        refused("fit", "--config", str(tmp_path / "staged.yaml")),
    ]
    for line in told:
        assert f"{path} " in line
        assert message in line
    assert not (tmp_path / "runs").exists()


def test_config_that_is_a_checkpoint(refused, run):
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert f"{checkpoint} is not a YAML text file" in refused("fit", "--config", str(checkpoint))


def test_config_given_as_text(refused):
    text = "{trainer: {max_epochs: 1}, " + "name: x" * 100 + "}"  # longer than a file's name may be
    assert "is not a YAML text file" not in refused("fit", f"--config={text}")


def test_data_file_that_is_not_there(refused, tmp_path):
    data = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]"]
    assert "nowhere.npy" in refused(*fit(tmp_path, *data, "--data.path=nowhere.npy"))


def test_empty_and_truncated_data_files(refused, tmp_path):
    data = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]"]
    whole, cut, empty = tmp_path / "whole.npy", tmp_path / "cut.npy", tmp_path / "empty.npy"
    np.save(whole, np.zeros((300, 8, 8), np.uint8))
    cut.write_bytes(whole.read_bytes()[:1000])
    empty.write_bytes(b"")
    assert "cut.npy" in refused(*fit(tmp_path, *data, f"--data.path={cut}"))
    assert "empty.npy" in refused(*fit(tmp_path, *data, f"--data.path={empty}"))


def test_nans_in_the_data(refused, tmp_path):
    images = np.zeros((300, 8, 8), np.float32)
    images[7, 3, 3] = np.nan
    np.save(tmp_path / "nan.npy", images)
    data = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]", f"--data.path={tmp_path / 'nan.npy'}"]
    assert "nan.npy" in refused(*fit(tmp_path, *data))


LIKELIHOODS = {
    "vae_categorical_digits": ("CategoricalHead is a likelihood of the 17 levels", 0.53),
    "vae_discretized_logistic_digits": ("DiscretizedLogisticHead is a likelihood of the 17 levels", 0.53),
    "vae_logistic_mixture_digits": ("DiscretizedLogisticMixtureHead is a likelihood of the 17 levels", 0.53),
    "vae_continuous_bernoulli_digits": ("float images must be in [0, 1]", 1.5),
    "vae_digits": ("float images must be in [0, 1]", -1.0),
}


@pytest.mark.parametrize("config", LIKELIHOODS)
@pytest.mark.parametrize("row", [150, 299])  # the last ones are the test split
def test_a_pixel_outside_the_likelihoods_range(refused, tmp_path, config, row):
    message, odd = LIKELIHOODS[config]
    images = np.zeros((300, 8, 8), np.float32)
    images[row, 3, 3] = odd  # 0.53 is between two of 17 levels
    np.savez(tmp_path / "odd.npz", x=images)
    data = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]", f"--data.path={tmp_path / 'odd.npz'}"]
    told = refused(*fit(tmp_path, *data, config=f"conf/vaes/{config}.yaml"))
    assert message in told
    assert not list((tmp_path / "runs").rglob("*.ckpt")), "it is told before the first step"


def test_a_likelihood_without_a_mean(refused, tmp_path):
    levels = {"num_components": 5, "num_channels": 1, "num_levels": 17}
    head = {"class_path": "lit_gen.distributions.PixelLogisticMixtureHead", "init_args": levels}
    words = [f"--model.likelihood={json.dumps(head)}", "--model.decoder.init_args.params_per_output=15"]
    told = refused(*fit(tmp_path, *words, config="conf/vaes/vae_logistic_mixture_digits.yaml"))
    assert "has no mean" in told
    assert "take a head of another kind" in told


def test_points_outside_the_likelihoods_range(refused, tmp_path):
    bernoulli = "--model.likelihood=lit_gen.distributions.BernoulliHead"
    told = refused(*fit(tmp_path, bernoulli, config="conf/vaes/vae_mixture_2d.yaml"))
    assert "BernoulliHead is a likelihood of values in [0, 1], but the data reach from" in told


def test_labels_missing_for_a_conditional_model(refused, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((300, 8, 8), np.uint8))
    data = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]", f"--data.path={tmp_path / 'images.npy'}"]
    told = refused(*fit(tmp_path, *data, config="conf/vaes/cvae_digits.yaml"))
    assert "needs labelled data, but these have no labels" in told
    assert "needs labelled data" in refused(*fit(tmp_path, *data, config="conf/vaes/cvae_gan_digits.yaml"))
    told = refused(*fit(tmp_path, "--model.num_classes=5", config="conf/vaes/cvae_digits.yaml"))
    assert "the data have 10 classes, but the condition is one of 5" in told


def test_codebook_larger_than_the_data(refused, tmp_path):
    told = refused(*fit(tmp_path, "--model.quantizer.num_codes=9000", config="conf/vaes/vq_vae_digits.yaml"))
    assert "a codebook of 9000 codes is larger than the data" in told


def test_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    assert "cannot make the run folder" in refused(*fit(tmp_path))
    assert (tmp_path / "runs").read_text() == "a file where the folder should be"


def test_latent_size_that_does_not_fit(refused, tmp_path):
    told = refused(*fit(tmp_path, "--model.decoder.in_shape=5"))
    assert "decoder" in told
    assert "5" in told


def test_device_that_is_not_there(refused, tmp_path):
    told = refused(*fit(tmp_path, "--trainer.accelerator=cuda", "--trainer.devices=[99]"))
    assert "CUDAAccelerator" in told or "99" in told  # no GPU at all, or none of that number
    assert "nonsense" in refused(*fit(tmp_path, "--trainer.accelerator=nonsense"))


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_accelerator_that_is_not_there(refused, tmp_path, monkeypatch, accelerator):
    for kind in (CUDAAccelerator, MPSAccelerator):
        monkeypatch.setattr(kind, "is_available", staticmethod(lambda: False))
    told = refused(*fit(tmp_path, f"--trainer.accelerator={accelerator}"))
    assert "Take --trainer.accelerator=cpu or auto." in told  # and where the config speaks of the trainer
    assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"


CONSTRUCTORS = {
    "--data.batch_size=0": "batch_size must be at least 1, got 0",
    "--data.binarization=dynmic": "did you mean 'dynamic'?",
    "--model.prior.dim=0": "at least 1, got",
    "--model.beta=-1": "must not be negative, got -1.0",
    "--model.posterior.scale=-1.0": "scale must be positive, got -1.0",
    "--model.objective={class_path: lit_gen.objectives.ELBO, init_args: {num_samples: 0}}": "at least 1, got 0",
    "--model.objective={class_path: lit_gen.objectives.ImportanceWeighted, init_args: {num_samples: 0}}": (
        "num_samples of at least 1, got 0"
    ),
    "--trainer.callbacks=[{class_path: lit_gen.callbacks.Likelihood, init_args: {num_samples: 0}}]": (
        "num_samples of at least 1, got 0"
    ),
    "--model.likelihood={class_path: lit_gen.distributions.CategoricalHead, init_args: {num_levels: 1}}": (
        "num_levels must be at least 2, got 1"
    ),
    "--trainer.max_epochs=-5": "max_epochs",
}


def test_odd_latent_for_a_flow_that_halves_it(refused, tmp_path):
    told = refused(*fit(tmp_path, "--model.prior.dim=9", config="conf/vaes/vae_realnvp_digits.yaml"))
    assert "a RealNVP flow halves the code, so that its dim must be even, got 9" in told


@pytest.mark.parametrize("argument", CONSTRUCTORS)
def test_argument_that_a_part_refuses(refused, tmp_path, argument):
    told = refused(*fit(tmp_path, argument))
    assert CONSTRUCTORS[argument] in told
    assert "subclass" not in told  # how the parser went about it
    assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"


def test_refused_resume_leaves_the_run_as_it_was(refused, run):
    before = (run / "config.yaml").read_text()
    refused("fit", "--resume", str(run), "--data.image_shape=[1,16,16]")
    assert (run / "config.yaml").read_text() == before
    assert main(["fit", "--resume", str(run)]) == 0


def test_option_that_is_wrong_or_missing(refused):
    assert "--ckpt" in refused("sample")
    assert "invalid int value" in refused("sample", "--ckpt", "x", "--num", "many")


def test_checkpoint_of_another_model(refused, tmp_path, run):
    told = refused(*fit(tmp_path, f"--ckpt_path={run}", config="conf/gans/gan_digits.yaml"))
    assert "checkpoint of another model: of VAE, not of GAN" in told
    assert "another model" in refused(*fit(tmp_path, f"--ckpt_path={run}", "--model.prior.dim=3"))


def test_checkpoint_that_is_not_one(refused, tmp_path, run):
    text, cut = tmp_path / "text.ckpt", tmp_path / "cut.ckpt"
    text.write_text("not a checkpoint")
    cut.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes()[:3000])
    for path in (text, cut):
        assert "is not a checkpoint" in refused(*fit(tmp_path, f"--ckpt_path={path}"))
        assert "is not a checkpoint" in refused("sample", "--ckpt", str(path))
    assert "there is no checkpoint" in refused("sample", "--ckpt", str(tmp_path / "none.ckpt"))
    torch.save({"weights": torch.zeros(1)}, tmp_path / "stranger.ckpt")
    assert "not a checkpoint of lit-gen" in refused("sample", "--ckpt", str(tmp_path / "stranger.ckpt"))


def altered(run: Path, path: Path, without: tuple[str, ...] = (), **changes: object) -> Path:
    """A copy of the run's checkpoint with some of its content left out or changed."""
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({key: value for key, value in {**content, **changes}.items() if key not in without}, path)
    return path


@pytest.mark.parametrize("without", [("optimizer_states",), ("optimizer_states", "lr_schedulers", "loops")])
def test_training_from_the_weights_alone(refused, tmp_path, run, without):
    path = altered(run, tmp_path / "weights.ckpt", without)
    assert "it holds the weights alone" in refused(*fit(tmp_path, f"--ckpt_path={path}"))
    assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"
    test = ["test", "--config", CONFIG, "--trainer.limit_test_batches=1", "--trainer.callbacks=[]"]
    assert main([*test, f"--runs={tmp_path / 'runs'}", f"--ckpt_path={path}"]) == 0
    assert main(["sample", "--ckpt", str(path), "--num", "1", "--out", str(tmp_path / "sample.png")]) == 0


def test_resume_from_the_weights_alone_leaves_the_run_as_it_was(refused, tmp_path, run):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    path = altered(run, tmp_path / "run" / "checkpoints" / "last.ckpt", ("optimizer_states",))
    before = path.read_bytes(), (tmp_path / "run" / "config.yaml").read_bytes()
    assert "it holds the weights alone" in refused("fit", "--resume", str(tmp_path / "run"))
    assert (path.read_bytes(), (tmp_path / "run" / "config.yaml").read_bytes()) == before


MALFORMED = {
    "config that is no text": ({"lit_gen_config": 7}, "its lit_gen_config is not text"),
    "config that is no YAML": ({"lit_gen_config": "model: ["}, "its lit_gen_config is not YAML"),
    "config with a date that is none": (
        {"lit_gen_config": "seed: 2026-99-99"},
        "its lit_gen_config names no model.class_path",
    ),
    "config that is empty": ({"lit_gen_config": ""}, "its lit_gen_config names no model.class_path"),
    "config that is a list": ({"lit_gen_config": "[1]"}, "its lit_gen_config names no model.class_path"),
    "config without a model": ({"lit_gen_config": "a: 1"}, "its lit_gen_config names no model.class_path"),
    "model that is a word": ({"lit_gen_config": "model: VAE"}, "its lit_gen_config names no model.class_path"),
    "class_path that is a number": ({"lit_gen_config": "model: {class_path: 1}"}, "names no model.class_path"),
    "weights that are none": ({"state_dict": None}, "its state_dict is not a mapping"),
    "weights that are a tensor": ({"state_dict": torch.zeros(2)}, "its state_dict is not a mapping"),
    "weights that are numbers": ({"state_dict": {"weight": 1.0}}, "its state_dict holds other things than tensors"),
    "weights without names": ({"state_dict": {0: torch.zeros(2)}}, "its state_dict holds other things than tensors"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_checkpoint_with_malformed_content(refused, tmp_path, run, what):
    changes, message = MALFORMED[what]
    path = altered(run, tmp_path / "odd.ckpt", **changes)
    for arguments in (["sample", "--ckpt", str(path)], fit(tmp_path, f"--ckpt_path={path}")):
        told = refused(*arguments)
        assert "odd.ckpt is not a checkpoint of lit-gen: " in told
        assert message in told
    assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"


@pytest.mark.parametrize("content", [b"0", b".", b"config: 1\n", b"J\x01", b"\x80\x02\xff", b"\xff\xfe\x00"])
def test_bytes_that_are_no_checkpoint(refused, tmp_path, content):
    (tmp_path / "bytes.ckpt").write_bytes(content)
    assert "bytes.ckpt is not a checkpoint" in refused("sample", "--ckpt", str(tmp_path / "bytes.ckpt"))


class Payload:
    """What a hostile checkpoint carries."""

    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


def test_checkpoint_that_carries_code(refused, tmp_path, run, monkeypatch):
    config = Path(CONFIG).resolve()
    monkeypatch.chdir(tmp_path)
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**content, "payload": Payload()}, "hostile.ckpt")
    told = refused("sample", "--ckpt", "hostile.ckpt")
    assert "carries code beside its weights (getattr)" in told  # of which pickle makes Path.touch
    assert "weights_only" not in told, "torch's advice is to load it nevertheless"
    assert "carries code" in refused(*fit(tmp_path, "--ckpt_path=hostile.ckpt", config=str(config)))
    assert not Path("pwned").exists()


def test_evaluation_without_a_checkpoint(refused, tmp_path):
    assert "test needs a checkpoint" in refused("test", "--config", CONFIG, f"--runs={tmp_path}")


def test_resume_of_what_is_not_a_run(refused, tmp_path):
    assert "is not a run folder" in refused("fit", "--resume", str(tmp_path))


def test_samples_in_a_format_there_is_not(refused, tmp_path, run):
    assert ".gif" in refused("sample", "--ckpt", str(run), "--out", str(tmp_path / "samples.gif"))
    assert "at least 1" in refused("sample", "--ckpt", str(run), "--num", "0")


def test_nothing_is_overwritten(tmp_path):
    for _ in range(2):
        assert main(fit(tmp_path)) == 0
    first, second = sorted((tmp_path / "runs" / "vae_digits").iterdir())
    assert first != second
    for folder in (first, second):
        assert json.loads((folder / "summary.json").read_text())["steps"] == 2


def test_a_bug_is_not_hidden():
    code = "import lit_gen.cli.list_configs as v\ndef broken(*a): raise ZeroDivisionError('ours')\nv.run = broken\n"
    code += "import sys; from lit_gen.cli.main import main; sys.exit(main(['list']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
