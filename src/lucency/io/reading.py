"""Files that are read as if a stranger had made them."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

LARGEST_JSON = 64 * 2**20  # bytes
LARGEST_TABLE = 256 * 2**20
_MOST_ITEMS = 2_000_000  # of a JSON document: an empty list of 2 bytes takes 64 in memory
_MOST_CELLS = 10_000_000  # of a table, for the same reason


def why(error: Exception) -> str:
    """Return why a file could not be read, without its path, as it follows "cannot be read:"."""
    return str((isinstance(error, OSError) and error.strerror) or error)


def open_regular(path: Path, most: int, *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading, without waiting for a pipe or touching a device.

    Args:
        path: The file; the folders that lead to it may be links.
        most: Bytes that it may have.
        follow: Whether it may be a symbolic link: of a file that the user named, not of one in a
            run folder, which would lead out of it.

    Raises:
        OSError: It is missing, a link, no regular file, larger, or may not be read. Its text (or
            ``strerror``) is the reason without the path.
    """
    if not follow and path.is_symlink():
        raise OSError("it is a symbolic link; expected the file itself")
    if not stat.S_ISREG(path.stat().st_mode):  # before opening, which may wind a tape
        raise OSError("it is not a regular file")
    names = ["O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY", *([] if follow else ["O_NOFOLLOW"])]
    descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, name, 0) for name in names))
    file = os.fdopen(descriptor, "rb")
    status = os.fstat(descriptor)  # of what was opened, whatever took its place meanwhile
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        file.close()
        if stat.S_ISREG(status.st_mode):
            raise OSError(f"it has {status.st_size:,} bytes; at most {most:,} are read")
        raise OSError("it is not a regular file")
    return file


def read_bytes(path: Path, most: int, *, follow: bool = False) -> bytes:
    """Return all of a regular file, as ``open_regular`` opens it.

    Raises:
        OSError: As ``open_regular``, or it grew beyond ``most`` bytes while it was read.
    """
    with open_regular(path, most, follow=follow) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"it has more than {most:,} bytes")
    return data


def read_table(path: Path, *, follow: bool = False) -> str:
    """Return the text of a CSV file of up to 256 MiB and 10 million cells.

    Bytes that are not UTF-8 become surrogates, as in ``write_text``; a byte order mark is dropped.

    Raises:
        OSError: As ``read_bytes``.
        ValueError: It has more cells.
    """
    data = read_bytes(path, LARGEST_TABLE, follow=follow)
    if sum(map(data.count, b",;\t\n\r")) > _MOST_CELLS:
        raise ValueError(f"more than {_MOST_CELLS:,} cells")
    return data.decode("utf-8-sig", errors="surrogateescape")


def read_json(path: Path, most: int = LARGEST_JSON) -> Any:
    """Return what a JSON file holds; everything in it has one meaning and is finite.

    Args:
        path: The file.
        most: Bytes that it may have; the memory that it takes is bounded with it.

    Raises:
        OSError: As ``read_bytes``.
        ValueError: It is no JSON, holds too much or too deeply nested, a key twice, or a number
            that is not finite.
    """
    return parse_json(read_bytes(path, most))


def parse_json(data: bytes) -> Any:
    """Return what JSON text in UTF-8 says, as ``read_json`` does.

    Raises:
        ValueError: It is no JSON, or as for ``read_json``.
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
