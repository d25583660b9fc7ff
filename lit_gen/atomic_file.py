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
    """Within the block fill the folder that is handed out; at the end ``folder`` holds its files, or is as it was.

    Of the files that ``folder`` holds by then, those whose names ``is_ours`` knows are removed; nothing else in it is
    touched. A folder that is new or empty appears with all its files at once. In one that isn't, they are moved in one
    by one when all have been written.

    Raises:
        OSError: it cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    # What is in use, a mount point, and what lies in a folder of somebody else's can't be exchanged.
    inside = folder.is_dir() and (
        any(folder.iterdir()) or os.path.ismount(folder) or not os.access(folder.parent, os.W_OK)
    )
    part = (folder if inside else folder.parent) / f".{os.getpid()}.{folder.name}"
    part.mkdir(parents=True)
    try:
        yield part
        if not inside:
            os.replace(part, folder)
            return
        for old in [entry for entry in folder.iterdir() if is_ours(entry.name)]:
            old.unlink()
        for new in sorted(part.iterdir()):
            os.replace(new, folder / new.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
