"""What a command line changes in its config: for the run's record, and as the end of its folder's name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lit_gen.cli import yaml_text
from lit_gen.cli.config_files import pairs
from lit_gen.errors import UserError

NO_CHANGE = ("config", "c", "runs", "name", "wandb", "resume", "ckpt_path", "print_config", "help", "h")
"""Options that say where a run goes and comes from, not what it is."""

LENGTH = 40
"""Characters that ``suffix`` may take."""

_NOTHING = object()


def overrides(arguments: Sequence[str]) -> dict[str, str]:
    """The keys that a command line changes, short (``model.beta``), each with its value as it was written.

    Left out are a value that the config has anyway, and options that don't change what is computed. Of a list of
    callbacks there are the names of their classes. A second ``--config`` counts as a change named ``config``.
    """
    given = [(option.lstrip("-"), value) for option, value in pairs(arguments)]
    files = [value for option, value in given if option in ("config", "c")]
    trees = [tree for tree in map(read, files) if isinstance(tree, Mapping)]
    found = {"config": " ".join(files[1:])} if len(files) > 1 else {}
    for option, value in given:
        key = short_key(option)
        if option.split(".")[0] in NO_CHANGE:
            continue
        if not any(_agrees(tree, key.split("."), value) for tree in reversed(trees)):
            found[key] = _classes_of(value) if key.rstrip("+").endswith(".callbacks") else value
    return found


def check_lists(arguments: Sequence[str]) -> None:
    """Refuse a key below a list of a config, which the parser would set in the list's last entry alone.

    After an option that names the list or its entry, as ``--trainer.callbacks+=CLASS``, such a key is that entry's.

    Raises:
        UserError: names the list and says how to change one entry.
    """
    given = [(option.lstrip("-"), value) for option, value in pairs(arguments)]
    trees = [tree for option, value in given if option in ("config", "c") and isinstance(tree := read(value), Mapping)]
    named: set[str] = set()
    for option, _ in given:
        key = short_key(option)
        above = [key.rsplit(".", count)[0] for count in range(1, key.count(".") + 1)]
        if key.split(".")[0] != "stages" and not named.intersection(above):
            for one in above:
                if any(isinstance(_value(tree, one.split(".")), list) for tree in trees):
                    raise UserError(
                        f"--{option}: {one} is a list, whose entries have no keys here. To change one entry, change it "
                        f"in a copy of the config, or give the whole list: --{one}='[{{class_path: …}}, …]'"
                    )
        named.add(key.rstrip("+"))


def suffix(changes: Mapping[str, str], verb: str = "fit") -> str:
    """A few words for a folder's name, such as ``beta=4-max_epochs=2``; empty where nothing was changed.

    Letters, digits and ``=._-`` only, at most 40 of them: as many changes as fit, each by the last part of its key
    (after the stage's name, of a stage's own). Callbacks are left out.
    A verb other than ``fit`` comes first.
    """
    words = [] if verb == "fit" else [verb]
    for key, value in changes.items():
        if "callbacks" in key.rstrip("+").split("."):
            continue
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
            return _beside(yaml_text.load(Path(text).read_text(encoding="utf-8")), Path(text).parent)
        return yaml_text.load(text)
    except (OSError, ValueError, yaml.YAMLError):  # the parser says what is wrong with it
        return None


def _beside(tree: Any, folder: Path) -> Any:
    """The tree with the parts that its top level names by a file, relative to its own, in their places."""
    if not isinstance(tree, Mapping):
        return tree
    named = {key: folder / value for key, value in tree.items() if isinstance(value, str) and ".y" in value}
    return {**tree, **{key: read(str(path)) for key, path in named.items() if path.is_file()}}


def _value(tree: Any, key: Sequence[str]) -> Any:
    """What a config has at a short key; ``_NOTHING`` without that key."""
    for part in key:
        if isinstance(tree, Mapping) and isinstance(tree.get("init_args"), Mapping):
            tree = tree["init_args"]
        if not isinstance(tree, Mapping) or part not in tree:
            return _NOTHING
        tree = tree[part]
    return tree


def _classes_of(value: str) -> str:
    """A list of callbacks by the names of their classes."""
    tree = read(value)
    entries = tree if isinstance(tree, list) else [tree]
    paths = [entry.get("class_path") if isinstance(entry, Mapping) else entry for entry in entries]
    return ", ".join(str(path).rsplit(".", 1)[-1] for path in paths if path is not None) or "none"


def _agrees(tree: Any, key: Sequence[str], value: str) -> bool:
    """Whether a config has this value for this key."""
    tree = _value(tree, key)
    if tree is _NOTHING:
        return False
    if isinstance(tree, Mapping):
        tree = tree.get("class_path")
    try:
        return yaml_text.load(value) == tree
    except yaml.YAMLError:
        return False
