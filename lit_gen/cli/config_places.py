"""Where in the config files, or on the command line, a key stands that a message is about."""

import re
from collections.abc import Iterable, Iterator, Sequence
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
_REQUIRED = re.compile(r"[\w.]+: (the following arguments are required: ([\w., ]+)) \(in ([\w.]+)\)$")
_NEAREST = re.compile(r"; the nearest right one is '[^']+'")
_OF_NULL = re.compile(r"(?:stage '[^']*': )?([\w.]+) \([\w.]+\): TypeError: .*None")
_NULLS = ("null", "Null", "NULL", "None", "~", "")


class Place(NamedTuple):
    """One key of a config.

    Attributes:
        path: the keys that lead to it, without ``init_args``.
        part: the class that it is an argument of, as it is written there; None where none is.
        where: the file and line, or ``on the command line``.
        texts: how its value may be quoted: a plain one, the items of a list, or the class of a part.
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
    if of_null := _OF_NULL.match(message):
        return _with_null(message, _path_of(of_null.group(1)), places(arguments))
    about = _NO_KEY.match(message) or _KEYS.match(message)
    if about is None:
        return message
    class_named = re.search(r" \(in ([\w.]+)\)$", message)
    wanted = tuple(about.group(1).replace(": ", ".").strip(".").replace(".init_args", "").split("."))
    all_ = list(places(arguments))
    if required := _REQUIRED.search(message):
        return _with_part_that_lacks(message, required, wanted, all_)
    if _NO_KEY.match(message) or class_named:
        found = list(_matching(all_, wanted, class_named.group(1) if class_named else None, message))
    else:
        found = _of_the_value(all_, wanted, message)
    if not found:
        return message
    bare = message[: class_named.start()] if class_named else message
    others = {one.path for one in all_ if one.path[-1:] == wanted and len(one.path) > 1}
    if _NO_KEY.match(message) and class_named is None and others:
        bare = f"{message.split(';')[0]}; there is {' and '.join(sorted('.'.join(path) for path in others)[:3])}"
    last = found[-1]
    told = [last.where]
    if len(last.path) > len(wanted) and not class_named and not _names(message, last):
        told.insert(0, f"in {'.'.join(last.path)}")
    if class_named:
        told.insert(0, f"in {'.'.join(last.path[:-1])}, a {class_named.group(1)}")
    if last.truth and "Expected a str" in message:
        told.append(f"{last.texts[0]} is a truth value in YAML, quote it for text")
    return _if_short(f"{bare} ({'; '.join(told)})", message)


def _if_short(with_place: str, message: str) -> str:
    return with_place if len(with_place) <= MAX_MESSAGE else message


def places(arguments: Sequence[str]) -> Iterator[Place]:
    """Every key of the files and options of a command line, in the order in which they are laid over each other."""
    for option, value in pairs(arguments):
        key = re.sub(r"^stages\.[^.]+\.", "", option.lstrip("-"))
        path = () if key in ("config", "c") else _path_of(key)
        if value.endswith(SUFFIXES) and Path(value).is_file():
            yield from _of_file(Path(value), path)
            continue
        try:
            node = yaml_text.compose(value)
        except yaml.YAMLError:
            node = None
        if path:
            texts = _place(path, None, None, node).texts if isinstance(node, MappingNode) else ()
            yield Place(path, None, ON_THE_COMMAND_LINE, (value, *texts), False)
        if node is not None and not isinstance(node, ScalarNode):
            yield from _of_node(node, path, None, None)


def _path_of(key: str) -> tuple[str, ...]:
    return tuple(part for part in key.split(".") if part not in ("init_args", "class_path"))


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
            here = () if path == ("stages",) else (*path, str(number))
            if here and isinstance(item, MappingNode):
                yield _place(here, None, file, item)
            yield from _of_node(item, here, part, file)
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
    if isinstance(value, MappingNode):
        scalars = [one for key, one in yaml_text.items(value) if key == "class_path"]
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
    if len({one.path for one in found}) > 1 and not _NO_KEY.match(message):
        found = [one for one in found if _quoted(message) in one.texts]
    # Several that are wrong in the same way: the first.
    return [one for one in found if one.path == found[0].path]


def _quoted(message: str) -> str | None:
    """The value that a message of the parser quotes."""
    if got := re.search(r"(?:Got value:|, got) ([^;(]+)", message):
        return got.group(1).strip().replace(".init_args", "")
    if missing := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        return ".".join(missing.groups())
    refused = re.search(r"'([^']+)' is (?:no|neither) ", message)
    return refused.group(1) if refused else None


def _of_the_value(all_: list[Place], wanted: tuple[str, ...], message: str) -> list[Place]:
    """The place that the words of a part's own constructor are about.

    It is that of the argument whose name and value they hold, or whose value they quote; or else the part's, unless
    another file or an option changes something within the part, which may be what is meant: then it is not known.
    """
    message = _NEAREST.sub("", message)  # it quotes what may stand elsewhere
    own = [one for one in all_ if one.path == wanted]
    later = all_[1 + max((number for number, one in enumerate(all_) if one.path == wanted), default=-1) :]
    # A list is laid over whole.
    arguments = {one.path: one for one in all_ if one.path[:-1] == wanted and not one.path[-1].isdigit()}
    arguments |= {one.path: one for one in later if one.path[:-1] == wanted}
    quoted = [one for one in arguments.values() if any(_is_in_quotes(text, message) for text in one.texts)]
    held = [one for one in arguments.values() if any(_holds(message, text) for text in one.texts)]
    for found in ([one for one in held if _names(message, one)], quoted):
        if len(found) == 1:
            return found
    if not own or any(_is_in_quotes(text, message) for text in own[-1].texts):
        return own
    within = [one for one in later if one.path[: len(wanted)] == wanted and _source(one) != _source(own[-1])]
    return [] if within else own


def _source(place: Place) -> str:
    return place.where.rsplit(", line ", 1)[0]


def _names(message: str, place: Place) -> bool:
    return re.search(rf"\b{re.escape(place.path[-1])}\b", _KEYS.sub("", message, count=1)) is not None


def _is_in_quotes(text: str, message: str) -> bool:
    return bool(text) and re.search(rf"(['\"`]){re.escape(text)}\1", message) is not None


def _holds(message: str, text: str) -> bool:
    """Whether a message holds a value, a number in whatever form."""
    if re.search(rf"(?<![\w.]){re.escape(text)}(?!\w|\.\w)", message):
        return bool(text)
    try:
        number = float(text)
    except ValueError:
        return False
    return any(float(one) == number for one in re.findall(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", message))


def _is_null(place: Place) -> bool:
    return place.texts[:1] != () and place.texts[0] in _NULLS


def _referred(place: Place, all_: list[Place]) -> Place:
    """The place whose value it takes by an interpolation, or itself."""
    named = re.fullmatch(r"\$\{([\w.]+)\}", place.texts[0]) if place.texts else None
    found = [one for one in all_ if named and one.path == _path_of(named.group(1))]
    return found[-1] if found else place


def _with_null(message: str, part: tuple[str, ...], all_: Iterable[Place]) -> str:
    """A message of a constructor that met None, with the one argument that the config gives as null."""
    nulls = [one for one in {one.path: one for one in all_ if one.path[:-1] == part}.values() if _is_null(one)]
    if len(nulls) != 1:
        return message
    return _if_short(f"{message}; {'.'.join(nulls[0].path)} is null ({nulls[0].where})", message)


def _with_part_that_lacks(message: str, required: re.Match, wanted: tuple[str, ...], all_: list[Place]) -> str:
    """A message about required arguments of a class, with the part that is of it."""
    words, names, class_path = required.groups()
    last = {one.path: one for one in all_ if one.path[0] == wanted[0]}
    classes = {one.path[:-1]: one.part for one in all_ if one.part}
    lacking = []
    for path, one in last.items():
        of = [text.rsplit(".", 1)[-1] for text in (*one.texts, classes.get(path) or "")]
        if class_path.rsplit(".", 1)[-1] not in of:
            continue
        named = [(*path, name) for name in names.split(", ")]
        given = [last[one] for one in named if one in last]
        nulls = [one for one in (_referred(argument, all_) for argument in given) if _is_null(one)]
        if nulls:
            null, stage = nulls[0], message[: required.start()]
            return f"{stage}{'.'.join(null.path)}: it is null, but {class_path} needs it ({null.where})"
        lacking += [] if given else [one]
    if not lacking:
        return message
    there = f"in {'.'.join(lacking[0].path)}, a {class_path}; {lacking[0].where}"
    return _if_short(f"{message[: required.start(1)]}{words} ({there})", message)
