"""The words of ``fit``, ``validate``, ``test`` and ``predict``, before anything heavy is imported."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from lit_gen.cli import config_files, overrides, run_folder
from lit_gen.errors import UserError

ASKS = ("-h", "--help", "--print_config", "--print_shtab")
"""Options that want an answer and no run."""

FLAGS = ("-h", "--help", "--print_config")
"""Options that take no word after them."""


def prepared(verb: str, arguments: Sequence[str]) -> list[str]:
    """A command line as the parser wants it: configs first, found wherever they are, and checked.

    The configs come before all other options, in their order, so that what is asked for on the command line holds
    wherever it stands. Among the other options the last of two equal ones holds, as is usual.

    Raises:
        UserError: a word that belongs to no option, a config that isn't there or says something else than what stands
            there, a name that a run folder can't have, or nothing to run.
    """
    words = _joined(arguments)
    configs, others = [], []
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--config", "-c"):
            if not value:
                raise UserError(f"--config needs a name or a file: {config_files.EXAMPLE}")
            configs.append(f"--config={config_files.config_named(value)}")
        elif equals and option.removeprefix("--") in config_files.PARTS:
            others.append(f"{option}={config_files.part_named(option, value)}")
        else:
            others.append(word)
        if option == "--name" and equals:
            run_folder.check_name(value, "--name")
        if word in ("--runs=", "--ckpt_path=", "--resume="):
            raise UserError(f"{option} is empty: name a folder")
    asks = any(word.split("=")[0].endswith(ASKS) or ".help" in word for word in others)
    if not configs and not asks and not any(word.startswith("--model") for word in others):
        raise UserError(f"{verb} needs a config: lit-gen {verb} --config vaes/vae_digits (lit-gen list shows all)")
    config_files.check([*configs, *others])
    overrides.check_lists([*configs, *others])
    return [*configs, *others]


def _joined(arguments: Sequence[str]) -> list[str]:
    """Each option with its value in one word, ``--key=value``.

    Raises:
        UserError: a word belongs to no option.
    """
    words, joined = list(arguments), []
    while words:
        word = words.pop(0)
        if word == "-c" or (word.startswith("--") and "=" not in word and word not in FLAGS):
            takes = bool(words) and not words[0].startswith("--")
            joined.append(f"{'--config' if word == '-c' else word}={words.pop(0)}" if takes else word)
        elif word.startswith("--") or word in FLAGS:
            joined.append(word)
        elif match := re.fullmatch(r"-c=?(.*\.ya?ml)", word):
            joined.append(f"--config={match.group(1)}")
        else:
            raise UserError(_stray(word))
    return joined


def _stray(word: str) -> str:
    if word.startswith("-"):
        return f"there is no option {word}: options begin with two dashes, as in -{word}"
    if re.fullmatch(r"\w[\w.]*=.*", word, flags=re.DOTALL):
        return f"'{word}' lacks its dashes: write --{word}"
    if config_files.find(word) or word.endswith(config_files.SUFFIXES):
        known = config_files.names()
        shown = word if config_files.find(word) else next(iter(difflib.get_close_matches(word, known, n=1)), word)
        return f"'{word}' stands without an option: a config is named by --config {shown}"
    return f"'{word}' belongs to no option: write --key=value, and a config as in {config_files.EXAMPLE}"


def of_resumed(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """``--resume RUN`` stands for that run's config, before any override.

    Raises:
        UserError: it is not a run folder.
    """
    arguments = list(arguments)
    for position, word in enumerate(arguments):
        if word == "--resume" or word.startswith("--resume="):
            value = word.partition("=")[2] or (arguments[position + 1 : position + 2] or [""])[0]
            if not value or value.startswith("--"):
                raise UserError("--resume needs a run folder, as in lit-gen fit --resume runs/vae_digits/ID")
            del arguments[position : position + (1 if "=" in word else 2)]
            run = Path(value)
            if not (run / run_folder.CONFIG).is_file():
                raise UserError(f"cannot resume '{value}': it is not a run folder (it has no {run_folder.CONFIG})")
            return ["--config", str(run / run_folder.CONFIG), *arguments], run
    return arguments, None
