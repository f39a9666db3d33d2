"""Read files as untrusted input: bounded in size, checked before use."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

LARGEST_JSON = 64 * 2**20  # bytes
LARGEST_TABLE = 256 * 2**20
_CHUNK = 2**20
_MOST_ITEMS = 2_000_000  # of a JSON document: an empty list of 2 bytes takes 64 in memory
_MOST_CELLS = 10_000_000  # of a table, for the same reason


def why(error: Exception) -> str:
    """Return the reason of an error without the path, to follow "cannot be read:"."""
    return str((isinstance(error, OSError) and error.strerror) or error)


def open_regular(path: Path, most: int, *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading; a pipe does not block, and no device is touched.

    Args:
        path: The file; its parent folders may be links.
        most: Maximum size in bytes.
        follow: Whether it may be a symbolic link: true for a file that the user named, false for
            one in a run folder, which must not lead out of it.

    Raises:
        OSError: It is missing, a link, not a regular file, too large or unreadable. Its text (or
            ``strerror``) is the reason without the path.
    """
    if not follow and path.is_symlink():
        raise OSError("it is a symbolic link; expected the file itself")
    if not stat.S_ISREG(path.stat().st_mode):  # before opening, which may affect a device
        raise OSError("it is not a regular file")
    names = ["O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY", *([] if follow else ["O_NOFOLLOW"])]
    descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, name, 0) for name in names))
    file = os.fdopen(descriptor, "rb")
    status = os.fstat(descriptor)  # of the opened file, even if the path was replaced meanwhile
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        file.close()
        if stat.S_ISREG(status.st_mode):
            raise OSError(f"it has {status.st_size:,} bytes; at most {most:,} are read")
        raise OSError("it is not a regular file")
    return file


def read_bytes(path: Path, most: int, *, follow: bool = False) -> bytes:
    """Return the content of a regular file, opened with ``open_regular``.

    Raises:
        OSError: As ``open_regular``, or it grew beyond ``most`` bytes while it was being read.
    """
    with open_regular(path, most, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1)  # Python allocates as much memory as it is asked to read
        if len(data) > size:  # it is growing
            data += file.read(most + 1 - len(data))
    if len(data) > most:
        raise OSError(f"it has more than {most:,} bytes")
    return data


def sha256_of(file: BinaryIO) -> str:
    """Return the sha256 of an open file in hexadecimal, without reading it into memory."""
    found, left = hashlib.sha256(), 2**31
    while left > 0 and (data := file.read(_CHUNK)):
        found.update(data)
        left -= len(data)  # bounded, even if the file grows while it is read
    return found.hexdigest()


def read_table(path: Path, *, follow: bool = False) -> str:
    """Return the text of a CSV file of up to 256 MiB and 10 million cells.

    Bytes that are not UTF-8 become surrogates, as in ``write_text``; a byte order mark is removed.

    Raises:
        OSError: As ``read_bytes``.
        ValueError: It has more cells.
    """
    data = read_bytes(path, LARGEST_TABLE, follow=follow)
    if sum(map(data.count, b",;\t\n\r")) > _MOST_CELLS:
        raise ValueError(f"more than {_MOST_CELLS:,} cells")
    return data.decode("utf-8-sig", errors="surrogateescape")


def read_json(path: Path, most: int = LARGEST_JSON) -> Any:
    """Return the content of a JSON file; keys are unique and numbers are finite.

    Args:
        path: The file.
        most: Maximum size in bytes, which also bounds the memory.

    Raises:
        OSError: As ``read_bytes``.
        ValueError: It is not JSON, too large or too deeply nested, or has a duplicate key or a
            number that is not finite.
    """
    return parse_json(read_bytes(path, most))


def parse_json(data: bytes) -> Any:
    """Parse JSON text in UTF-8 like ``read_json``.

    Raises:
        ValueError: As ``read_json``.
    """
    if sum(map(data.count, b"[{,")) > _MOST_ITEMS:
        raise ValueError(f"more than {_MOST_ITEMS:,} values")
    try:
        return json.loads(
            data.decode("utf-8", errors="surrogateescape"),
            parse_float=_finite,
            parse_constant=_finite,
            object_pairs_hook=_once,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"a number that is not finite: {number[:20]}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that is named twice")
    return found
