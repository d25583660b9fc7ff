"""Whether the command line cuts a config's training short, and a test in proportion to what is left of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer

from lit_gen.callbacks.pictures import batches_done
from lit_gen.callbacks.shortened_test import ShortenedTest

LENGTHS = ("max_epochs", "max_steps", "max_time", "limit_train_batches", "overfit_batches")
"""The trainer's keys that say how long a training is."""

PASSES = 3
"""A training example's, in passes of an example that is only scored: one forward, two backward."""

DEFAULT_EPOCHS = 1000
"""Lightning's, where a config sets no limit at all."""


def without_lengths(arguments: Sequence[str]) -> list[str] | None:
    """A command line without the words that say how long to train; None if it has none.

    >>> without_lengths(["--config", "a.yaml", "--trainer.max_epochs=1", "--trainer.max_steps", "5", "--name=x"])
    ['--config', 'a.yaml', '--name=x']
    """
    options = {f"--trainer.{key}" for key in LENGTHS}
    words, kept = list(arguments), []
    while words:
        word = words.pop(0)
        option, equals, _ = word.partition("=")
        if option not in options:
            kept.append(word)
        elif not equals and words:
            words.pop(0)
    return kept if len(kept) < len(arguments) else None


def planned_batches(config: Any, batches_an_epoch: float) -> float:
    """Training batches that a trainer's config plans; infinite if nothing ends it.

    Args:
        config: the config's ``trainer``.
        batches_an_epoch: in a whole pass over the training data.
    """
    limit = config.get("overfit_batches") or config.get("limit_train_batches")
    if limit is not None:
        batches_an_epoch = min(batches_an_epoch, limit if isinstance(limit, int) else int(limit * batches_an_epoch))
    epochs, steps = config.get("max_epochs"), config.get("max_steps")
    if steps in (None, -1):
        steps = math.inf
    if epochs is None:
        epochs = math.inf if steps < math.inf or config.get("max_time") is not None else DEFAULT_EPOCHS
    epochs = math.inf if epochs == -1 else epochs
    accumulate = config.get("accumulate_grad_batches") or 1
    return min(epochs * batches_an_epoch if epochs else 0, steps * accumulate)


class Plan:
    """How long a run's training is, and how long it is by its config's files alone.

    Args:
        given: the trainer's config.
        files: the same without what the command line says of the length; None if it says nothing.
    """

    def __init__(self, given: Mapping[str, Any], files: Mapping[str, Any] | None = None) -> None:
        self.given = given
        self.files = given if files is None else files
        self.cut_by_time = files is not None and given.get("max_time") is not None

    def of_run(self, trainer: Trainer) -> float:
        """Batches of this run; if ``max_time`` on the command line has ended it, those that it came to."""
        planned = planned_batches(self.given, batches_of_epoch(trainer))
        return min(planned, batches_done(trainer)) if self.cut_by_time else planned

    def of_files(self, trainer: Trainer) -> float:
        """Batches that the files plan."""
        return planned_batches(self.files, batches_of_epoch(trainer))


def batches_of_epoch(trainer: Trainer) -> float:
    """Batches in a whole pass over the training data, whatever the limits."""
    loader = trainer.fit_loop._combined_loader
    try:
        return max(len(one) for one in loader.flattened)
    except (AttributeError, TypeError):
        return math.inf


@contextmanager
def in_proportion(trainer: Trainer, share: float, examples: int) -> Iterator[ShortenedTest]:
    """Within the block tests are cut to what a training of ``examples`` examples, a share of the whole, is worth."""
    shortened = ShortenedTest(share, PASSES * examples)
    heeding = [callback for callback in trainer.callbacks if hasattr(callback, "shortened")]
    for callback in heeding:
        callback.shortened = shortened if share < 1 else None
    try:
        yield shortened
    finally:
        for callback in heeding:
            callback.shortened = None


def told(shortened: ShortenedTest, full: str) -> str:
    """What was left out, and how to have it."""
    share = f"{100 * shortened.share:.2g} %"
    return (
        f"trained {share} of what the config plans, so the test was shortened: {'; '.join(shortened.left_out)}. "
        f"All of it: {full}"
    )
