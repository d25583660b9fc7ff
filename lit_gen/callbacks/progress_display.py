"""How progress is shown: a bar in a terminal, a line a minute elsewhere; both also while one long step lasts."""

import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

REFRESH_SECONDS = 0.1
LINE_SECONDS = 60.0
MOST_BAR, LEAST_BAR = 24, 8
"""Widths of the bar in characters; it shrinks before any number is left out."""


class LongStep:
    """A step that may last: since when, and which callback is at work in it.

    Args:
        since: the clock's time at which it began.
        besides: names of callbacks that are not worth a mention.
    """

    def __init__(self, since: float, besides: Sequence[str] = ()) -> None:
        self.since, self.besides = since, besides
        self.section = ""
        """What Lightning says is running, as ``[Callback]Likelihood.on_test_batch_end``."""

    def enter(self, section: str) -> None:
        """Take note of what runs now."""
        self.section = section

    def words(self, now: float) -> list[str]:
        """The callback's name, if it is one, and the time so far."""
        found = re.match(r"\[Callback\](\w+)", self.section)
        names = [found[1]] if found and found[1] not in self.besides else []
        return [*names, f"{clock(now - self.since)} so far"]


class State(NamedTuple):
    """How far a run is.

    Attributes:
        activity: one word, such as "training".
        done: share that is done, 0 to 1.
        terms: what is shown beside the bar, in the order shown.
        ranks: one number a term; where there is no space, the term with the highest number goes first.
        step: the step that lasts, if one does: it is shown what it does, and for how long so far.
    """

    activity: str
    done: float = 0.0
    terms: Sequence[str] = ()
    ranks: Sequence[int] = ()
    step: LongStep | None = None


class Display(Protocol):
    """A bar or lines."""

    seconds_between: float
    """How often it wants to be shown a new state."""

    def show(self, state: State) -> None:
        """Show a new state."""

    def beat(self) -> None:
        """Show that the last state still lasts; called once a second from another thread."""

    def close(self) -> None:
        """Leave the screen as it is."""


def fitting(state: State, width: int) -> list[str]:
    """The terms that fit into ``width`` characters with two spaces before each, in the order shown."""
    kept = list(range(len(state.terms)))
    while kept and sum(len(state.terms[k]) + 2 for k in kept) > width:
        kept.remove(max(kept, key=lambda k: state.ranks[k]))
    return [state.terms[k] for k in kept]


def clock(seconds: float) -> str:
    """Seconds as 0:05, 1:05 or 1:02:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _with_step(state: State, now: float) -> State:
    if state.step is None:
        return state
    words = state.step.words(now)
    return state._replace(terms=[*words, *state.terms], ranks=[0] * len(words) + [rank + 1 for rank in state.ranks])


class Bar:
    """A bar that is never wider than the terminal: it shrinks, then the least important terms go."""

    seconds_between = REFRESH_SECONDS

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now = console, now
        self._state = State("")
        self._column = BarColumn(bar_width=MOST_BAR)
        columns = [TextColumn("{task.description}", markup=False), self._column]
        columns.append(TextColumn("{task.fields[terms]}", markup=False))
        self._rich = RichProgress(*columns, console=console, auto_refresh=False)
        self._task = self._rich.add_task("", total=1.0, terms="")

    def show(self, state: State) -> None:
        self._state = state
        state = _with_step(state, self._now())
        # One character stays free, as some terminals wrap a line that is full; rich puts one between columns.
        width = self._console.width - 1 - len(state.activity) - 2
        terms = "  ".join(fitting(state, width - LEAST_BAR + 2))
        self._column.bar_width = max(0, min(MOST_BAR, width - len(terms)))
        self._rich.update(self._task, description=state.activity, completed=state.done, terms=terms)
        self._rich.start()  # once
        self._rich.refresh()

    def beat(self) -> None:
        self.show(self._state)

    def close(self) -> None:
        self._rich.refresh()
        self._rich.stop()


class Lines:
    """A line a minute, for a file or a pipe.

    Args:
        now: a clock in seconds.
        write: takes a line.
    """

    seconds_between = 0.5

    def __init__(self, now: Callable[[], float] = time.monotonic, write: Callable[[str], None] | None = None) -> None:
        self._now, self._write = now, write or (lambda line: print(line, flush=True))
        self._began = self._last = now()
        self._state = State("")
        self._lock = threading.Lock()

    def show(self, state: State) -> None:
        self._state = state
        self._write_if_due(0.0)

    def beat(self) -> None:
        # A second's grace for a training that shows a newer state by itself.
        self._write_if_due(1.0)

    def close(self) -> None:
        """Nothing."""

    def _write_if_due(self, grace: float) -> None:
        with self._lock:
            now = self._now()
            if now - self._last < LINE_SECONDS + grace:
                return
            self._last = now
            state = _with_step(self._state, now)
            self._write("  ".join([clock(now - self._began), state.activity, *state.terms]))


class Heartbeat:
    """Calls ``beat`` once a second from a thread of its own until it is stopped."""

    def __init__(self, beat: Callable[[], None], seconds: float = 1.0) -> None:
        self._beat, self._seconds = beat, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lit-gen progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._beat()
            except (OSError, ValueError):  # the output is closed: training may go on without it
                return

    def stop(self) -> None:
        """Stop, and wait for a beat that is under way."""
        self._stopped.set()
        self._thread.join()


def display_for_this_output() -> Display:
    """A bar if the output is a terminal that can draw one, else lines."""
    if sys.stdout.isatty():
        console = Console()
        if not console.is_dumb_terminal:
            return Bar(console)
    return Lines()
