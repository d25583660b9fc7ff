"""What a run's data are, in numbers and words: how many, of what shape and range, and what was not read."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lit_gen.errors import printable

NAMED = 3
"""How many names of what was passed over are kept."""

WIDTH = 78
"""Columns of a line on the screen."""

_CHUNK = 1000  # examples looked at together: bounds the memory


class SplitSize(NamedTuple):
    """How large a split is.

    Attributes:
        examples: their number.
        classes: how many different classes they have, or None where there are no labels.
    """

    examples: int
    classes: int | None


class Range(NamedTuple):
    """The least and the greatest of some values."""

    least: float
    greatest: float


@dataclass
class Counted:
    """Files, folders or arrays that have something in common.

    Attributes:
        count: how many.
        first: printable names of the first few.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str | Path) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(printable(str(name)))

    def names(self) -> str:
        """The first names, and dots if there are more."""
        return ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")


class Notes:
    """What a data module notes down while it reads.

    Attributes:
        passed_over: by reason, what was found and not read.
        remarks: sentences about what was done to the data, each once.
        brightest: by origin, the greatest value of images where 1 is white, before they were resized.
    """

    def __init__(self) -> None:
        self.passed_over: dict[str, Counted] = {}
        self.remarks: list[str] = []
        self.brightest: dict[str, float] = {}

    def pass_over(self, reason: str, names: Iterable[str | Path]) -> None:
        """Count ``names``, which are not read for ``reason``."""
        for name in names:
            self.passed_over.setdefault(reason, Counted()).add(name)

    def saw(self, origin: str, greatest: float) -> None:
        """Note down the greatest value of some images from ``origin``."""
        self.brightest[origin] = max(greatest, self.brightest.get(origin, 0.0))

    def remark(self, text: str) -> None:
        """Add a sentence, unless it is there."""
        if printable(text) not in self.remarks:
            self.remarks.append(printable(text))


@dataclass(frozen=True)
class DataDescription:
    """What the data of a run are.

    Attributes:
        module: name of the data module's class.
        origin: the file, folder or set that the training examples are from.
        splits: for train, val and test how many examples and classes.
        event_shape: shape of one example.
        values: least and greatest value as handed out, before any binarization; training and test together.
        stored_as: type of the examples in memory, such as uint8 (handed out as x / 255).
        binarization: one of ``lit_gen.data.binarization.BINARIZATIONS``.
        passed_over: by reason, what was found and not read.
        remarks: what was done to the data that a person may not expect.
    """

    module: str
    origin: str
    splits: dict[str, SplitSize]
    event_shape: tuple[int, ...]
    values: Range
    stored_as: str
    binarization: str
    passed_over: dict[str, Counted]
    remarks: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Numbers, text, lists and dictionaries, as JSON has them."""
        return {
            "module": self.module,
            "origin": self.origin,
            "splits": {name: size._asdict() for name, size in self.splits.items()},
            "event_shape": list(self.event_shape),
            "values": {**self.values._asdict(), "stored_as": self.stored_as, "binarization": self.binarization},
            "passed_over": {
                reason: {"count": entry.count, "first": list(entry.first)} for reason, entry in self.passed_over.items()
            },
            "remarks": list(self.remarks),
        }

    def lines(self) -> list[str]:
        """A few lines for the screen, each of at most ``WIDTH`` columns; what continues a line is indented."""
        values = f"{self.values.least:.4g} to {self.values.greatest:.4g}"
        texts = [
            f"{self.module}: {self.origin}",
            _sizes(self.splits),
            f"shape {list(self.event_shape)}, {self.stored_as}, values {values}, binarization {self.binarization}",
            *(f"passed over: {e.count:,} {reason} ({e.names()})" for reason, e in self.passed_over.items()),
            *self.remarks,
        ]
        return [line for text in texts for line in _wrapped(text)]


def _sizes(splits: dict[str, SplitSize]) -> str:
    """The splits that aren't empty: ``train 90, test 10; 3 classes``, or each with its classes where they differ."""
    sizes = {name: size for name, size in splits.items() if size.examples}
    classes = {size.classes for size in sizes.values()}
    if len(classes) > 1:
        return ", ".join(f"{name} {size.examples:,} ({size.classes or 0:,} classes)" for name, size in sizes.items())
    (num,) = classes
    counts = ", ".join(f"{name} {size.examples:,}" for name, size in sizes.items())
    return counts if num is None else f"{counts}; {num:,} {'class' if num == 1 else 'classes'}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def value_range(x: Tensor) -> Range:
    """Least and greatest of (N, ...) values, N at least 1; bytes are looked at until both 0 and 255 were seen.

    ``x`` may be anything that rows can be taken from by index.
    """
    least, greatest = float("inf"), float("-inf")
    for rows in torch.arange(len(x)).split(_CHUNK):
        low, high = x[rows[0] : rows[-1] + 1].aminmax()
        least, greatest = min(least, low.item()), max(greatest, high.item())
        if x.dtype == torch.uint8 and (least, greatest) == (0, 255):
            break
    return Range(least, greatest)


def handed_out(values: Range, dtype: torch.dtype) -> Range:
    """The range of examples as they are handed out: bytes are divided by 255."""
    return Range(values.least / 255, values.greatest / 255) if dtype == torch.uint8 else values
