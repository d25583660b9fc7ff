"""Where data lie."""

import os
from pathlib import Path

from lit_gen.errors import UserError


def data_root(root: str | None) -> Path:
    """The folder that data sets lie in: ``root``, else the environment's LIT_GEN_DATA, else ``data``.

    Raises:
        UserError: it begins with ``~`` and a name of no user.
    """
    named = root or os.environ.get("LIT_GEN_DATA") or "data"
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise UserError(f"There is no home folder of {named!r}: name root or LIT_GEN_DATA in full.") from error


def find(name: str, root: Path) -> Path:
    """The file or folder ``name``, in the working folder or else under ``root``.

    Raises:
        UserError: it is in neither, or cannot be looked at.
    """
    if not str(name).strip():
        raise UserError("The data's path is empty: name a file or a folder.")
    try:
        candidates = [Path(name).expanduser(), root / name]
        for path in candidates:
            if path.exists():
                return path
    except (OSError, RuntimeError, ValueError) as error:  # no access, a name too long, no such user's home
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{str(name)[:150]} cannot be looked at: {str(reason).rstrip('.')}.") from error
    places = " or ".join(dict.fromkeys(str(path) for path in candidates))
    raise UserError(f"There is no {places}: check the path, or set root or LIT_GEN_DATA.")
