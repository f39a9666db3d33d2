"""The index of the pixel cache: facts of every file as columns, in a safetensors file.

A row takes 75 bytes, on disk and in memory. File names are not part of it: the key of the entry
depends on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from lucency.imaging.decoder.pool import Decoded
from lucency.imaging.depths import KNOWN
from lucency.imaging.dicom.header import KEY_BYTES
from lucency.imaging.notes import EVERY_NOTE
from lucency.io import arrays_of, parse_json, read_bytes

# 1 kept transient reasons, 2 had no DICOM, 3 no depth, 4 was JSON, 5 no studies, 6 no series.
FORMAT = 7
_LARGEST = 16 * 2**30  # bytes of an index, those of 220 million rows
_HASH_BYTES = 32
_COLUMNS: Mapping[str, tuple[Any, tuple[int, ...]]] = {  # type and shape of a row
    "sha256": (np.uint8, (_HASH_BYTES,)),
    "patients": (np.uint8, (KEY_BYTES,)),
    "studies": (np.uint8, (KEY_BYTES,)),
    "series": (np.uint8, (KEY_BYTES,)),
    "sizes": (np.int32, (2,)),
    "notes": (np.uint16, ()),
    "bits": (np.uint8, ()),
}


class Hexadecimal(Sequence[str]):
    """Rows of bytes as text in hexadecimal; empty where all bytes are zero, which is unknown."""

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        """Keep rows.

        Args:
            rows: (n, bytes).
        """
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> str | Self:
        if isinstance(row, slice):
            return type(self)(self._rows[row])
        found = self._rows[row].tobytes()
        return found.hex() if any(found) else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hexadecimal) and np.array_equal(self._rows, other._rows)

    __hash__ = None  # type: ignore[assignment]


class Index(NamedTuple):
    """What is known of the files of an entry.

    Attributes:
        shape: Height, width and channels of every row.
        depth: Bits of files of more than 8.
        sha256: (n, 32) uint8, of the bytes of each file; zeros where they could not be read.
        patients: (n, 16) uint8, hashed; zeros where unknown.
        studies: (n, 16) uint8, hashed; zeros where unknown.
        series: (n, 16) uint8 likewise.
        sizes: (n, 2) int32, height and width of the files; zeros where unknown.
        notes: (n,) uint16, flags of ``Note``.
        bits: (n,) uint8, what each file needs.
        reasons: Row -> why that file is no image.
    """

    shape: tuple[int, int, int]
    depth: int
    sha256: NDArray[np.uint8]
    patients: NDArray[np.uint8]
    studies: NDArray[np.uint8]
    series: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    notes: NDArray[np.uint16]
    bits: NDArray[np.uint8]
    reasons: dict[int, str]


def empty_index(n: int, shape: tuple[int, int, int], depth: int) -> Index:
    """Return an index of ``n`` rows to be filled by ``fill``."""
    columns = {name: np.zeros((n, *row), kind) for name, (kind, row) in _COLUMNS.items()}
    return Index(shape, depth, reasons={}, **columns)


def fill(index: Index, row: int, decoded: Decoded) -> None:
    """Write what is known of a decoded file into its row."""
    for column, text in (
        (index.sha256, decoded.sha256), (index.patients, decoded.patient),
        (index.studies, decoded.study), (index.series, decoded.series),
    ):  # fmt: skip
        if text:
            column[row] = np.frombuffer(bytes.fromhex(text), np.uint8)
    index.sizes[row] = decoded.size
    index.notes[row], index.bits[row] = int(decoded.notes), decoded.bits
    if decoded.reason:
        index.reasons[row] = decoded.reason


def packed(index: Index) -> bytes:
    """Return an index as the content of its file."""
    from safetensors.numpy import save

    texts = {text: code for code, text in enumerate(dict.fromkeys(index.reasons.values()))}
    codes = [texts[text] for text in index.reasons.values()]
    arrays: dict[str, NDArray[Any]] = {
        "facts": np.array([FORMAT, *index.shape, index.depth], np.int64),
        "failed": np.array([*index.reasons], np.int64),
        "reasons": np.array(codes, np.int64),
        "texts": np.frombuffer(json.dumps([*texts]).encode(), np.uint8),
    }
    return save(arrays | {name: getattr(index, name) for name in _COLUMNS})


def read_index(path: Path) -> Index:
    """Read and check an index.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    arrays = arrays_of(read_bytes(path, _LARGEST))
    if {*arrays} != {*_COLUMNS, "facts", "failed", "reasons", "texts"}:
        raise ValueError("its columns are others")
    n = len(arrays["notes"]) if arrays["notes"].ndim else -1
    for name, (kind, row) in _COLUMNS.items():
        if (arrays[name].dtype, arrays[name].shape) != (np.dtype(kind), (n, *row)):
            raise ValueError(f"its column {name} has another type or shape")
    format_, *shape, depth = _integers(arrays["facts"])
    if format_ != FORMAT or len(shape) != 3 or min(shape) < 1 or depth not in KNOWN:
        raise ValueError("it is of another format")
    known = np.isin(arrays["bits"], [0, *KNOWN]).all()
    if not known or np.any(arrays["notes"] & ~np.uint16(EVERY_NOTE)):
        raise ValueError("it has impossible notes or depths")
    columns = {name: arrays[name] for name in _COLUMNS}
    return Index((shape[0], shape[1], shape[2]), depth, reasons=_reasons(arrays, n), **columns)


def _reasons(arrays: Mapping[str, NDArray[Any]], n: int) -> dict[int, str]:
    rows, codes = _integers(arrays["failed"]), _integers(arrays["reasons"])
    texts = parse_json(arrays["texts"].tobytes())
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("its reasons are no texts")
    if not all(0 <= row < n for row in rows) or not all(0 <= code < len(texts) for code in codes):
        raise ValueError("its reasons are those of no row")
    return {row: texts[code] for row, code in zip(rows, codes, strict=True)}


def _integers(array: NDArray[Any]) -> list[int]:
    if array.dtype != np.int64 or array.ndim != 1:
        raise ValueError("a list of numbers has another type or shape")
    found: list[int] = array.tolist()
    return found
