"""How much of a test is done after a training that was cut short."""

import math
from collections.abc import Callable

LEAST = 100
"""Examples or samples below which a metric is no more than noise."""


class ShortenedTest:
    """Counts the part of a test that takes a time in proportion to a shortened training.

    Of what costs much, as many are scored as the greatest of: the share of the whole that was trained; as many as the
    training's own passes through the network pay for, so that a test that is quick beside it is done as a whole;
    ``LEAST``. Nothing depends on a clock: the same training is tested alike anywhere.

    Args:
        share: of the training that the config plans, in [0, 1].
        passes: of one example through the network in the training.
    """

    def __init__(self, share: float, passes: int) -> None:
        self.share = share
        self.passes = passes
        self.left_out: list[str] = []
        """What was scored of what, in words."""

    def count(self, whole: int, cost: int = 1, least: int = LEAST) -> int:
        """How many of ``whole`` are scored, in hundreds.

        Args:
            whole: how many the full test scores.
            cost: passes through the network that one of them takes.
            least: fewer are of no use to the metric.
        """
        wanted = max(least, math.ceil(self.share * whole), self.passes // cost)
        return min(whole, math.ceil(wanted / 100) * 100)

    def note(self, metric: str, done: int, whole: int, what: str) -> None:
        """Keep what was left out, to be said at the end."""
        line = f"{metric} on {done:,} of {whole:,} {what}"
        if done < whole and line not in self.left_out:
            self.left_out.append(line)


def spread(whole: int, group_size: int, count: int) -> tuple[Callable[[int], bool], int]:
    """Whole groups of neighbouring numbers, evenly spaced, that hold about ``count`` of ``whole`` examples.

    Args:
        whole: how many examples there are.
        group_size: how many neighbours belong together.
        count: how many are wanted.

    Returns:
        Whether an example's number is chosen, and how many are.
    """
    num_groups = math.ceil(whole / group_size)
    taken = min(num_groups, math.ceil(count / group_size))
    chosen = {place * num_groups // taken for place in range(taken)}
    total = sum(min(group_size, whole - group * group_size) for group in chosen)
    return (lambda number: number // group_size in chosen), total
