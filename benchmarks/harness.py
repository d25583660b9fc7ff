"""How a claim is measured: its two sides take turns, and only the ratio within a turn counts.

The machine's mood moves both sides of a turn alike, so the median of the turns' ratios is steadier than any time.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Result(NamedTuple):
    """One claim, measured.

    Attributes:
        name: the claim's name.
        ratio: median over the turns of (ours / the other side's).
        spread: half the distance between the first and the third quartile of the turns' ratios.
        goal: the ratio promised: at most this.
        ok: whether the promise holds.
        detail: what both sides were, in a few words.
    """

    name: str
    ratio: float
    spread: float
    goal: float
    ok: bool
    detail: str

    def line(self) -> str:
        """``name  median ratio  spread  goal  ok|short``."""
        figures = "".join(
            f"{_shown(value, places):>10}" for value, places in ((self.ratio, 3), (self.spread, 3), (self.goal, 2))
        )
        return f"{self.name:<58}{figures}  {'ok' if self.ok else 'short'}"


def _shown(value: float, num_places: int) -> str:
    """A number to so many places, or if it is small to as many digits."""
    return f"{value:.{num_places}f}" if value >= 0.1 or value == 0 else f"{value:.{num_places}g}"


HEADER = f"{'name':<58}{'ratio':>10}{'spread':>10}{'goal':>10}"


def summarise(name: str, ratios: list[float], goal: float, detail: str) -> Result:
    """The result of a claim from its turns' ratios."""
    ratio = statistics.median(ratios)
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratio] * 3
    return Result(name, ratio, (quartiles[2] - quartiles[0]) / 2, goal, ratio <= goal, detail)


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds that ``action`` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(
    name: str, ours: Callable[[], float], other: Callable[[], float], goal: float, detail: str, turns: int = 7
) -> Result:
    """Measure a claim: each turn runs both sides once, in alternating order; the first turn warms up.

    Args:
        ours: runs our side and returns its cost (seconds, bytes).
        other: the same of the side we are compared with.
        goal: the ratio that is promised.
        turns: turns that count.
    """
    ratios = []
    for turn in range(turns + 1):
        if turn % 2:
            theirs, mine = other(), ours()
        else:
            mine, theirs = ours(), other()
        if turn:
            ratios.append(mine / theirs)
    return summarise(name, ratios, goal, detail)
