"""Files and folders that are either the old ones or the whole new ones."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Within the block write to the path that is handed out; ``file`` appears whole at the end, or not at all.

    The new content is on the disk before it takes the old one's place, so that a full disk, which some file systems
    report only then, leaves the old file. A symbolic link stays, and what it leads to is replaced. The folder is made
    if need be. Processes that write the same file at once don't meet.

    Raises:
        OSError: it cannot be written.
    """
    file = Path(os.path.realpath(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{os.getpid()}.{file.name}")  # the suffix stays: writers of pictures look at it
    try:
        yield part
        with part.open("r+b") as stream:
            os.fsync(stream.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, is_ours: Callable[[str], bool]) -> Iterator[Path]:
    """Within the block fill the folder that is handed out, which takes ``folder``'s place at the end, or not at all.

    It is made beside ``folder``. Of what ``folder`` holds by then, entries whose names ``is_ours`` knows are removed,
    and the others are moved into the new one.

    Raises:
        OSError: it cannot be written, as where ``folder`` is a mount point, which nothing can take the place of.
    """
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    part, old = (folder.with_name(f".{os.getpid()}.{folder.name}.{what}") for what in ("new", "old"))
    part.mkdir()
    try:
        yield part
        if not (folder.is_dir() and any(folder.iterdir())):
            os.replace(part, folder)  # an empty folder gives way
            return
        os.replace(folder, old)
        try:
            os.replace(part, folder)
        except OSError:
            os.replace(old, folder)
            raise
        for entry in old.iterdir():
            if not is_ours(entry.name):
                os.replace(entry, folder / entry.name)
        shutil.rmtree(old)
    finally:
        shutil.rmtree(part, ignore_errors=True)
