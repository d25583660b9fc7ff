"""Configs are found from anywhere: as given, with a suffix, below ``conf`` here, below the installed ones."""

from pathlib import Path

import pytest

from lit_gen.cli import config_files
from lit_gen.cli.main import main
from lit_gen.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str = "seed_everything: 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_installed_configs_are_those_of_the_checkout(elsewhere):
    assert config_files.installed_folder().samefile(CONF)
    for name in ("vaes/vae_digits", "vaes/vae_digits.yaml", "data/mnist", "trainer/ddp"):
        assert config_files.find(name).samefile(CONF / f"{name.removesuffix('.yaml')}.yaml")
    assert config_files.find("vaes/nowhere") is None
    assert config_files.find("x" * 5000) is None


def test_what_lies_here_comes_first(elsewhere):
    name = "vaes/vae_digits"
    for path in (f"conf/{name}.yaml", f"{name}.yaml", name):
        write(elsewhere / path)
        assert config_files.find(name).resolve() == (elsewhere / path)


def test_a_run_folder_means_its_config(elsewhere):
    config = write(elsewhere / "runs" / "vae" / "1" / "config.yaml")
    assert config_files.find("runs/vae/1").resolve() == config
    assert config_files.find("runs/vae") is None


def test_every_name_is_found_and_every_listed_config_has_one(elsewhere, capsys):
    names = config_files.names()
    assert {path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.glob("*/*.yaml")} == set(names)
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    for name in names:
        assert config_files.find(name) is not None
        assert f"  {name}\n" in listed or f"{name}, " in listed or listed.endswith(f", {name}\n")


def test_list_shows_own_configs_beside_installed_ones(elsewhere, capsys):
    write(elsewhere / "conf" / "mine" / "first.yaml", "# My first\nseed_everything: 1\n")
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "mine\n  mine/first\n      My first\n" in listed
    assert "  vaes/vae_digits\n" in listed


def test_a_config_is_run_from_anywhere_with_parts_from_anywhere(elsewhere, capsys):
    words = ["--data=data/shapes", "--trainer=trainer/debug", "--print_config"]
    with pytest.raises(SystemExit):
        main(["fit", "--config", "vaes/vae_digits", *words])
    printed = capsys.readouterr().out
    assert "class_path: lit_gen.data.Shapes" in printed
    assert "detect_anomaly: true" in printed
    with pytest.raises(SystemExit):
        main(["fit", "--config", "gans/dcgan_mnist", "--print_config"])  # its data lie beside it: ../data/mnist.yaml
    assert "class_path: lit_gen.data.MNIST" in capsys.readouterr().out


def test_name_of_the_first_config():
    assert config_files.name_of(["--seed_everything=1", "--config=a/b.yaml", "--config", "c.yaml"]) == "b"
    assert config_files.name_of(["-c", "a/b.yaml"]) == "b"
    assert config_files.name_of(["--config={a: 1}"]) is None
    assert config_files.name_of(["--model=x"]) is None


def test_a_part_that_is_a_class_or_text_stays_as_it_is(elsewhere):
    for value in ("lit_gen.data.Digits", "Digits", "{class_path: x}"):
        assert config_files.part_named("--data", value) == value
    with pytest.raises(UserError, match="the nearest is data/digits"):
        config_files.part_named("--data", "digits")
