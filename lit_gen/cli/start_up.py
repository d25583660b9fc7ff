"""A quicker start and end of the process: most of what it waits for is imports, and the garbage collector in them.

Importing torch and Lightning makes a million objects that stay. The collector walks through all there are again and
again while they come into being, and again at exit. So it is off while they are imported, and passes them over from
then on. What a run makes later is collected as ever, also at exit.
"""

import atexit
import gc
import os
import sys

_is_off = False


def begin() -> None:
    """No collections from here on, until ``end``; for a process that is ours from its start to its end."""
    global _is_off
    _is_off = gc.isenabled()
    gc.disable()
    atexit.register(_quiet_end)  # as the first, so that it is called last


def end() -> None:
    """Everything is imported: it is not looked at again, and collections go on for what comes. Once is enough."""
    global _is_off
    if _is_off:
        gc.freeze()
        gc.enable()
        _is_off = False


def _quiet_end() -> None:
    """Nothing but the interpreter's own end comes after this.

    Triton's library then reports each of its objects that were not collected, on some thirty lines, as if that
    mattered to a process that ends.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    if "triton" in sys.modules:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
