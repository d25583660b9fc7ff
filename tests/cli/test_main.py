"""The front door: quick help, misspelt verbs, exit statuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_gen.cli import main as front

HEAVY = ("torch", "lightning", "jsonargparse", "wandb", "numpy")
ANSWER = "import sys; from lit_gen.cli.main import main\ntry: main({arguments})\nexcept SystemExit: pass\n"
REPORT = f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["sample", "--help"], ["fitt"], []])
def test_help_and_mistakes_import_nothing_heavy(arguments):
    # What makes help slow is imports; counting them doesn't depend on the machine's mood, as seconds would.
    code = ANSWER.format(arguments=arguments) + REPORT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_module_runs_as_program():
    done = subprocess.run([sys.executable, "-m", "lit_gen", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: lit-gen VERB")


def test_misspelt_verb_names_the_nearest(capsys):
    assert front.main(["fti"]) == 2
    assert capsys.readouterr().err == "lit-gen: error: there is no verb 'fti'; did you mean 'fit'?\n"


def test_verb_like_nothing_lists_the_verbs(capsys):
    assert front.main(["xyzzy"]) == 2
    assert "fit, validate, test, predict, sample, list" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys):
    assert front.main(["list", "--folder", "nowhere", "--debug"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "there is no folder nowhere" in told


def test_list_names_families_configs_and_papers(capsys):
    assert front.main(["list"]) == 0
    told = capsys.readouterr().out
    assert "\nvaes\n" in f"\n{told}"
    assert "\n  vaes/vae_mnist\n" in told
    assert "https://arxiv.org/abs/1312.6114" in told
    assert "\n  data/mnist\n" not in told, "a part is no config"
    assert "data/mnist, " in told.splitlines()[-1]


def test_list_of_an_unknown_family(capsys):
    assert front.main(["list", "vae"]) == 2
    assert "there is no family 'vae'" in capsys.readouterr().err


def test_parts_of_ones_own_are_found_in_the_current_folder(tmp_path):
    """A console script has its own folder on the path in the place of the current one."""
    (tmp_path / "own_part.py").write_text("")
    code = "import os, sys; sys.path.remove(''); sys.argv = ['lit-gen', 'list', 'gans']\n"
    code += "from lit_gen.cli.main import main; main(); import own_part"
    environment = {**os.environ, "PYTHONPATH": str(Path(front.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
