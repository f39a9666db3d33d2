"""Files that appear whole or not at all, and are read as if a stranger had made them."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from lucency.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document as ``write_text`` does, with every name as it is spelled.

    Args:
        path: The file; its folder exists.
        document: Dictionaries, lists, text and finite numbers.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
        ValueError: A number is not finite.
    """
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def built_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden folder that becomes ``target`` on success and vanishes on any failure.

    Args:
        target: The folder to appear; folders above it are made.
        replace: Whether it takes the place of a folder that is there already.

    Raises:
        RunError: The folder cannot be made or renamed.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise RunError(
            f"The folder cannot be made: {target} ({error.strerror}). "
            "Give a folder that can be written."
        ) from error
    old = draft.with_name(f"{draft.name}.old")
    try:
        yield draft
        draft.chmod(0o755)
        if replace and target.exists():
            target.rename(old)
        draft.rename(target)
    except OSError as error:
        if old.exists():
            old.rename(target)
        raise RunError(f"The folder could not be written: {target} ({error.strerror}).") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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


# Reading: a folder may come from a stranger, and its files may be anything.

LARGEST_JSON = 64 * 2**20  # bytes
LARGEST_TABLE = 256 * 2**20
_MOST_ITEMS = 2_000_000  # of a JSON document: an empty list of 2 bytes takes 64 in memory
_MOST_CELLS = 10_000_000  # of a table, for the same reason


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


# Named arrays: safetensors files, whose header is checked before anything is made of it.

_LONGEST_HEADER = 4 * 2**20  # bytes; 1,800 arrays have some 300,000
_MOST_ARRAYS = 20_000
_MOST_AXES = 8
_TYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "BOOL": "|b1",
    "I8": "|i1",
    "U8": "|u1",
    "I16": "<i2",
    "U16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "I64": "<i8",
    "U64": "<u8",
}


class ArrayPlace(NamedTuple):
    """Where an array is in a safetensors file: NumPy's name of its type, shape, first byte."""

    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


def array_places(file: BinaryIO) -> dict[str, ArrayPlace]:
    """Return what the header of a safetensors file says, where all of it is true.

    Args:
        file: The file, at its start; only its header is read.

    Returns:
        By name, in the order of the file. Together they take every byte behind the header, once.

    Raises:
        ValueError: It is no safetensors file, or its header says what is not so.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_LONGEST_HEADER, end - 8):
        raise ValueError(f"its header cannot have {length:,} bytes")
    header = parse_json(file.read(length))
    if not isinstance(header, dict) or len(header) > _MOST_ARRAYS:
        raise ValueError(f"its header is no object of at most {_MOST_ARRAYS:,} arrays")
    header.pop("__metadata__", None)
    start, places = 8 + length, {}
    for name, entry in sorted(header.items(), key=lambda pair: _offsets(*pair)):
        places[name], start = _place(name, entry, start, 8 + length)
    if start != end:
        raise ValueError(f"its arrays take {start:,} of its {end:,} bytes")
    return places


def _offsets(name: str, entry: Any) -> tuple[int, int]:
    found = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (isinstance(found, list) and len(found) == 2 and all(type(x) is int for x in found)):
        raise ValueError(f"{name[:80]!r} does not say where it is")
    return found[0], found[1]


def _place(name: str, entry: Any, start: int, base: int) -> tuple[ArrayPlace, int]:
    """Return the place of an array that must begin where the last one ended, and its own end."""
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise ValueError(f"{name[:80]!r} is of the unknown type {str(dtype)[:20]!r}")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise ValueError(f"{name[:80]!r} has no shape of at most {_MOST_AXES} axes")
    if not all(type(side) is int and 0 <= side < 2**40 for side in shape):
        raise ValueError(f"{name[:80]!r} has an impossible shape")
    place = ArrayPlace(_TYPES[dtype], tuple(shape), start)
    end = start + place.size * int(place.dtype[2:])
    if _offsets(name, entry) != (start - base, end - base):
        raise ValueError(f"{name[:80]!r} is not where its shape and the others leave it")
    return place, end


def arrays_of(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file, by name; they share its memory, read-only.

    Raises:
        ValueError: As ``array_places``.
    """
    import numpy as np

    return {
        name: np.frombuffer(data, place.dtype, place.size, place.start).reshape(place.shape)
        for name, place in array_places(io.BytesIO(data)).items()
    }
