"""``${data.image_shape}`` in configs: written in short, resolved after all files and options, kept in the run's own.

A run's ``config.yaml`` keeps each interpolation, with its value beside it as a comment, so that the config can be
changed and run again. Checkpoints and loggers get the values.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationKeyError, OmegaConfBaseException
from yaml import MappingNode, Node, SequenceNode

from lit_gen.cli import yaml_text

Keys = tuple[str | int, ...]
"""The keys, and numbers in lists, that lead to a value."""

_REFERENCE = re.compile(r"\$\{((?:model|data)\.[A-Za-z0-9_.]+)(?=[\[}])")
_PLAIN = re.compile(r"\$\{[A-Za-z0-9_.\[\]]+\}")
"""An interpolation of another key of the config, and nothing beside it: not what the environment says."""

MAX_COMMENT = 120

PRINTED = "# Interpolations are resolved here; the config.yaml of a run keeps them, each with its value.\n"
"""The first line of a printed config."""


@dataclass(frozen=True)
class Kept:
    """An interpolation and the value that it had; equal to another if both are."""

    text: str
    value: Any


def full_path(path: str) -> str:
    """The key that a short path means: every part of a model or of the data is a class with ``init_args``.

    >>> full_path("data.image_shape")
    'data.init_args.image_shape'
    >>> full_path("model.regularizers.0.weight")
    'model.init_args.regularizers.0.init_args.weight'
    """
    first, *parts = path.split(".")
    if "init_args" in parts or "class_path" in parts:
        return path
    return first + "".join(f".{part}" if part.isdigit() else f".init_args.{part}" for part in parts)


def short_path(path: str) -> str:
    """A path without ``init_args``, as people write it."""
    return path.replace(".init_args", "")


def _short_text(text: str) -> str:
    """An interpolation with a short path, where :func:`expand` makes the same of it."""
    short = short_path(text)
    return short if expand(short) == text else text


def expand(node: Any) -> Any:
    """A config with the paths in its interpolations written out in full."""
    if isinstance(node, dict):
        return {key: expand(value) for key, value in node.items()}
    if isinstance(node, list):
        return [expand(value) for value in node]
    if isinstance(node, str):
        return _REFERENCE.sub(lambda match: "${" + full_path(match.group(1)), node)
    return node


def keep(resolved: str, unresolved: Any) -> str:
    """A resolved config as YAML in which interpolations stand again, each with its value as a comment.

    Args:
        resolved: the resolved config, YAML; comments above it are kept.
        unresolved: the same config before it was resolved; None if there was nothing to resolve.

    Returns:
        YAML that resolves to the same config. An interpolation that doesn't resolve to the same value in it, or that
        takes its value from elsewhere, is left resolved.
    """
    if unresolved is None:
        return resolved
    values = yaml_text.load(resolved)
    config, kept = OmegaConf.create(_with_interpolations(values, unresolved)), {}
    for path, text in _interpolations(unresolved):
        found = _at(values, path)
        if _PLAIN.fullmatch(text) and found is not _NOTHING and _value(config, path) == found:
            kept[path] = Kept(_short_text(text), found)
    heading = [line for line in resolved.splitlines() if line.startswith("#")]
    return "\n".join([*heading, dump(_replaced(values, kept))])


def read_kept(text: str) -> Any:
    """A config with each interpolation as :class:`Kept`, its value the one that it has in this config."""
    tree = yaml_text.load(text)
    config = OmegaConf.create(expand(tree))
    kept = {path: Kept(words, _value(config, path)) for path, words in _interpolations(tree)}
    return _replaced(tree, {path: one for path, one in kept.items() if one.value is not _NOTHING})


def dump(tree: Any) -> str:
    """YAML of a config whose interpolations are :class:`Kept`, each with its value as a comment."""
    kept = dict(_kept(tree))
    text = yaml_text.dump(_replaced(tree, {path: one.text for path, one in kept.items()}))
    lines, node = text.splitlines(), yaml_text.compose(text)
    for path, one in kept.items():
        value = yaml_text.in_one_line(one.value)
        shown = value if len(value) <= MAX_COMMENT else f"{value[:MAX_COMMENT]}…"
        lines[_node_at(node, path).end_mark.line] += f"  # {shown}"
    return "\n".join(lines) + "\n"


def explained(error: OmegaConfBaseException, unresolved: Any) -> tuple[str | None, str]:
    """Where an interpolation stands that can't be resolved, and why it can't.

    Args:
        error: OmegaConf's.
        unresolved: the config before it was resolved.

    Returns:
        The place as a short path, None if it isn't known; and a sentence about it.
    """
    for path, text in _interpolations(unresolved):
        try:
            OmegaConf.create({"alone": text})  # is it one at all?
        except GrammarParseError:
            return _shown(path), f"'{text}' is no interpolation; write ${{data.image_shape}}, the path of another key"
    config = OmegaConf.create(unresolved)
    for path, text in _interpolations(unresolved):
        try:
            _resolved(config, path)
        except InterpolationKeyError as missing:
            named = re.search(r"Interpolation key '([^']+)' not found", str(missing))
            key = named.group(1) if named else text
            return _shown(path), f"{short_path(text)}: there is no key '{short_path(key)}'{_nearest(key, unresolved)}"
        except (OmegaConfBaseException, RecursionError) as other:
            if "Recursive" in str(other) or isinstance(other, RecursionError):
                return _shown(path), f"{short_path(text)} leads back to itself"
            if null := _null_in(text, unresolved):
                return null, f"it is null, but {_shown(path)} is {short_path(text)}: name a class with init_args"
            return _shown(path), f"{short_path(text)}: {str(other).splitlines()[0]}"
    return None, str(error).splitlines()[0]


_NOTHING = object()


def _interpolations(node: Any, path: Keys = ()) -> Iterator[tuple[Keys, str]]:
    for key, value in _children(node):
        yield from _interpolations(value, (*path, key))
    if isinstance(node, str) and "${" in node:
        yield path, node


def _kept(node: Any, path: Keys = ()) -> Iterator[tuple[Keys, Kept]]:
    for key, value in _children(node):
        yield from _kept(value, (*path, key))
    if isinstance(node, Kept):
        yield path, node


def _children(node: Any) -> list[tuple[str | int, Any]]:
    if isinstance(node, Mapping):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list) else []


def _replaced(node: Any, by: Mapping[Keys, Any], path: Keys = ()) -> Any:
    """The tree with other values in some places."""
    if path in by:
        return by[path]
    if isinstance(node, Mapping):
        return {key: _replaced(value, by, (*path, key)) for key, value in node.items()}
    if isinstance(node, list):
        return [_replaced(value, by, (*path, number)) for number, value in enumerate(node)]
    return node


def _with_interpolations(values: Any, unresolved: Any) -> Any:
    """The resolved tree with the interpolations where they stood."""
    return _replaced(values, dict(_interpolations(unresolved)))


def _at(node: Any, path: Keys) -> Any:
    for key in path:
        if not isinstance(node, Mapping | list):
            return _NOTHING
        try:
            node = node[key]
        except (KeyError, IndexError):
            return _NOTHING
    return node


def _resolved(config: Any, path: Keys) -> Any:
    for key in path:
        config = config[key]
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def _value(config: Any, path: Keys) -> Any:
    """What stands there once it is resolved."""
    try:
        return _resolved(config, path)
    except (OmegaConfBaseException, KeyError, TypeError, RecursionError):
        return _NOTHING


def _node_at(node: Node, path: Keys) -> Node:
    for key in path:
        if isinstance(node, MappingNode):
            node = dict(yaml_text.items(node))[key]
        elif isinstance(node, SequenceNode):
            node = node.value[key]
    return node


def _null_in(text: str, tree: Any) -> str | None:
    """The part that is null on the way to the key that an interpolation names; None if there is no such part."""
    named = re.search(r"\$\{([A-Za-z0-9_.]+)\}", text)
    keys = named.group(1).split(".") if named else []
    for number, key in enumerate(keys):
        key_here = int(key) if isinstance(tree, list) and key.isdigit() else key
        tree = dict(_children(tree)).get(key_here, _NOTHING)
        if tree is None:
            return _shown(keys[: number + 1])
    return None


def _shown(path: Sequence[str | int]) -> str:
    return ".".join(str(key) for key in path if key != "init_args")


def _nearest(key: str, tree: Any) -> str:
    """The end of a sentence that said that there is no such key."""
    node, parts = tree, key.split(".")
    for number, part in enumerate(parts):
        known = [str(one) for one, _ in _children(node)]
        if part not in known:
            close = difflib.get_close_matches(part, known, n=1, cutoff=0.5)
            if close:
                right = [*parts[:number], close[0], *parts[number + 1 :]]
                return f"; the nearest right one is '{short_path('.'.join(right))}'"
            here = short_path(".".join(parts[:number]))
            return f"; there are {', '.join(known[:8])}" if known else f"; {here} has no keys"
        node = dict(_children(node))[part] if isinstance(node, Mapping) else node[int(part)]
    return ""
