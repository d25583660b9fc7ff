"""A quicker start and end of the process: most of what it waits for is imports, and the garbage collector in them.

Importing torch and Lightning makes a million objects that stay. The collector walks through all there are again and
again while they come into being, and again at exit. It is off until the run begins; what is there by then is frozen.
"""

import gc

_is_off = False


def begin() -> None:
    """No collections from here on, until ``end``."""
    global _is_off
    _is_off = gc.isenabled()
    gc.disable()


def end() -> None:
    """Everything is imported and built: it is not looked at again, and collections go on for what comes."""
    global _is_off
    if _is_off:
        gc.freeze()
        gc.enable()
        _is_off = False


def leave() -> None:
    """The process is about to end: spare the interpreter's last collections the way through all objects."""
    end()
    gc.freeze()
