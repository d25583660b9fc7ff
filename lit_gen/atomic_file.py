"""Files that are either the old ones or the whole new ones."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Within the block write to the path that is handed out; ``file`` appears whole at the end, or not at all.

    The folder is made if need be. Processes that write the same file at once don't meet.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{os.getpid()}.{file.name}")  # the suffix stays: writers of pictures look at it
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
