"""The home folder, and a private folder in its place where the user has none.

A container under a random user number has neither ``HOME`` nor an entry in the list of users.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lucency.errors import RunError


def home() -> Path:
    """Return the home folder; without one, a folder in the temporary directory that is ours alone.

    Raises:
        RunError: That folder cannot be made, or other users may write to it.
    """
    try:
        return Path.home()
    except RuntimeError:
        return _private_folder()


def missing_home() -> str:
    """Return a line that says where files go without a home folder; empty where there is one."""
    try:
        Path.home()
    except RuntimeError:
        return (
            f"There is no home folder: the cache and the ledger are in {_private_folder()} and may "
            "be lost. Set HOME, or LUCENCY_CACHE and LUCENCY_LEDGER."
        )
    return ""


def _private_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"lucency-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise RunError(
            f"There is no home folder, and {folder} cannot be made ({error.strerror}). "
            "Set HOME, or LUCENCY_CACHE and LUCENCY_LEDGER."
        ) from error
    # Another user may have made it before us, as a trap.
    if folder.is_symlink() or (hasattr(os, "getuid") and found.st_uid != user):
        raise RunError(
            f"There is no home folder, and {folder} belongs to another user. "
            "Set HOME, or LUCENCY_CACHE and LUCENCY_LEDGER."
        )
    folder.chmod(0o700)
    return folder
