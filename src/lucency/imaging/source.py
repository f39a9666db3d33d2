"""One file's bytes, read with care: a pipe never blocks, and a file that changes is noticed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lucency.errors import DataError, ImageError, PassingError

Source = str | Path | BinaryIO

MOST_BYTES = 256 * 2**20
# Not every system has all of these. Without O_NONBLOCK a pipe would be waited for.
_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
_OPEN = os.O_RDONLY | sum(getattr(os, name, 0) for name in _FLAGS)
OTHER_CONTENT = "its content has changed since it was first read"
_CHANGED = "changed while it was being read; run again when nothing writes to it"


class Stamp(NamedTuple):
    """What tells, without reading a file, that its content may be another.

    The number of the inode is left out on purpose: file systems in user space (sshfs and others)
    number a file anew when they have forgotten it, and a file put in the place of another has
    another time of change.

    Attributes:
        size: In bytes.
        modified: Time of the last writing, in nanoseconds.
        changed: Time of the last change of content, name or permissions, in nanoseconds.
    """

    size: int
    modified: int
    changed: int


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp in what ``os.stat`` says of a file."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def load(source: Source, found: Stamp | None = None) -> bytes:
    """Read a file's bytes, up to 256 MiB; a pipe or a device is refused without waiting for it.

    Args:
        source: A path, or an open binary file.
        found: The stamp of the file when it was found; ``None`` where nobody has looked.

    Raises:
        PassingError: The file is missing or cannot be read, or is not what was found, or changed
            while it was being read.
        ImageError: It is too large or not a regular file.
    """
    try:
        if isinstance(source, (str, Path)):
            return _load_file(source, found)
        data = source.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        if found:
            raise PassingError("vanished after it was found; run again") from error
        raise PassingError(_unreadable(error)) from error
    except OSError as error:
        raise PassingError(_unreadable(error)) from error
    if len(data) > MOST_BYTES:
        raise ImageError(_too_large(len(data)))
    return data


def first_bytes(path: str | Path, count: int) -> bytes:
    """Return how a regular file begins; nothing where it is none, is a link or cannot be read."""
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


def load_again(path: Path, sha256: str) -> bytes:
    """Read the bytes of a file that was read before.

    Args:
        path: The file.
        sha256: Of its bytes then, in hexadecimal.

    Raises:
        DataError: It has vanished, cannot be read or has other content; the message names it.
    """
    try:
        data = load(path)
    except ImageError as error:
        raise not_again(path, str(error)) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise not_again(path, OTHER_CONTENT)
    return data


def not_again(path: Path, reason: str) -> DataError:
    """Return the error of a file that was read before and now cannot be used."""
    return DataError(
        f"{path}: {reason}. Expected the data folder as it was when the images were decoded; "
        "restore the file, or run again from the start."
    )


def _load_file(path: str | Path, found: Stamp | None) -> bytes:
    descriptor = os.open(path, _OPEN)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file; expected a PNG, JPEG or DICOM file")
        if found and stamp_of(status) != found:
            raise PassingError("changed after it was found; run again")
        if status.st_size > MOST_BYTES:
            raise ImageError(_too_large(status.st_size))
        # One more than there should be, and not to the end: a file may grow as fast as it is read.
        data = _read_up_to(descriptor, status.st_size + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if stamp_of(after) != stamp_of(status) or len(data) != status.st_size:
        raise PassingError(_CHANGED)
    return data


def _read_up_to(descriptor: int, most: int) -> bytes:
    """Read ``most`` bytes or to the end; one call may return less, as over a network."""
    parts = []
    while most and (part := os.read(descriptor, most)):
        parts.append(part)
        most -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unreadable(error: OSError) -> str:
    return f"the file cannot be read ({error.strerror or error})"


def _too_large(size: int) -> str:
    least = "" if size > MOST_BYTES + 1 else "at least "
    return f"the file has {least}{size:,} bytes; at most {MOST_BYTES:,} are read"
