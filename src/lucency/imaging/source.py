"""Read the bytes of one file: a pipe never blocks, and a change during reading is detected."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lucency.errors import DataError, ImageError, TransientError
from lucency.imaging.frames import content_sha256, opened_as

Source = str | Path | BinaryIO

MOST_BYTES = 256 * 2**20
# Not every system has all of these. Without O_NONBLOCK, opening a pipe would block.
_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
_OPEN = os.O_RDONLY | sum(getattr(os, name, 0) for name in _FLAGS)
OTHER_CONTENT = "its content has changed since it was first read"
_CHANGED = "changed while it was being read; run again when nothing writes to it"


class Stamp(NamedTuple):
    """Size and times of a file, which reveal without reading it that its content may have changed.

    The inode number is deliberately not used: file systems in user space (sshfs and others) may
    assign a new one to the same file, and a replaced file has a new time of change.

    Attributes:
        size: In bytes.
        modified: Time of the last modification (mtime), in nanoseconds.
        changed: Time of the last change of content, name or permissions (ctime), in nanoseconds.
    """

    size: int
    modified: int
    changed: int


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file from the result of ``os.stat``."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def load(source: Source, stamp: Stamp | None = None) -> bytes:
    """Read a file's bytes, up to 256 MiB; a pipe or a device is rejected without blocking.

    Args:
        source: A path, perhaps with the name of a frame, or an open binary file.
        stamp: Of the file when it was found; ``None`` if unknown.

    Raises:
        TransientError: The file is missing or unreadable, has changed since it was found, or
            changed while it was being read.
        ImageError: It is too large or not a regular file.
    """
    try:
        if isinstance(source, (str, Path)):
            return _load_file(opened_as(source)[0], stamp)
        data = source.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        if stamp:
            raise TransientError("vanished after it was found; run again") from error
        raise TransientError(_unreadable(error)) from error
    except OSError as error:
        raise TransientError(_unreadable(error)) from error
    if len(data) > MOST_BYTES:
        raise ImageError(_too_large(len(data)))
    return data


def first_bytes(path: str | Path, count: int) -> bytes:
    """Return the start of a regular file; nothing for other files, links and unreadable files."""
    try:
        descriptor = os.open(path, _OPEN | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return b""
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return _read_up_to(descriptor, count) if regular else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def read_unchanged(path: Path, sha256: str) -> bytes:
    """Read the bytes of a file that was read before.

    Args:
        path: The file.
        sha256: Of its bytes at that time, in hexadecimal.

    Raises:
        DataError: It has vanished, cannot be read or has changed; the message names it.
    """
    try:
        data = load(path)
    except ImageError as error:
        raise changed_error(path, str(error)) from error
    if content_sha256(data, opened_as(path)[1]) != sha256:
        raise changed_error(path, OTHER_CONTENT)
    return data


def changed_error(path: Path, reason: str) -> DataError:
    """Return the error about a file that was read before and has become unusable."""
    return DataError(
        f"{path}: {reason}. Expected the data folder as it was when the images were decoded; "
        "restore the file, or run again from the start."
    )


def _load_file(path: str | Path, stamp: Stamp | None) -> bytes:
    descriptor = os.open(path, _OPEN)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file; expected an image file")
        if stamp and stamp_of(status) != stamp:
            raise TransientError("changed after it was found; run again")
        if status.st_size > MOST_BYTES:
            raise ImageError(_too_large(status.st_size))
        # One byte more than expected, but not to the end: a file may grow as fast as it is read.
        data = _read_up_to(descriptor, status.st_size + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if stamp_of(after) != stamp_of(status) or len(data) != status.st_size:
        raise TransientError(_CHANGED)
    return data


def _read_up_to(descriptor: int, most: int) -> bytes:
    """Read ``most`` bytes or to the end; one call may return less, as over a network."""
    chunks = []
    while most and (chunk := os.read(descriptor, most)):
        chunks.append(chunk)
        most -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unreadable(error: OSError) -> str:
    return f"the file cannot be read ({error.strerror or error})"


def _too_large(size: int) -> str:
    least = "" if size > MOST_BYTES + 1 else "at least "
    return f"the file has {least}{size:,} bytes; at most {MOST_BYTES:,} are read"
