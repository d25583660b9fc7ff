"""YAML as lit-gen reads and writes it: what stands in a config is what it says, or it is refused with its line.

Plain YAML 1.1 takes the last of two equal keys, ``012`` for ten and ``1:30`` for ninety, and follows an anchor that
contains itself without an end. Here:

- a key stands once in a mapping, and is text;
- ``null``, ``~``, ``None`` and nothing are null; ``true``, ``yes``, ``on`` and their opposites are truth values;
- numbers are decimal (or ``0x…``, ``0b…``), and ``1e-3`` is one; ``012`` is no octal, ``1:30`` not of base 60;
- a date is text;
- an anchor must not contain itself, and depth and size after all aliases are bounded.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

MAX_DEPTH = 100
"""Levels of nesting that a text may have; the deepest config of lit-gen has 12."""

MAX_NODES = 100_000
"""Keys and values that a text may have, an alias counted as what it stands for."""

_TAG = "tag:yaml.org,2002:"

_RESOLVERS = {
    "bool": (r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    "int": (r"[-+]?0b[0-1_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|None|", "~nN\0"),
}
"""For each kind of plain scalar its expression, and the characters that it may begin with (\\0: none)."""


class Refused(yaml.MarkedYAMLError):
    """YAML that says something else than what stands there; ``problem`` names what, and its lines."""

    def __str__(self) -> str:
        return self.problem


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's safe loader with the rules above, also where another library uses it."""

    yaml_implicit_resolvers: dict = {}

    def __init__(self, text: str) -> None:
        _check_depth(text)
        super().__init__(text)

    def get_single_node(self) -> Node | None:
        """The text's only node, checked."""
        node = super().get_single_node()
        if node is not None:
            _size(node, {}, [])
        return node


class _Parser(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Gives a text's events, of which no depth of nesting makes a recursion."""


class _Dumper(yaml.SafeDumper):
    """Quotes each string that any reader of YAML, this one or another, could take for something else."""


# Of a default that is an Enum, as that of Lightning's Timer; jsonargparse reads it by its name.
_Dumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_str(value.name))

for _kind, (_expression, _first) in _RESOLVERS.items():
    for _class in (Loader, _Dumper):
        letters = [letter.strip("\0") for letter in _first]
        _class.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_expression})$"), letters)


def load(text: str) -> Any:
    """What a YAML text says.

    Raises:
        Refused: a key that stands twice or is no text, an anchor that contains itself, or too much of anything.
        yaml.YAMLError: the text is not YAML.
    """
    return yaml.load(text, Loader=Loader)


def compose(text: str) -> Node | None:
    """The nodes of a YAML text, which know their lines; the errors of :func:`load`."""
    return yaml.compose(text, Loader=Loader)


def dump(tree: Any) -> str:
    """Mappings, lists and plain values as YAML, a line a value; :func:`load` reads the same."""
    return yaml.dump(tree, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False, width=10**6)


def in_one_line(value: Any) -> str:
    """A value in YAML's flow style, such as ``[1, 8, 8]``."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return " ".join(text.removesuffix("...\n").split())


def items(node: MappingNode) -> Iterator[tuple[str, Node]]:
    """The keys and values of a mapping, merged ones before its own."""
    for key, value in node.value:
        if key.tag == _TAG + "merge":
            for merged in value.value if isinstance(value, SequenceNode) else [value]:
                yield from items(merged) if isinstance(merged, MappingNode) else ()
    yield from ((key.value, value) for key, value in node.value if key.tag != _TAG + "merge")


def line_of(node: Node) -> int:
    """The line that a node begins in, from 1."""
    return node.start_mark.line + 1


def _check_depth(text: str) -> None:
    """Before anything recurses."""
    depth = 0
    for event in yaml.parse(text, Loader=_Parser):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise Refused(problem=f"more than {MAX_DEPTH} levels of nesting, in line {event.start_mark.line + 1}")


def _size(node: Node, known: dict[int, int], above: list[Node]) -> int:
    """How many nodes stand in and below this one, an alias counted as what it stands for."""
    if any(node is other for other in above):
        raise Refused(
            problem=f"what stands in line {line_of(node)} contains itself, by an anchor (&) and its alias (*)"
        )
    if id(node) not in known:
        children = []
        if isinstance(node, MappingNode):
            _check_keys(node)
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_size(child, known, [*above, node]) for child in children)
        if known[id(node)] > MAX_NODES:
            raise Refused(
                problem=f"what stands in line {line_of(node)} is more than {MAX_NODES:,} values by its aliases"
            )
    return known[id(node)]


def _check_keys(node: MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise Refused(problem=f"a key is text, not a list or a mapping as in line {line_of(key)}")
        if key.tag not in (_TAG + "str", _TAG + "merge"):
            kind = key.tag.removeprefix(_TAG)
            shown = f"'{key.value}' in line {line_of(key)}" if key.value else f"that in line {line_of(key)}"
            raise Refused(problem=f"a key is text, but {shown} is none in YAML ({kind}): quote it")
        if key.value in lines:
            first, second = lines[key.value], line_of(key)
            where = f"in line {first}" if first == second else f"in lines {first} and {second}"
            cure = ": write <<: [*a, *b]" if key.tag == _TAG + "merge" else ""
            raise Refused(problem=f"'{key.value}' stands twice, {where}{cure}")
        lines[key.value] = line_of(key)
