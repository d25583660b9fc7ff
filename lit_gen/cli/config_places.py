"""Where in the config files, or on the command line, a key stands that a message is about."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from lit_gen.cli import yaml_text
from lit_gen.cli.config_files import PARTS, SUFFIXES, pairs

ON_THE_COMMAND_LINE = "on the command line"

MAX_MESSAGE = 380
"""A longer message goes without the place."""

_NO_KEY = re.compile(r"(?:stage '[^']*': )?there is no key '([^']+)'")
_KEYS = re.compile(r"(?:stage '[^']*': )?((?:[\w.]+: )+)")


class Place(NamedTuple):
    """One key of a config.

    Attributes:
        path: the keys that lead to it, without ``init_args``.
        part: the class that it is an argument of, as it is written there; None where none is.
        where: the file and line, or ``on the command line``.
        texts: how its value may be quoted: a plain one, or the items of a list.
        truth: whether the value is a truth value by one of YAML's words, such as ``no``.
    """

    path: tuple[str, ...]
    part: str | None
    where: str
    texts: tuple[str, ...]
    truth: bool


def located(message: str, arguments: Sequence[str]) -> str:
    """A message about a key, with the part that the key is of, and the file and line, where these can be found.

    Args:
        message: the parser's one line: ``there is no key 'x'… (in its.Class)`` or ``model: x: … (in its.Class)``.
        arguments: the command line, its configs found.
    """
    about = _NO_KEY.match(message) or _KEYS.match(message)
    if about is None:
        return message
    class_named = re.search(r" \(in ([\w.]+)\)$", message)
    wanted = tuple(about.group(1).replace(": ", ".").strip(".").replace(".init_args", "").split("."))
    all_ = list(places(arguments))
    found = list(_matching(all_, wanted, class_named.group(1) if class_named else None, message))
    if not found:
        return message
    bare = message[: class_named.start()] if class_named else message
    others = {one.path for one in all_ if one.path[-1:] == wanted and len(one.path) > 1}
    if len(wanted) == 1 and class_named is None and others:
        bare = f"{message.split(';')[0]}; there is {' and '.join(sorted('.'.join(path) for path in others)[:3])}"
    last = found[-1]
    told = [last.where]
    if class_named:
        told.insert(0, f"in {'.'.join(last.path[:-1])}, a {class_named.group(1)}")
    if last.truth and "Expected a str" in message:
        told.append(f"{last.texts[0]} is a truth value in YAML, quote it for text")
    with_place = f"{bare} ({'; '.join(told)})"
    return with_place if len(with_place) <= MAX_MESSAGE else message


def places(arguments: Sequence[str]) -> Iterator[Place]:
    """Every key of the files and options of a command line, in the order in which they are laid over each other."""
    for option, value in pairs(arguments):
        key = re.sub(r"^stages\.[^.]+\.", "", option.lstrip("-"))
        path = () if key in ("config", "c") else tuple(part for part in key.split(".") if part != "init_args")
        if value.endswith(SUFFIXES) and Path(value).is_file():
            yield from _of_file(Path(value), path)
            continue
        try:
            node = yaml_text.compose(value)
        except yaml.YAMLError:
            node = None
        if path:
            yield Place(path, None, ON_THE_COMMAND_LINE, (value,), False)
        if node is not None and not isinstance(node, ScalarNode):
            yield from _of_node(node, path, None, None)


def _of_file(file: Path, path: tuple[str, ...]) -> Iterator[Place]:
    try:
        node = yaml_text.compose(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    if node is not None:
        yield from _of_node(node, path, None, file)


def _of_node(node: Node, path: tuple[str, ...], part: str | None, file: Path | None) -> Iterator[Place]:
    if isinstance(node, SequenceNode):
        for number, item in enumerate(node.value):
            yield from _of_node(item, () if path == ("stages",) else (*path, str(number)), part, file)
    if not isinstance(node, MappingNode):
        return
    keys = dict(yaml_text.items(node))
    named = keys.get("class_path")
    part = named.value if isinstance(named, ScalarNode) else part
    for key, value in keys.items():
        if key == "init_args":
            yield from _of_node(value, path, part, file)
        elif key != "class_path":
            here = (*path, key)
            yield _place(here, part, file, value)
            beside = file and isinstance(value, ScalarNode) and key in PARTS and file.parent / value.value
            if beside and beside.is_file():
                yield from _of_file(beside, here)
            # A part within this one names its own class.
            yield from _of_node(value, here, None, file)


def _place(path: tuple[str, ...], part: str | None, file: Path | None, value: Node) -> Place:
    where = f"{file}, line {yaml_text.line_of(value)}" if file else ON_THE_COMMAND_LINE
    scalars = value.value if isinstance(value, SequenceNode) else [value]
    texts = tuple(one.value for one in scalars if isinstance(one, ScalarNode))
    is_truth = isinstance(value, ScalarNode) and value.tag.endswith(":bool")
    texts += (str(value.value.lower() in ("true", "yes", "on")),) if is_truth else ()
    return Place(path, part, where, texts, is_truth and texts[0].lower() not in ("true", "false"))


def _matching(all_: list[Place], wanted: tuple[str, ...], part: str | None, message: str) -> list[Place]:
    """The places that a message may be about; none if they are of several keys and nothing says which."""
    if part is None:
        return [one for one in all_ if one.path == wanted]
    classes = {one.path[:-1]: one.part for one in all_ if one.part}
    name = part.rsplit(".", 1)[-1]
    found = []
    for one in all_:
        of = one.part or classes.get(one.path[:-1])
        if one.path[-1] == wanted[-1] and (len(wanted) == 1 or one.path[0] == wanted[0]):
            found += [one] if of is not None and of.rsplit(".", 1)[-1] == name else []
    if len({one.path for one in found}) > 1:
        got = re.search(r"(?:Got value:|, got) ([^;(]+)", message)
        value = got.group(1).strip().replace(".init_args", "") if got else ""
        found = [one for one in found if value and value in one.texts]
    return found if len({one.path for one in found}) == 1 else []
