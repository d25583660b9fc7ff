"""What a run says to the person at the screen."""

import logging
import sys

from lightning.fabric.utilities.rank_zero import _get_rank


def say(message: str) -> None:
    """Say one thing on the screen and in the run's ``log.txt``; of several processes the first one does.

    Unlike a warning, which the run's log keeps to itself, it is seen at once.
    """
    if _get_rank() not in (None, 0):
        return
    print(f"lit-gen: {' '.join(message.split())}", file=sys.stderr, flush=True)
    log = logging.getLogger("lit_gen")
    if log.handlers:  # else Python would print it once more
        log.warning(message)
