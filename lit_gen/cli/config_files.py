"""The config files that a command line names: found from anywhere, read, and checked before anything heavy is imported.

A name such as ``vaes/vae_digits`` is looked for as given, with ``.yaml``, below ``conf`` here, and below the configs
that are installed with the package.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml import MappingNode, Node, SequenceNode

from lit_gen.cli import yaml_text
from lit_gen.errors import UserError

PARTS = ("model", "data", "trainer")
"""Keys of a config whose value may be the name of a file that holds it."""

SUFFIXES = (".yaml", ".yml")

NOTHING = ("", "null", "None", "~")

BESIDE_CLASS = ("class_path", "init_args", "dict_kwargs")
"""Keys that a part may have."""

EXAMPLE = "lit-gen fit --config vaes/vae_digits"


def installed_folder() -> Path:
    """The configs that came with the package; in a checkout without links, those at its root."""
    package = Path(__file__).resolve().parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def named_folders() -> list[Path]:
    """The folders whose configs have names, ``conf`` here before those that are installed."""
    return [Path("conf"), installed_folder()]


def find(name: str) -> Path | None:
    """The config file or part that a name means, a run folder meaning its own config; None if there is none."""
    for folder in (Path(), *named_folders()):
        for candidate in (folder / name, *(folder / f"{name}{suffix}" for suffix in SUFFIXES)):
            if _is_file(candidate):
                return candidate
        if _is_file(folder / name / "config.yaml"):
            return folder / name / "config.yaml"
    return None


def names() -> list[str]:
    """All names of configs and parts that :func:`find` knows wherever one is, such as ``vaes/vae_digits``."""
    found = {path.relative_to(folder).with_suffix("") for folder in named_folders() for path in folder.glob("*/*.yaml")}
    return sorted(path.as_posix() for path in found)


def config_named(name: str) -> str:
    """The value of ``--config``: a found file's path, or the config itself where it is YAML text.

    Raises:
        UserError: there is no such file.
    """
    if _is_text(name):
        return name
    path = find(name)
    if path is None:
        raise UserError(f"there is no config '{name}'{_nearest(name)}")
    return str(path)


def part_named(option: str, name: str) -> str:
    """The value of ``--model``, ``--data`` or ``--trainer``: a found file's path, or the value itself.

    Raises:
        UserError: the value can only be the name of a file, and there is none.
    """
    key = option.removeprefix("--")
    if name in NOTHING:
        raise UserError(f"{option}={name} is nothing: name a class or a file, or leave the option out")
    if _is_text(name):
        return name
    path = find(name)
    if path is None and (name.endswith(SUFFIXES) or "/" in name or key == "trainer"):
        raise UserError(f"{option}: there is no file {name}{_nearest(name)}")
    if path is None and "." not in name and find(f"{key}/{name}"):
        raise UserError(f"{option}: there is no class or file '{name}'; the nearest is {key}/{name}")
    return str(path) if path and (path.suffix in SUFFIXES or "/" in name) else name


def name_of(arguments: Sequence[str]) -> str | None:
    """The name of the first config file among the words of a command line."""
    files = [value for option, value in pairs(arguments) if option in ("--config", "-c") and not _is_text(value)]
    return Path(files[0]).stem if files else None


def pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """The options of a command line with their values, in either form; a flag's value is empty."""
    found, words = [], list(arguments)
    while words:
        option, equals, value = words.pop(0).partition("=")
        if not equals and words and not words[0].startswith("--"):
            value = words.pop(0)
        found.append((option, value))
    return found


def check(arguments: Sequence[str]) -> None:
    """Check each config that a command line names, and the files that these name.

    Raises:
        UserError: one of them isn't text, isn't YAML or says something else than what stands there, is no mapping of
            keys to values, or has nothing where a part should be.
    """
    for option, value in pairs(arguments):
        if option in ("--config", "-c", *(f"--{part}" for part in PARTS)) and _is_file(Path(value)):
            _check_file(Path(value), option.lstrip("-") in PARTS)
        elif any(sign in value for sign in "{[:\n"):
            try:
                yaml_text.load(value)
                _check_classes(yaml_text.compose(value), option)
            except yaml_text.Refused as error:
                raise UserError(f"{option}: {error.problem}") from error
            except yaml.YAMLError:
                pass  # it may be meant as a word; the parser knows what each option takes


def read(path: Path) -> Any:
    """What a config file says.

    Raises:
        UserError: it isn't text, isn't YAML, or says something else than what stands there.
    """
    try:
        return yaml_text.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise UserError(f"{path} is not a YAML text file") from error
    except yaml_text.Refused as error:
        raise UserError(f"{path}: {error.problem}") from error
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path} is not YAML: {error.problem}{where}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error


def _check_file(path: Path, is_part: bool) -> None:
    content = read(path)
    _check_classes(yaml_text.compose(path.read_text(encoding="utf-8")), str(path))
    if not isinstance(content, Mapping):
        held = "is empty" if content is None else f"holds {_shown(content)}"
        raise UserError(f"{path} {held}, but a config maps keys to values, as in 'seed_everything: 0'")
    stages = content.get("stages")
    for config in [content, *(stages if isinstance(stages, list) else [])]:
        if isinstance(config, Mapping) and not is_part:
            _check_parts(path, config)
    for beside in _files_named(content, path.parent):
        if not os.path.samefile(beside, path):
            _check_file(beside, True)


def _check_parts(path: Path, config: Mapping[str, Any]) -> None:
    for part in PARTS:
        value = config.get(part)
        if part in config and value is None:
            cure = "give it a value, or leave the key out (is its content indented?)"
            raise UserError(f"{path}: '{part}' is null: {cure}")
        is_file = isinstance(value, str) and (value.endswith(SUFFIXES) or "/" in value or part == "trainer")
        if is_file and not _is_file(path.parent / value):
            cure = f"; write {value}.yaml" if _is_file(path.parent / f"{value}.yaml") else _nearest(value)
            raise UserError(f"{path}: {part}: there is no file {path.parent / value}{cure}")


def _check_classes(node: Node | None, source: str) -> None:
    """Refuse arguments that stand beside their class's ``class_path``, where the parser would not look for them."""
    if isinstance(node, SequenceNode):
        for item in node.value:
            _check_classes(item, source)
    if not isinstance(node, MappingNode):
        return
    keys = dict(yaml_text.items(node))
    if "class_path" in keys and (beside := [key for key in keys if key not in BESIDE_CLASS]):
        line = yaml_text.line_of(keys[beside[0]])
        raise UserError(f"{source}: '{beside[0]}' in line {line} stands beside class_path: put it into init_args")
    if "init_args" in keys and keys["init_args"].tag.endswith(":null"):
        line = yaml_text.line_of(keys["init_args"])
        raise UserError(f"{source}: init_args in line {line} is null: give arguments, or leave the key out")
    for value in keys.values():
        _check_classes(value, source)


def _files_named(node: Any, folder: Path, key: str = "") -> list[Path]:
    """The files of parts that a config names; a YAML file that holds none may be anything, such as data."""
    if isinstance(node, Mapping):
        return [file for key, value in node.items() for file in _files_named(value, folder, key)]
    if isinstance(node, list):
        return [file for value in node for file in _files_named(value, folder)]
    if not (isinstance(node, str) and node.endswith(SUFFIXES) and _is_file(folder / node)):
        return []
    return [folder / node] if key in PARTS or _holds_a_part(folder / node) else []


def _holds_a_part(path: Path) -> bool:
    return re.search(r"^class_path\s*:", path.read_text(encoding="utf-8", errors="replace"), flags=re.M) is not None


def _nearest(name: str) -> str:
    """The end of a sentence that said that there is no such file: the nearest names, or where to see them."""
    known = names()
    wanted = name.removesuffix(".yaml").removeprefix("conf/").replace("../", "")
    by_stem = {one.rsplit("/", 1)[-1]: one for one in known}
    close = difflib.get_close_matches(wanted, known, n=2, cutoff=0.7)
    close = close or [by_stem[one] for one in difflib.get_close_matches(Path(wanted).name, by_stem, n=2, cutoff=0.7)]
    if close:
        return f"; the nearest {'is' if len(close) == 1 else 'are'} {' and '.join(close)}"
    return "; lit-gen list shows those there are"


def _is_text(value: str) -> bool:
    return any(sign in value for sign in "\n{") or ": " in value


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # unlike Path.is_file, it takes a name too long for one


def _shown(content: Any) -> str:
    return "a list" if isinstance(content, list) else f"only '{str(content)[:40]}'"
