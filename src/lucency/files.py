"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from lucency.errors import RunError


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part.

    The data goes to a hidden name in the same folder, reaches the disk, and then takes the place
    of ``path`` in one step. After a failure ``path`` is as it was and nothing else is left.

    Args:
        path: The file; its folder exists.
        data: All of its content.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(_complaint(path, len(data), error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 as ``write_bytes`` does, line ends as they are.

    File names that are not UTF-8 reach Python as surrogates; they are written as the bytes that
    they were, and read back with ``errors="surrogateescape"``.

    Args:
        path: The file; its folder exists.
        text: All of its content.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
    """
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def _complaint(path: Path, size: int, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"The disk is full: {path} ({size} bytes) was not written and is as it was before. "
            "Free some space and run again."
        )
    if error.errno == errno.ENOENT:
        return f"Cannot write {path}: its folder does not exist. Create {path.parent} first."
    reason = error.strerror or str(error)
    return f"Cannot write {path}: {reason}. Check that the folder may be written."
