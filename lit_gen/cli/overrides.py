"""What a command line changes in its config: for the run's record, and as the end of its folder's name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lit_gen.cli.config_files import pairs

NO_CHANGE = ("config", "c", "runs", "name", "wandb", "resume", "ckpt_path", "print_config", "help", "h")
"""Options that say where a run goes and comes from, not what it is."""

LENGTH = 40
"""Characters that ``suffix`` may take."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def overrides(arguments: Sequence[str]) -> dict[str, str]:
    """The keys that a command line changes, short (``model.beta``), each with its value as it was written.

    Left out are a value that the config has anyway, lists of callbacks, and options that don't change what is computed.
    A second ``--config`` counts as a change named ``config``.
    """
    given = [(option.lstrip("-"), value) for option, value in pairs(arguments)]
    files = [value for option, value in given if option in ("config", "c")]
    trees = [tree for tree in map(read, files) if isinstance(tree, Mapping)]
    found = {"config": " ".join(files[1:])} if len(files) > 1 else {}
    for option, value in given:
        key = short_key(option)
        if option.split(".")[0] in NO_CHANGE or "callbacks" in key.split("."):
            continue
        if not any(_agrees(tree, key.split("."), value) for tree in reversed(trees)):
            found[key] = value
    return found


def suffix(changes: Mapping[str, str], verb: str = "fit") -> str:
    """A few words for a folder's name, such as ``beta=4-max_epochs=2``; empty where nothing was changed.

    Letters, digits and ``=._-`` only, at most 40 of them: as many changes as fit, each by the last part of its key
    (after the stage's name, of a stage's own).
    A verb other than ``fit`` comes first.
    """
    words = [] if verb == "fit" else [verb]
    for key, value in changes.items():
        name = {"seed_everything": "seed"}.get(key, key.rsplit(".", 1)[-1])
        if key.startswith("stages."):
            name = f"{key.split('.')[1]}.{name}"
        sign = "-" if re.match(r"-\.?\d", value) else ""
        value = sign + re.sub(r"[^A-Za-z0-9._]+", "-", _short_value(value)).strip("-" if sign else "-.").rstrip("-.")
        words.append(f"{name}={value}" if value else name)
    taken = ""
    for word in [re.sub(r"[^A-Za-z0-9=._-]+", "-", word) for word in words]:
        if len(taken) + 1 + len(word) <= LENGTH:
            taken += f"-{word}" if taken else word
        elif not taken:
            taken = word[:LENGTH].rstrip("-.=")
    return taken


def short_key(option: str) -> str:
    """A key without ``init_args`` and ``class_path``.

    >>> short_key("model.init_args.prior.class_path")
    'model.prior'
    """
    return ".".join(part for part in option.split(".") if part not in ("init_args", "class_path"))


def _short_value(value: str) -> str:
    """A file by its stem, classes by their names alone."""
    if re.search(r"/|\.(ya?ml|npz|npy|ckpt|pt|png)$", value) and not re.search(r"[\[{]", value):
        return Path(value).stem
    return re.sub(r"(?<![\w.])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", value)


def read(text: str) -> Any:
    """A config by its file's name, or as YAML on the command line; None if it is neither."""
    try:
        if "\n" not in text and len(text) < 4096 and Path(text).is_file():
            return _beside(yaml.load(Path(text).read_text(encoding="utf-8"), _Loader), Path(text).parent)
        return yaml.load(text, _Loader)
    except (OSError, ValueError, yaml.YAMLError):  # the parser says what is wrong with it
        return None


def _beside(tree: Any, folder: Path) -> Any:
    """The tree with the parts that its top level names by a file, relative to its own, in their places."""
    if not isinstance(tree, Mapping):
        return tree
    named = {key: folder / value for key, value in tree.items() if isinstance(value, str) and ".y" in value}
    return {**tree, **{key: read(str(path)) for key, path in named.items() if path.is_file()}}


def _agrees(tree: Any, key: Sequence[str], value: str) -> bool:
    """Whether a config has this value for this key."""
    for part in key:
        if isinstance(tree, Mapping) and isinstance(tree.get("init_args"), Mapping):
            tree = tree["init_args"]
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    if isinstance(tree, Mapping):
        tree = tree.get("class_path")
    try:
        return yaml.load(value, _Loader) == tree
    except yaml.YAMLError:
        return False
