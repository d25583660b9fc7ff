"""Configs with ``stages``: each stage's own command line, before any of it is parsed.

A config's ``stages`` is a list. An item has a ``name``, may have ``start_from``, and otherwise holds any keys of a
config, which are laid over those that the stages have in common: mappings are merged key by key, a part with another
``class_path`` replaces the one below it, and so does a list.

On the command line, what comes after the config holds for every stage, and ``--stages.<name>.trainer.max_epochs=3``
for one.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_gen.cli import interpolation, yaml_text
from lit_gen.cli.config_files import PARTS, name_of
from lit_gen.errors import UserError

OF_THE_RUN = ("runs", "resume", "ckpt_path", "config", "stages")
"""Keys that a stage can't have for itself."""


@dataclass(frozen=True)
class Stage:
    """One stage of a staged run.

    Attributes:
        number: its place, from 1.
        name: its name, unique within the run.
        start_from: prefix in this model's state dict -> ``<earlier stage>.<prefix in what that stage hands on>``.
        arguments: the command line of this stage as a run of its own.
        own: the words among them that named this stage.
    """

    number: int
    name: str
    start_from: dict[str, str]
    arguments: list[str]
    own: list[str]


def read(arguments: Sequence[str]) -> list[Stage] | None:
    """The stages that a command line's config has; None if it has none.

    Raises:
        UserError: if the list of stages isn't one, or words of the command line name a stage that isn't there.
    """
    files = [(position, path) for position, path in _config_files(arguments) if _has_stages(path)]
    words_of_stages = [word for word in arguments if word.startswith("--stages")]
    if not files:
        if words_of_stages:
            raise UserError(f"{words_of_stages[0].split('=')[0]}: none of the configs has stages")
        return None
    if len(files) > 1:
        raise UserError(f"{files[0][1]} and {files[1][1]} both have stages: give one of them")
    (position, path), *_ = files
    length = 1 if "=" in arguments[position] else 2
    before, own = _split_off(arguments[:position])
    after, later = _split_off(arguments[position + length :])
    common, items = _contents(path)
    common.setdefault("name", name_of(arguments))
    names = [_name(number, item) for number, item in enumerate(items, 1)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}: two stages are named '{repeated[0]}'")
    own = [*own, *later]
    for name, word in own:
        if name not in names:
            key = word.removeprefix("--").split("=")[0]
            raise UserError(f"--stages.{name}.{key}: there is no stage '{name}'{nearest(name, names)}")
    return [
        Stage(
            number,
            name,
            _start_from(name, item),
            [*before, f"--config={_text(common, item)}", *after, *(word for of, word in own if of == name)],
            [word for of, word in own if of == name],
        )
        for number, (name, item) in enumerate(zip(names, items, strict=True), 1)
    ]


def laid_over(below: Any, above: Any) -> Any:
    """``above`` laid over ``below``: mappings key by key, everything else replaced.

    A mapping with another ``class_path`` than the one below is another part, so it replaces it.
    """
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    if "class_path" in above and above["class_path"] != below.get("class_path"):
        return above
    merged = {key: laid_over(below[key], value) if key in below else value for key, value in above.items()}
    return {**below, **merged}


def whole(stages: Sequence[Stage], configs: Mapping[str, str]) -> str:
    """The config of the whole run, of which ``read`` makes the same stages.

    Args:
        stages: the run's stages.
        configs: by each stage's name its config as YAML, resolved or with interpolations kept.

    Returns:
        YAML in which what all stages share stands once; an interpolation that is kept has its value beside it.
    """
    resolved = [interpolation.read_kept(configs[stage.name]) for stage in stages]
    common = {key: value for key, value in resolved[0].items() if all(key in c and c[key] == value for c in resolved)}
    items = []
    for stage, config in zip(stages, resolved, strict=True):
        # From one stage's root to this one's is written as it was read: as the stage's name.
        start = stage.start_from.get("") if list(stage.start_from) == [""] else stage.start_from
        own = {key: value for key, value in config.items() if key not in (*common, "name", *OF_THE_RUN)}
        items.append({"name": stage.name, **({"start_from": start} if start else {}), **own})
    return interpolation.dump({**common, "stages": items})


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that said that there is no such name."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not names:
        return "; there are none"
    listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    return f"; the nearest is '{close[0]}'" if close else f"; there {'is' if len(names) == 1 else 'are'} {listed}"


def _config_files(arguments: Sequence[str]) -> list[tuple[int, Path]]:
    """Each config file among the words, with the place of its option."""
    found = []
    for position, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option in ("--config", "-c"):
            value = value if equals else "".join(arguments[position + 1 : position + 2])
            found.append((position, Path(value)))
    return found


def _has_stages(path: Path) -> bool:
    try:
        content = yaml_text.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False  # the parser will say what is wrong with it
    return isinstance(content, Mapping) and content.get("stages") is not None


def _split_off(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The words without those for a single stage; and those, as the stage's name and the word for its command line.

    Raises:
        UserError: if such a word isn't ``--stages.<name>.<key>=<value>``.
    """
    kept, of_stages = [], []
    words = list(words)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if not re.match(r"--stages(\.|$)", option):
            kept.append(word)
            continue
        if option.count(".") < 2 or not (equals or words):
            raise UserError(f"{option}: write --stages.<name>.<key>=<value>; the list itself belongs in a config file")
        name, key = option.removeprefix("--stages.").split(".", 1)
        of_stages.append((name, f"--{key}={value if equals else words.pop(0)}"))
    return kept, of_stages


def _contents(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the stages have in common, and the stages' items.

    Raises:
        UserError: if ``stages`` is not a list of mappings, or empty.
    """
    content = _beside(yaml_text.load(path.read_text(encoding="utf-8")), path.resolve().parent)
    items = content.pop("stages")
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise UserError(f"{path}: 'stages' must be a list, each item with a name and the stage's own keys")
    if not items:
        raise UserError(f"{path}: the list of stages is empty")
    return _parts_read(content), [_parts_read(item) for item in items]


def _beside(node: Any, folder: Path) -> Any:
    """Names of YAML files that lie relative to the file that names them, made absolute."""
    if isinstance(node, Mapping):
        return {key: _beside(value, folder) for key, value in node.items()}
    if isinstance(node, list):
        return [_beside(value, folder) for value in node]
    if isinstance(node, str) and node.endswith((".yaml", ".yml")) and (folder / node).is_file():
        return str((folder / node).resolve())
    return node


def _parts_read(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with its model, data and trainer in place of the files' names, so that they can be merged."""
    read = dict(config)
    for key in PARTS:
        value = read.get(key)
        if isinstance(value, str) and value.endswith((".yaml", ".yml")) and Path(value).is_file():
            read[key] = _beside(yaml_text.load(Path(value).read_text(encoding="utf-8")), Path(value).parent)
    return read


def _name(number: int, item: Mapping[str, Any]) -> str:
    name = item.get("name")
    if name is None:
        raise UserError(f"stage {number} has no name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
        raise UserError(f"stage {number}: a name has letters, digits, _ and - only, which '{name}' has not")
    for key in item:
        if key in OF_THE_RUN:
            raise UserError(f"stage '{name}': '{key}' is the whole run's, and stands beside 'stages'")
        if key not in ("name", "start_from") and difflib.get_close_matches(str(key), ["start_from"], cutoff=0.75):
            raise UserError(f"stage '{name}': there is no key '{key}'; the nearest right one is 'start_from'")
    return name


def _start_from(name: str, item: Mapping[str, Any]) -> dict[str, str]:
    given = item.get("start_from") or {}
    given = {"": given} if isinstance(given, str) else given
    if not isinstance(given, Mapping) or not all(isinstance(word, str) for pair in given.items() for word in pair):
        raise UserError(
            f"stage '{name}': start_from maps prefixes in this model to <earlier stage>.<prefix>, got {given!r}"
        )
    return dict(given)


class _Quoting(yaml.SafeDumper):
    """Strings are quoted, so that none is taken for a number by a loader with another idea of numbers."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def _text(common: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    own = {key: value for key, value in item.items() if key not in ("name", "start_from")}
    return yaml.dump(laid_over(common, own), Dumper=_Quoting, width=10**6, allow_unicode=True)
