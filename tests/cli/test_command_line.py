"""The words of a command line: configs first, each option with its value, and no stray word."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_gen.cli.command_line import of_resumed, prepared
from lit_gen.errors import UserError

CONFIG = "conf/vaes/vae_digits.yaml"


def test_configs_come_first_so_that_options_hold_wherever_they_stand(tmp_path):
    later = tmp_path / "later.yaml"
    later.write_text("monitor: x\n")
    words = ["--model.beta", "-1", "-c", CONFIG, "--trainer.max_epochs=3", f"--config={later}", "--wandb", "false"]
    assert prepared("fit", words) == [
        f"--config={CONFIG}",
        f"--config={later}",
        "--model.beta=-1",
        "--trainer.max_epochs=3",
        "--wandb=false",
    ]


def test_questions_need_no_config():
    assert prepared("fit", ["--help"]) == ["--help"]
    assert prepared("fit", ["--model.help", "lit_gen.models.VAE"]) == ["--model.help=lit_gen.models.VAE"]
    assert prepared("fit", ["--config", CONFIG, "--print_config"]) == [f"--config={CONFIG}", "--print_config"]


def test_a_model_on_the_command_line_needs_no_config():
    assert prepared("fit", ["--model=VAE"]) == ["--model=VAE"]


def test_resume_stands_for_the_runs_config(tmp_path):
    (tmp_path / "config.yaml").write_text("seed_everything: 1\n")
    expected = ["--config", str(tmp_path / "config.yaml"), "--model.beta=2"]
    assert of_resumed(["--model.beta=2", "--resume", str(tmp_path)]) == (expected, tmp_path)
    assert of_resumed([f"--resume={tmp_path}", "--model.beta=2"]) == (expected, tmp_path)
    assert of_resumed(["--model.beta=2"]) == (["--model.beta=2"], None)


STRAY = {
    (CONFIG,): f"'{CONFIG}' stands without an option: a config is named by --config {CONFIG}",
    ("vaes/vae_digits",): "a config is named by --config vaes/vae_digits",
    ("--config", CONFIG, "nonsense"): "'nonsense' belongs to no option",
    ("--config", CONFIG, "trainer.max_epochs=3"): "lacks its dashes: write --trainer.max_epochs=3",
    ("-config", CONFIG): "there is no option -config: options begin with two dashes, as in --config",
    ("--config", CONFIG, "-name=x"): "as in --name=x",
    (): "fit needs a config: lit-gen fit --config vaes/vae_digits",
    ("--trainer.max_epochs=3",): "fit needs a config: lit-gen fit --config vaes/vae_digits",
    ("--config",): "--config needs a name or a file",
    ("--config=",): "--config needs a name or a file",
    ("--config", "vaes/vae_digts"): "there is no config 'vaes/vae_digts'; the nearest",
    ("--config", CONFIG, "--runs="): "--runs is empty: name a folder",
    ("--config", CONFIG, "--data="): "--data= is nothing: name a class or a file",
    ("--config", CONFIG, "--model=None"): "--model=None is nothing: name a class or a file",
    ("--config", CONFIG, "--trainer=42"): "--trainer: there is no file 42",
    ("--config", CONFIG, "--name=../../x"): "--name: '../../x' cannot name a run's folder",
}


@pytest.mark.parametrize("words", STRAY, ids=" ".join)
def test_words_that_say_nothing_are_refused(words):
    with pytest.raises(UserError) as error:
        prepared("fit", words)
    assert STRAY[words] in str(error.value)


@pytest.mark.parametrize("words", [["--resume"], ["--resume="], ["--resume", "--wandb=false"]])
def test_resume_of_nothing(words):
    with pytest.raises(UserError, match="--resume needs a run folder"):
        of_resumed(words)


@pytest.mark.parametrize(
    "words", [[], ["conf/x.yaml"], ["--config", "nowhere"], ["--config", "{folder}/twice.yaml"], ["--resume=nowhere"]]
)
def test_mistakes_in_words_and_yaml_import_nothing_heavy(words, tmp_path):
    (tmp_path / "twice.yaml").write_text("a: 1\na: 2\n")
    words = [word.format(folder=tmp_path) for word in words]
    code = (
        f"import sys; from lit_gen.cli.main import main; assert main(['fit', *{words}]) == 2\n"
        "assert not {'torch', 'lightning', 'jsonargparse', 'wandb', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("lit-gen: error: ")
