"""Memory that tensors freed and that the next ones take."""

import ctypes
import sys
from functools import cache

KEPT_BYTES = 256 << 20
"""How much freed memory at the end of the heap stays with the process."""

_MMAP_THRESHOLD, _LARGEST_THRESHOLD = -3, 32 << 20
_TRIM_THRESHOLD = -1


@cache
def keep_freed_memory() -> None:
    """Have Linux's C library keep what tensors free on the heap rather than give it back to the system.

    A loop whose large tensors are made anew at every pass otherwise may get every page of them from the system anew,
    zeroed, which can take longer than filling them: whether it does hangs on how large a tensor happened to be freed
    before. Where there is no ``mallopt`` (https://man7.org/linux/man-pages/man3/mallopt.3.html) nothing is done.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        set_option(_TRIM_THRESHOLD, KEPT_BYTES)
