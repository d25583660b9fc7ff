"""The argument parser: short interpolation paths, and errors that name the nearest right key."""

import difflib
import re
import sys
import warnings
from typing import Any, NoReturn

import jsonargparse
import yaml
from jsonargparse import _loaders_dumpers
from lightning.pytorch.cli import LightningArgumentParser

from lit_gen.cli import interpolation, precision, yaml_text
from lit_gen.errors import UserError

NULL = ("null", "Null", "NULL", "None")
"""Words for null, which nobody means as text."""

_NOT_SERIALIZED = re.compile(r"Unable to serialize instance (?=\$\{)")


def load_yaml(text: str) -> Any:
    """YAML with ``${data.image_shape}`` written out in full; jsonargparse resolves it after all files and overrides."""
    value = yaml_text.load(text)
    if isinstance(value, dict) and value and all(one is None for one in value.values()) and "\n" not in text:
        return text  # a word with a colon, or words in braces
    return interpolation.expand(value)


def set_up() -> None:
    """Make jsonargparse's ``omegaconf+`` mode read configs with :func:`load_yaml`, and write what that reads."""
    jsonargparse.set_loader("omegaconf+", load_yaml, exceptions=(yaml.YAMLError,))
    jsonargparse.set_dumper("omegaconf+", yaml_text.dump)
    _loaders_dumpers.yaml_default_loader = yaml_text.Loader  # which reads text where a number or truth value is wanted


class Parser(LightningArgumentParser):
    """LightningCLI's parser, whose errors are :class:`UserError` of one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

        self.part: str | None = None
        self.unresolved: Any = None

    def add_class_arguments(self, part: Any, nested_key: str | None = None, *args: Any, **kwargs: Any) -> list[str]:
        """Add a class's arguments; the parser of a part remembers whose they are, to say so of a mistake among them."""
        if nested_key is None and isinstance(part, type):
            self.part = public_name(part)
        return super().add_class_arguments(part, nested_key, *args, **kwargs)

    def _check_value_key(self, action: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse null where text is wanted, which jsonargparse takes for the text 'None'."""
        if value in NULL and str in (action.type, getattr(action, "_typehint", None)):
            raise TypeError(f'Parser key "{action.dest}": Expected text, got null; give it a value, or leave it out')
        return super()._check_value_key(action, value, *args, **kwargs)

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """The config as YAML; an unresolved one, which jsonargparse dumps to resolve it, is kept as ``unresolved``."""
        with warnings.catch_warnings():
            # jsonargparse takes an interpolation for an object where a callable is allowed, and says so instead.
            warnings.filterwarnings("ignore", r"\s*Unable to serialize instance \$\{")
            text = _NOT_SERIALIZED.sub("", super().dump(*args, **kwargs))
        if self.part is None and "${" in text:
            self.unresolved = yaml_text.load(text)
        # Before it prints a config, and not before it resolves one, jsonargparse takes "key" out of its note to do so.
        prints = "key" not in getattr(self, "print_config", {"key": None})
        return interpolation.PRINTED + text if prints else text

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(readable(message, self)) from ex


def public_name(of: type) -> str:
    """A class's shortest import path, such as ``lit_gen.networks.MLP``."""
    parts = of.__module__.split(".")
    for number in range(1, len(parts)):
        module = ".".join(parts[:number])
        if getattr(sys.modules.get(module), of.__name__, None) is of:
            return f"{module}.{of.__name__}"
    return f"{of.__module__}.{of.__qualname__}"


_NO_KEY = re.compile(
    r"there is no key '[^']+'[^;\n(]*(?:; the nearest right one is '[^']+'|; (?:there are|a blank) [^\n(]+)?"
    r"(?: \(in [\w.]+\))?"
)
_UNRECOGNIZED = re.compile(r"[Uu]nrecognized arguments: (\S+)")
_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_NOT_ACCEPTED = re.compile(r"(?:Option|Key|[Gg]roup|Nested key) '([^']+)' is not (?:accepted|expected)")
_NOT_A_FILE = re.compile(r"(?:Expected a path but|File does not exist:) '?(\S+?\.ya?ml)'?(?: |$)")
_NO_CLASS = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_NO_IMPORT = re.compile(r"Expected a dot import path string: (\S+)$", re.M)
_NOISE = re.compile(
    r"Subtypes:|Errors:|Does not validate|Given value|Expected a (?:<class 'NoneType'>|path but|dot import path string)"
    r"|Subclass types expect one of|a class path \(str\)|a dict with"
)
_HINTS = {
    r"(?:Got value:|, got) [^;]*\$\{": "an interpolation is a key's whole value, no item of a list",
    r"(?:Got value:|, got) [-+]?(?:inf|nan)$": "infinity is .inf, and not a number .nan",
    r"Not a valid subclass": "write {class_path: package.Class, init_args: {…}}",
}
_PART = re.compile(r" \(in [\w.]+\)$")
_NO_SUBCLASS = re.compile(
    r"(?:Import path (?P<first>\S+ )?does not correspond to a subclass of (?P<base>\w+)"
    r"|Expected '(?P<second>[\w.]+)' to be a subclass of (?P<other_base>\w+)).*"
)
_LITERAL = re.compile(r"an? typing\.Literal\[([^\]]*)\](?:(?: or|:) Expected an? typing\.Literal\[[^\]]*\])*")


def readable(message: str, parser: jsonargparse.ArgumentParser) -> str:
    """One line out of jsonargparse's nested message, with the nearest right key for a wrong one.

    Nested classes are parsed by parsers of their own, whose line then stands inside the outer parser's message and
    ends with the class in parentheses.
    """
    if match := _NO_KEY.search(message):
        return match.group(0)
    part = f" (in {parser.part})" if getattr(parser, "part", None) else ""
    if match := _GROUP.search(message) or _UNRECOGNIZED.search(message) or _NOT_ACCEPTED.search(message):
        key = ".".join(match.groups()).split("=")[0].lstrip("-")
        return f"there is no key '{key}'{_nearest(key, parser)}{part}"
    if match := _NOT_A_FILE.search(message):
        return f"there is no file {match.group(1)}"
    lines = [line.strip(" -\n") for line in message.split("\n")]
    kept = [line.rstrip(":") for line in lines if line and not _NOISE.match(line)]
    line = re.sub(r"\s+", " ", ": ".join(kept))
    line = re.sub(r'Parser key "([^"]+)"', r"\1", line)
    line = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", line)
    if (word := _NO_IMPORT.search(message)) and re.fullmatch(r"[\w.]+", line):
        return f"{line}: '{word.group(1)}' names no class: write its import path, as package.Class{part}"
    if _PART.search(line):
        return line
    line = re.sub(r"Type \S*\[.*\] expects a function or a callable class: ", "", line)
    given = re.search(r"Given value: ([^()]{1,60})$", message, flags=re.M)
    if match := _NO_SUBCLASS.search(line):
        named = (match["first"] or match["second"] or (given.group(1) if given else "this")).strip()
        return f"{line[: match.start()]}'{named}' is no {match['base'] or match['other_base']}{part}"
    line = _with_choices(line)
    line = re.sub(r"Expected a (int|object)\b", r"Expected an \1", line)
    line = re.sub(r"(Expected an? \w+): Expected (an? \w+)", r"\1 or \2", line)
    if missing := _NO_CLASS.search(line):
        return line[: missing.end()] + _nearest_class(line) + part
    if given and re.fullmatch(r"[\w.: ]+", line) and "Expected" not in line:
        named = re.search(r"'class_path': '([^']+)'", given.group(1))
        return f"{line}: '{(named or given).group(1)}' is neither a class nor the file of one{part}"
    line += f", got {given.group(1)}" if given and not re.search(r"Got value|, got ", line) else ""
    return line + _hint(line) + part


def _with_choices(line: str) -> str:
    """The line with choices as a person writes them, instead of the type that holds them."""
    if line.startswith("trainer.precision: Expected"):  # Lightning's own choices are more than lit-gen takes
        return re.sub(r"Expected .*?(?=, got|\. Got value|$)", f"Expected one of {', '.join(precision.TAKEN)}", line)

    def choices(match: re.Match) -> str:
        found = dict.fromkeys(re.findall(r"'([^']*)'|(\d+)", match.group(0)))
        return "one of " + ", ".join(word or number for word, number in found)

    return _LITERAL.sub(choices, line)


def _nearest_class(line: str) -> str:
    match = _NO_CLASS.search(line)
    names = [name for name in dir(sys.modules.get(match.group(1))) if name[0].isupper()] if match else []
    close = difflib.get_close_matches(match.group(2), names, n=1, cutoff=0.5) if match else []
    return f"; the nearest right one is '{match.group(1)}.{close[0]}'" if close else ""


def _hint(line: str) -> str:
    return "".join(f"; {hint}" for sign, hint in _HINTS.items() if re.search(sign, line))


def _nearest(key: str, parser: jsonargparse.ArgumentParser) -> str:
    options = [action.dest for action in parser._actions]
    options = [option for option in options if not option.endswith(("help", "SUPPRESS==", "print_config", "_shtab"))]
    groups = sorted({option.split(".")[0] for option in options})
    first, *rest = key.split(".")
    # A part's own keys are known only to the part, so a misspelt first segment is mended by itself.
    if first not in groups and (close := difflib.get_close_matches(first, groups, n=1, cutoff=0.6)):
        return f"; the nearest right one is '{'.'.join([close[0], *rest])}'"
    if close := difflib.get_close_matches(key, options, n=1, cutoff=0.6):
        return f"; the nearest right one is '{close[0]}'"
    if re.search(r":\S", key):
        return "; a blank follows a key's colon, as in {class_path: package.Class}"
    if not groups:
        return ""
    return f"; there are {', '.join(groups)}, and a part's own keys go with its name, as in model.beta"
