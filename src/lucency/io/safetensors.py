"""Named arrays in safetensors files, whose header is validated before it is used."""

from __future__ import annotations

import io
import math
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from lucency.io.reading import parse_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """The place of an array in a safetensors file: NumPy dtype, shape, offset of the first byte."""

    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def array_places(file: BinaryIO) -> dict[str, ArrayPlace]:
    """Return the validated header of a safetensors file.

    Args:
        file: The file, at its start; only its header is read.

    Returns:
        By name, in the order of the file. Together they cover every byte after the header once.

    Raises:
        ValueError: It is not a safetensors file, or its header is not consistent.
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
    """Return the place of an array, which must start where the last one ended, and its end."""
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
    """Return the arrays of a safetensors file by name, as read-only views of its memory.

    Raises:
        ValueError: As ``array_places``.
    """
    import numpy as np

    return {
        name: np.frombuffer(data, place.dtype, place.size, place.start).reshape(place.shape)
        for name, place in array_places(io.BytesIO(data)).items()
    }
