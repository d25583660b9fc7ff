"""What the libraries have to say goes into the run's log; the screen is for lit-gen and the person's own code.

Lightning, torch and others warn of much that is no news to somebody who runs a config: that `srun` is on the PATH, that
there is no CUDA, that a name of theirs is deprecated. What they say before a run has its log is kept until then.
"""

import logging
import logging.handlers
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGGED = ("lightning.pytorch", "lightning.fabric", "torch", "lit_gen", "py.warnings")
"""Loggers that a run's log takes from; warnings arrive under the last name, as Python's ``captureWarnings`` has it."""

LIBRARIES = ("lightning", "torch", "torchmetrics", "wandb")
"""Packages whose loggers write on the screen by themselves."""

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})

_kept: logging.handlers.MemoryHandler | None = None


@contextmanager
def held_back() -> Iterator[None]:
    """Within the block the libraries' warnings don't reach the screen, and lit-gen's are one line each."""
    global _kept
    _kept = logging.handlers.MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
    for name in LOGGED:
        logging.getLogger(name).addHandler(_kept)
    before, warnings.showwarning = warnings.showwarning, _show
    try:
        yield
    finally:
        warnings.showwarning = before
        _drop_kept()


def quiet_loggers() -> None:
    """Keep the libraries' loggers off the screen, but for errors; for after the libraries have been imported."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # torch gives it a handler as it compiles
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.split(".")[0] in LIBRARIES and isinstance(logger, logging.Logger):
            for handler in logger.handlers:
                if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                    handler.setLevel(logging.ERROR)


def log_to(path: Path) -> logging.Handler:
    """Append what Lightning, torch, lit-gen and Python's warnings say to a file, and what was kept until now."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if _kept is not None:
        _kept.setTarget(handler)
        _kept.flush()
        _drop_kept()
    for name in LOGGED:
        logging.getLogger(name).addHandler(handler)
    return handler


def stop_logging(handler: logging.Handler) -> None:
    """Let go of the file that ``log_to`` writes to."""
    for name in LOGGED:
        logging.getLogger(name).removeHandler(handler)
    handler.close()


def _drop_kept() -> None:
    global _kept
    if _kept is not None:
        for name in LOGGED:
            logging.getLogger(name).removeHandler(_kept)
        _kept.setTarget(None)
        _kept.close()
    _kept = None


def _show(message, category, filename, lineno, file=None, line=None) -> None:
    """Stands for ``warnings.showwarning``."""
    text = warnings.formatwarning(message, category, filename, lineno, line)
    logger = logging.getLogger("py.warnings")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # or Python would print it
    logger.warning("%s", text)
    # Not the file that the warning names: that may be the one of whoever called the function that warns.
    source = sys._getframe(2).f_code.co_filename
    if Path(source).is_relative_to(_PACKAGE):
        if os.environ.get("LOCAL_RANK", "0") == "0":  # the others say the same
            print(f"lit-gen: warning: {' '.join(str(message).split())}", file=sys.stderr, flush=True)
    elif not source.startswith((*_INSTALLED, "<")):
        print(text, end="", file=file or sys.stderr, flush=True)
