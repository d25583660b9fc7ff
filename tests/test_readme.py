"""What the README shows can be run."""

import re
import shlex
from pathlib import Path

import pytest

from lit_gen.cli import config_files
from lit_gen.cli.main import VERBS

README = Path("README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if "lit-gen " in line]


def test_first_block_is_the_two_commands_that_ci_runs():
    install, test = BLOCKS[0].strip().splitlines()
    assert install == (
        "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e . && "
        ".venv/bin/lit-gen fit --config conf/vaes/vae_digits.yaml"
    )
    assert test == ".venv/bin/pip install -c constraints.txt -e '.[test]' && .venv/bin/pytest"


@pytest.mark.parametrize("line", LINES)
def test_commands_name_verbs_and_files_that_exist(line):
    words = shlex.split(line, comments=True)
    verb = words[next(i for i, word in enumerate(words) if word.endswith("lit-gen")) + 1]
    assert verb in VERBS or verb == "VERB"
    for option, value in config_files.pairs(words):
        if option in ("--config", "--data", "--trainer") and not value.startswith(("lit_gen.", "runs/")):
            assert config_files.find(value), value


def test_tree_names_every_room():
    for room in Path("lit_gen").iterdir():
        if room.is_dir() and (room / "__init__.py").is_file():
            assert f"  {room.name}/" in README, room.name


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert Path(target).exists(), target
