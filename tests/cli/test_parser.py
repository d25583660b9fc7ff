"""Interpolation follows later files and overrides; mistakes name the nearest right key."""

import pytest

from lit_gen.cli.interpolation import full_path
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.errors import UserError

CONFIG = "conf/vaes/vae_digits.yaml"


@pytest.fixture
def build(tmp_path):
    def build(*arguments: str, config: str = CONFIG) -> LitGenCLI:
        cli = LitGenCLI("fit", ["--config", str(config), f"--runs={tmp_path / 'runs'}", "--wandb=false", *arguments])
        cli.record.close()
        return cli

    return build


def test_short_paths():
    assert full_path("data.image_shape") == "data.init_args.image_shape"
    assert full_path("model.prior.dim") == "model.init_args.prior.init_args.dim"
    assert full_path("model.init_args.prior") == "model.init_args.prior"


def test_interpolation_follows_the_command_line(build):
    cli = build("--data.image_shape=[1,16,16]")
    assert cli.datamodule.event_shape == (1, 16, 16)
    assert tuple(cli.model.encoder.in_shape) == (1, 16, 16)
    assert tuple(cli.model.decoder.out_shape) == (1, 16, 16)


def test_interpolation_follows_a_later_file(build, tmp_path):
    later = tmp_path / "later.yaml"
    later.write_text(
        "data: {init_args: {image_shape: [1, 12, 12]}}\nmodel: {init_args: {prior: {init_args: {dim: 3}}}}\n"
    )
    cli = build("--config", str(later))
    assert tuple(cli.model.encoder.in_shape) == (1, 12, 12)
    assert cli.model.prior.dim == 3
    assert tuple(cli.model.encoder.out_shape) == (3,)


def test_data_file_is_found_beside_the_file_that_names_it(build, tmp_path, monkeypatch):
    from pathlib import Path

    config = Path(CONFIG).resolve()
    monkeypatch.chdir(tmp_path)
    assert build(config=config).datamodule.event_shape == (1, 8, 8)


def test_print_config_shows_the_resolved_whole(capsys):
    with pytest.raises(SystemExit) as stop:
        LitGenCLI("fit", ["--config", CONFIG, "--data.image_shape=[1,16,16]", "--print_config"])
    assert stop.value.code in (0, None)
    told = capsys.readouterr().out
    assert "${" not in told
    assert "max_epochs:" in told
    assert "in_shape:\n        - 1\n        - 16\n        - 16\n" in told


MISTAKES = {
    "--model.betta=3": "no key 'betta'; the nearest right one is 'beta'",
    "--trainer.max_epoch=3": "'trainer.max_epoch'; the nearest right one is 'trainer.max_epochs'",
    "--model.encoder.activatio=relu": "no key 'activatio'; the nearest right one is 'activation'",
    "--modle.beta=3": "the nearest right one is 'model.beta'",
    "--model.prior.dim=many": "model: dim: Expected an int. Got value: many",
    "--trainer.max_epochs=many": "trainer.max_epochs",
    "--config=nowhere.yaml": "nowhere.yaml",
    "--data=nowhere.yaml": "there is no file nowhere.yaml",
    "--model.encoder=lit_gen.networks.MLQ": "MLQ",
}


@pytest.mark.parametrize("argument", MISTAKES)
def test_mistakes_on_the_command_line(build, argument):
    with pytest.raises(UserError) as told:
        build(argument)
    line = str(told.value)
    assert MISTAKES[argument] in line
    assert "\n" not in line
    assert len(line) < 250


FILES = {
    "modle: {class_path: lit_gen.models.VAE}\n": "the nearest right one is 'model",
    "trainer: {max_epoch: 3}\n": "the nearest right one is 'trainer.max_epochs'",
    "model: {init_args: {betta: 3}}\n": "no key 'betta'; the nearest right one is 'beta'",
    "data: {init_args: {batchsize: 3}}\n": "no key 'batchsize'; the nearest right one is 'batch_size'",
    "model: [1, 2\n": "parsing",
    'model: {init_args: {beta: "${data.imageshape}"}}\n': "imageshape",
}


@pytest.mark.parametrize("text", FILES)
def test_mistakes_in_a_file(build, tmp_path, text):
    later = tmp_path / "later.yaml"
    later.write_text(text)
    with pytest.raises(UserError) as told:
        build("--config", str(later))
    line = str(told.value)
    assert FILES[text] in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["default", "debug", "gpu", "ddp"])
def test_trainer_files_are_valid(capsys, name):
    with pytest.raises(SystemExit):
        LitGenCLI("fit", ["--config", CONFIG, f"--trainer=conf/trainer/{name}.yaml", "--print_config"])
    assert "log_every_n_steps: " + ("1" if name == "debug" else "null") in capsys.readouterr().out


def test_trainer_file_is_found_beside_the_file_that_names_it(build, tmp_path):
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "short.yaml").write_text("max_epochs: 7\n")
    (tmp_path / "configs").mkdir()
    config = tmp_path / "configs" / "later.yaml"
    config.write_text("trainer: ../trainers/short.yaml\n")
    assert build("--config", str(config)).trainer.max_epochs == 7
