"""``--help=model.encoder``: what a key of a config accepts, or what arguments a class has."""

import importlib
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jsonargparse._parameter_resolvers import get_signature_parameters
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from lit_gen.cli import config_files, overrides, stages
from lit_gen.cli import help as static_help
from lit_gen.errors import UserError

WIDTH = 80
ROOMS = (
    "lit_gen.models",
    "lit_gen.data",
    "lit_gen.callbacks",
    "lit_gen.objectives",
    "lit_gen.regularizers",
    "lit_gen.distributions",
    "lit_gen.networks",
    "lit_gen.metrics.features",
    "torch.optim",
    "torch.optim.lr_scheduler",
)
"""Packages whose public classes are offered for a key."""


class Key(NamedTuple):
    """A place in a config that takes a value.

    Attributes:
        name: its path.
        annotation: the type of what it accepts.
        default: its default; ``inspect.Parameter.empty`` where it is required.
        doc: what its class says of it.
        value: what the config has there; None without a config.
    """

    name: str
    annotation: Any
    default: Any
    doc: str
    value: Any


def describe(path: str, arguments: Sequence[str], verb: str) -> list[str]:
    """The lines that say what a key accepts, or what arguments a class has.

    Args:
        path: a key such as ``model.encoder``, a part, an option, or a class's import path.
        arguments: the rest of the command line, whose configs and classes say what stands where.
        verb: the verb that the help is of.

    Raises:
        UserError: there is no such key or class.
    """
    parts = [part for part in path.split(".") if part not in ("init_args", "class_path")]
    tree = _tree(arguments, parts)
    if len(parts) > 2 and parts[0] == "stages":
        parts = parts[2:]
    if parts == ["trainer"]:
        return [*_class_lines(Trainer), "", *_arguments_lines(Trainer, tree.get("trainer"))]
    if parts and parts[0] in _ROOTS:
        return _key_lines(_find(parts, tree))
    if line := static_help.option(path.removeprefix("--"), verb):
        return [line]
    if "." in path and (cls := _imported(path)) is not None:
        return [*_class_lines(cls), "", *_arguments_lines(cls, None)]
    options = re.findall(r"--(\w+)", static_help.OPTIONS)
    known = [*_ROOTS, *options, *(_path_of(cls) for cls in _exported())]
    raise UserError(f"--help={path}: there is no such key or class{stages.nearest(path, known)}")


_ROOTS = {"model": LightningModule, "data": LightningDataModule, "trainer": Trainer}
_ROOM_OF_ROOT = {"model": "lit_gen.models", "data": "lit_gen.data"}


def _tree(arguments: Sequence[str], path: Sequence[str]) -> dict[str, Any]:
    """The config of a command line: its files laid over each other, then what it changes; of stages the last one's,
    or the one that ``path`` names."""
    tree: Any = {}
    for option, value in config_files.pairs(arguments):
        if option in ("--config", "-c"):
            content = overrides.read(config_files.config_named(value))
            if not isinstance(content, Mapping):
                raise UserError(f"{value} is no config: a config maps keys to values")
            tree = _of_stage(stages.laid_over(tree, content), path[1] if path[:1] == ["stages"] and path[1:] else None)
        else:
            keys = [part for part in option.lstrip("-").split(".") if part not in ("init_args", "class_path")]
            _put(tree, keys, value)
    if path[:1] == ["stages"] and path[1:] and not tree.get("stages"):
        raise UserError(f"--help={'.'.join(path)}: no config that has stages is named with --config")
    return tree


def _of_stage(tree: dict[str, Any], name: str | None) -> dict[str, Any]:
    """A config with the keys of one of its stages, the last by default, laid over the common ones."""
    items = [item for item in tree.get("stages") or [] if isinstance(item, Mapping)]
    names = [str(item.get("name")) for item in items]
    if items and name is not None and name not in names:
        raise UserError(f"there is no stage '{name}'{stages.nearest(name, names)}")
    return stages.laid_over(tree, items[-1 if name is None else names.index(name)]) if items else tree


def _put(tree: Any, keys: Sequence[str], value: str) -> None:
    for key in keys[:-1]:
        inner = tree.get("init_args") if isinstance(tree, Mapping) and "class_path" in tree else tree
        tree = inner.get(key) if isinstance(inner, Mapping) else None
    if isinstance(tree, dict) and keys:
        inner = tree.setdefault("init_args", {}) if "class_path" in tree else tree
        is_class = re.fullmatch(r"(\w+\.)+[A-Z]\w*", value)
        inner[keys[-1]] = {"class_path": value} if is_class else value


def _find(parts: Sequence[str], tree: Mapping[str, Any]) -> Key:
    """Go down from a root to the key.

    Raises:
        UserError: a part of the path isn't there, or what it belongs to isn't known without a config.
    """
    root, *inner = parts
    key = Key(root, _ROOTS[root], inspect.Parameter.empty, "", tree.get(root))
    for part in inner:
        key = _below(key, part)
    return key


def _below(key: Key, part: str) -> Key:
    cls = _chosen(key)
    if cls is None and key.name not in _ROOM_OF_ROOT:
        raise UserError(
            f"--help={key.name}.{part}: no class of {key.name} is known here: add --config NAME, or name a class, as "
            "--help=lit_gen.networks.MLP"
        )
    owners = [cls] if cls is not None else _exported(_ROOM_OF_ROOT[key.name])
    holders = [owner for owner in owners if part in _parameters(owner)]
    if not holders:
        names = dict.fromkeys(name for owner in owners for name in _parameters(owner))
        of = _path_of(cls) if cls is not None else f"no class of {_ROOM_OF_ROOT[key.name]}"
        has = "has no" if cls is not None else "has a"
        raise UserError(f"--help={key.name}.{part}: {of} {has} '{part}'{stages.nearest(part, names)}")
    parameter = _parameters(holders[0])[part]
    value = _arguments_in(key.value).get(part)
    doc = _doc(parameter, holders[0])
    if cls is None:
        of = ", ".join(holder.__name__ for holder in holders)
        doc += f"\nAn argument of {of}; with --config NAME you see what is chosen there."
    return Key(f"{key.name}.{part}", parameter.annotation, parameter.default, doc.strip(), value)


def _parameters(cls: type) -> dict[str, Any]:
    return {parameter.name: parameter for parameter in get_signature_parameters(cls, "__init__")}


def _doc(parameter: Any, cls: type) -> str:
    """What a class says of its argument, or the base class to which it refers for it."""
    doc = parameter.doc or ""
    referred = re.match(r"as in ``(\w+)``", doc)
    for base in cls.__mro__[1:] if referred else ():
        if base.__name__ == referred[1] and parameter.name in _parameters(base):
            return _parameters(base)[parameter.name].doc or doc
    return doc


def _arguments_in(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    arguments = value.get("init_args") if "class_path" in value else value
    return arguments if isinstance(arguments, Mapping) else {}


def _chosen(key: Key) -> type | None:
    """The class that stands at a key by the config, or else by its default."""
    if key.annotation is Trainer:
        return Trainer
    path = key.value.get("class_path") if isinstance(key.value, Mapping) else key.value
    if isinstance(path, str) and re.fullmatch(r"(\w+\.)*\w+", path):
        found = _imported(path)
        if found is None and "." not in path:  # jsonargparse takes a bare name too
            found = next((cls for cls in _candidates(key, None) if cls.__name__ == path), None)
        return found
    return key.default if key.value is None and inspect.isclass(key.default) and not _is_empty(key) else None


def _is_empty(key: Key) -> bool:
    return key.default is inspect.Parameter.empty


def _imported(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return None
    return found if inspect.isclass(found) else None


def _exported(*rooms: str) -> list[type]:
    found = {}
    for room in rooms or ROOMS:
        module = importlib.import_module(room)
        for name, value in vars(module).items():
            inside = inspect.isclass(value) and value.__module__.split(".")[0] == room.split(".")[0]
            if inside and not name.startswith("_"):
                found[f"{room}.{name}"] = value
    return list(dict.fromkeys(found.values()))


def _path_of(cls: type) -> str:
    """The shortest import path: the room's, where a room exports it."""
    for room in ROOMS:
        if cls.__module__.startswith(room) and getattr(importlib.import_module(room), cls.__name__, None) is cls:
            return f"{room}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__name__}"


def _candidates(key: Key, chosen: type | None) -> list[type]:
    """Public classes that can stand at a key: subclasses of its type.

    Where any module will do, those beside the class that is chosen.
    """
    bases = [base for base in _classes_in(key.annotation) if _is_specific(base) or chosen is not None]
    return [
        cls
        for cls in _exported()
        if any(_is_subclass(cls, base) and cls is not base for base in bases)
        and (any(_is_specific(base) and _is_subclass(cls, base) for base in bases) or _are_neighbours(cls, chosen))
        and not inspect.isabstract(cls)
    ]


def _classes_in(annotation: Any) -> Iterator[type]:
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        if annotation not in (int, float, str, bool, bytes, type(None), dict, list, tuple, object):
            yield annotation
        return
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Callable:
        arguments = arguments[-1:]
    for argument in arguments:
        yield from _classes_in(argument)


def _is_specific(base: type) -> bool:
    """Whether a type says what a part is for; any network, distribution or objective is an ``nn.Module``."""
    return base.__name__ not in ("Module", "Tensor", "Path", "timedelta")


def _is_subclass(cls: type, base: type) -> bool:
    try:
        return issubclass(cls, base)
    except TypeError:  # a protocol with attributes
        return False


def _are_neighbours(cls: type, chosen: type | None) -> bool:
    package = chosen.__module__.rpartition(".")[0] if chosen is not None else None
    return package is not None and cls.__module__.rpartition(".")[0] == package


# Lines.


def _key_lines(key: Key) -> list[str]:
    chosen = _chosen(key)
    required = "required" if _is_empty(key) else f"default {_value(key.default)}"
    lines = [f"{key.name}: {_type(key.annotation)}, {required}"]
    lines += [line for part in key.doc.splitlines() for line in _wrapped(part, "  ")]
    if chosen is not None:
        how = "the config has" if key.value is not None else "by default"
        lines += ["", f"{how} {_path_of(chosen)}:", *_class_lines(chosen)[1:], "", *_arguments_lines(chosen, key.value)]
    elif isinstance(key.value, list):
        names = [str(item.get("class_path", item)) if isinstance(item, Mapping) else str(item) for item in key.value]
        lines += ["", *_wrapped(f"the config has {', '.join(names) or 'an empty list'}", "")]
    elif key.value is not None:
        lines += ["", *_wrapped(f"the config has {key.value}", "")]
    others = [cls for cls in _candidates(key, chosen) if cls is not chosen]
    if others:
        lines += ["", "classes that could stand here instead:" if chosen else "classes that can stand here:"]
        lines += [line for cls in others for line in _wrapped(f"{_path_of(cls)}: {_summary(cls)}", "  ")[:2]]
    return lines


def _class_lines(cls: type) -> list[str]:
    return [f"{_path_of(cls)}", *_wrapped(_summary(cls), "  ")]


def _arguments_lines(cls: type, value: Any) -> list[str]:
    parameters = _parameters(cls)
    if not parameters:
        return ["it takes no arguments"]
    lines, given = ["arguments:"], _arguments_in(value)
    for name, parameter in parameters.items():
        is_required = parameter.default is inspect.Parameter.empty
        line = f"  {name}: {_type(parameter.annotation)}, "
        line += "required" if is_required else f"default {_value(parameter.default)}"
        if name in given:
            line += f"; here {_value(given[name])}"
        lines += _wrapped(line.strip(), "  ")
        lines += _wrapped(" ".join(_doc(parameter, cls).split()), "      ")
    return lines


def _summary(cls: type) -> str:
    """The first sentence of a docstring."""
    first = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]
    return " ".join(first.split())


def _type(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "anything"
    text = annotation.__name__ if inspect.isclass(annotation) and not typing.get_args(annotation) else str(annotation)
    text = re.sub(r"(?:\w+\.)+(\w+)", r"\1", text)
    text = re.sub(r"<class '(\w+)'>", r"\1", text)
    text = re.sub(r"Optional\[(\w+(?:\[\w+\])?)\]", r"\1 | None", text)
    return re.sub(r"Union\[([^\[\]]+)\]", lambda match: match[1].replace(", ", " | "), text).replace("NoneType", "None")


def _value(value: Any) -> str:
    if inspect.isclass(value):
        return value.__name__
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"])
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
