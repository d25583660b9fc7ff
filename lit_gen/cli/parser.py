"""The argument parser: short interpolation paths, and errors that name the nearest right key."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml
from jsonargparse._loaders_dumpers import yaml_load
from lightning.pytorch.cli import LightningArgumentParser

from lit_gen.errors import UserError

_INTERPOLATION = re.compile(r"\$\{((?:model|data)\.[A-Za-z0-9_.]+)\}")


def full_path(path: str) -> str:
    """The key that a short path means: every part of a model or of the data is a class with ``init_args``.

    >>> full_path("data.image_shape")
    'data.init_args.image_shape'
    >>> full_path("model.prior.dim")
    'model.init_args.prior.init_args.dim'
    """
    parts = path.split(".")
    if "init_args" in parts or "class_path" in parts:
        return path
    return ".init_args.".join(parts)


def _expand(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _expand(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_expand(value) for value in node]
    if isinstance(node, str):
        return _INTERPOLATION.sub(lambda match: "${" + full_path(match.group(1)) + "}", node)
    return node


def load_yaml(text: str) -> Any:
    """YAML with ``${data.image_shape}`` written out in full; jsonargparse resolves it after all files and overrides."""
    return _expand(yaml_load(text))


def set_up() -> None:
    """Make jsonargparse's ``omegaconf+`` mode read configs with :func:`load_yaml`."""
    jsonargparse.set_loader("omegaconf+", load_yaml, exceptions=(yaml.YAMLError,))
    # Of a default that is an Enum, as that of Lightning's Timer; jsonargparse reads it by its name.
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_str(value.name))


PARTS = ("model", "data", "trainer")
"""Keys of a config whose value may be the name of a file that holds it."""


def check_files(arguments: Sequence[str]) -> None:
    """Check each config that a command line names; jsonargparse doesn't say which of them it can't read.

    Raises:
        UserError: one of them isn't text, isn't YAML, or is no mapping of keys to values.
    """
    options = ("--config", "-c", *(f"--{part}" for part in PARTS))
    words = [part for word in arguments for part in word.split("=", 1)]
    for option, value in pairwise(words):
        if option in options and os.path.isfile(value):  # what is no file may be YAML itself, or the name of a class
            _check_file(Path(value))


def _check_file(path: Path) -> None:
    content = _content(path)
    if not isinstance(content, Mapping):
        told = "is empty" if content is None else f"holds {_shown(content)}"
        raise UserError(f"{path} {told}, but a config maps keys to values, as in 'seed_everything: 0'")
    stages = content.get("stages")
    for config in [content, *(stages if isinstance(stages, list) else [])]:
        values = [config.get(part) for part in PARTS] if isinstance(config, Mapping) else []
        for beside in [path.parent / value for value in values if isinstance(value, str)]:
            if os.path.isfile(beside) and not os.path.samefile(beside, path):
                _check_file(beside)


def _content(path: Path) -> Any:
    try:
        return yaml_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise UserError(f"{path} is not a YAML text file") from error
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path} is not YAML: {error.problem}{where}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from error


def _shown(content: Any) -> str:
    return "a list" if isinstance(content, list) else f"only '{str(content)[:40]}'"


class Parser(LightningArgumentParser):
    """LightningCLI's parser, whose errors are :class:`UserError` of one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(readable(message, self)) from ex


_NO_KEY = re.compile(r"there is no key '[^']+'[^;\n]*(?:; the nearest right one is '[^']+'|; there are [^\n]+)?")
_UNRECOGNIZED = re.compile(r"[Uu]nrecognized arguments: (\S+)")
_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_NOT_ACCEPTED = re.compile(r"(?:Option|Key|[Gg]roup|Nested key) '([^']+)' is not (?:accepted|expected)")
_NOT_A_FILE = re.compile(r"(?:Expected a path but|File does not exist:) '?(\S+?\.ya?ml)'?(?: |$)")
_NOISE = re.compile(r"Subtypes:|Errors:|Does not validate|Given value|Expected a (?:<class 'NoneType'>|path but)")


def readable(message: str, parser: jsonargparse.ArgumentParser) -> str:
    """One line out of jsonargparse's nested message, with the nearest right key for a wrong one.

    Nested classes are parsed by parsers of their own, whose line then stands inside the outer parser's message.
    """
    if match := _NO_KEY.search(message):
        return match.group(0)
    if match := _GROUP.search(message) or _UNRECOGNIZED.search(message) or _NOT_ACCEPTED.search(message):
        key = ".".join(match.groups()).split("=")[0].lstrip("-")
        return f"there is no key '{key}'{_nearest(key, parser)}"
    if match := _NOT_A_FILE.search(message):
        return f"there is no file {match.group(1)}"
    lines = [line.strip(" -\n") for line in message.split("\n")]
    kept = [line.rstrip(":") for line in lines if line and not _NOISE.match(line)]
    line = re.sub(r"\s+", " ", ": ".join(kept))
    line = re.sub(r'Parser key "([^"]+)"', r"\1", line)
    line = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", line)
    given = re.search(r"Given value: ([^()]{1,60})$", message, flags=re.M)
    return line + (f", got {given.group(1)}" if given and "Got value" not in line else "")


def _nearest(key: str, parser: jsonargparse.ArgumentParser) -> str:
    options = [action.dest for action in parser._actions]
    options = [option for option in options if not option.endswith(("help", "SUPPRESS==", "print_config"))]
    groups = sorted({option.split(".")[0] for option in options})
    first, *rest = key.split(".")
    # A part's own keys are known only to the part, so a misspelt first segment is mended by itself.
    if first not in groups and (close := difflib.get_close_matches(first, groups, n=1, cutoff=0.5)):
        return f"; the nearest right one is '{'.'.join([close[0], *rest])}'"
    if close := difflib.get_close_matches(key, options, n=1, cutoff=0.5):
        return f"; the nearest right one is '{close[0]}'"
    return f"; there are {', '.join(groups)}"
