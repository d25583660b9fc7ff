"""Where what can be had again is kept between runs: fetched weights, decoded images, statistics of a data set."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$LIT_GEN_CACHE``, or ``~/.cache/lit_gen`` where that isn't set. The folder need not exist yet."""
    return Path(os.environ.get("LIT_GEN_CACHE") or Path.home() / ".cache" / "lit_gen").expanduser()
