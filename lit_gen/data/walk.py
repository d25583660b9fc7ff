"""What a folder holds: the one way in which data modules go through folders."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from lit_gen.data.description import Notes
from lit_gen.errors import UserError

HIDDEN = "hidden"
"""Why a name with a leading dot is passed over: it is no data (``.DS_Store``, ``.ipynb_checkpoints``)."""


class Contents(NamedTuple):
    """What lies in a folder.

    Attributes:
        files: regular files at any depth, sorted.
        folders: folders that lie in it directly, sorted.
    """

    files: list[Path]
    folders: list[Path]


def walk(folder: Path, notes: Notes) -> Contents:
    """Files at any depth under ``folder``; links to files and folders are followed.

    Names with a leading dot are passed over with all that lies in them, and so are pipes, sockets and devices; both
    are counted in ``notes``.

    Raises:
        UserError: ``folder`` is none, a folder cannot be read, a link leads back to a folder that it lies in, or to
            nothing.
    """
    files: list[Path] = []
    folders = _enter(folder, folder, {}, files, notes)
    return Contents(sorted(files), sorted(folders))


def _enter(folder: Path, top: Path, above: dict[tuple[int, int], Path], files: list[Path], notes: Notes) -> list[Path]:
    """Add the files under ``folder`` to ``files``; the folders directly in it.

    ``above`` are the folders that it lies in, by device and inode.
    """
    identity = _identity(folder)
    if identity in above:
        raise UserError(
            f"{folder} is a link back to {above[identity]}, which it lies in: remove the link, or put a dot before "
            "its name to hide it."
        )
    above = {**above, identity: folder}
    folders = []
    for path, kind in _entries(folder):
        if path.name.startswith("."):
            notes.pass_over(HIDDEN, [path.relative_to(top)])
        elif kind == "folder":
            folders.append(path)
            _enter(path, top, above, files, notes)
        elif kind == "file":
            files.append(path)
        else:
            notes.pass_over("no regular file", [path.relative_to(top)])
    return folders


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[tuple[Path, str]]:
    """What lies directly in ``folder``, sorted by name, each a folder, a file or something other."""
    try:
        with os.scandir(folder) as entries:
            return sorted((Path(entry.path), _kind(entry)) for entry in entries)
    except OSError as error:
        raise UserError(f"{folder} cannot be read as a folder: {error.strerror}.") from error


def _kind(entry: os.DirEntry) -> str:
    if entry.name.startswith("."):
        return "hidden"  # whatever it is or leads to
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise UserError(
                f"{entry.path} is a link to {os.readlink(entry.path)}, which is not there: mend or remove the link, "
                "or put a dot before its name to hide it."
            )
    except OSError as error:
        reason = "a link to itself" if error.errno == errno.ELOOP else f"not readable: {error.strerror}"
        raise UserError(f"{entry.path} is {reason}; mend or remove it.") from error
    return "other"
