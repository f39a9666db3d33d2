"""Read a CSV file that a spreadsheet or a program wrote: encoding, separator, line ends, header."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import NamedTuple

from lucency.errors import DataError
from lucency.io import LARGEST_TABLE, read_bytes, why

_MOST_CELLS = 10_000_000
_SEPARATORS = ",;\t"
# The mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Line(NamedTuple):
    """A row of a table: the number of its line in the file, and one cell per column."""

    number: int
    cells: list[str]


class Table(NamedTuple):
    """A table; every row has as many cells as the header."""

    header: list[str]
    lines: list[Line]


def read_table(path: Path, expected: str) -> Table:
    """Return the header and the rows of a CSV file; cells are stripped, empty rows left out.

    Columns are separated by commas, semicolons or tabs. The text is UTF-8, or UTF-16 or UTF-32
    with a byte order mark; lines end with LF, CR LF or CR.

    Args:
        path: The file.
        expected: A sentence on the header, to end error messages with.

    Raises:
        DataError: It cannot be read, is no CSV, or a row has more cells than the header.
    """
    text = _text(path, expected)
    if text[:4].lower() == "sep=":  # which Excel writes and reads
        text = text[4:].lstrip(_SEPARATORS).lstrip("\r\n")
    first = next(io.StringIO(text, newline=""), "")
    separator = max(_SEPARATORS, key=lambda mark: len(_cells(first, mark)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = [_tidy(name) for name in next(reader, [])]
        rows = [Line(reader.line_num, [*map(_tidy, cells)]) for cells in reader if any(cells)]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: this is not valid CSV ({error}). {expected}"
        ) from error
    return Table(header, [_fitted(path, line, len(header)) for line in rows if any(line.cells)])


def _text(path: Path, expected: str) -> str:
    try:
        data = read_bytes(path, LARGEST_TABLE, follow=True)
        text = _decoded(data)
        if sum(map(text.count, ",;\t\n\r")) > _MOST_CELLS:
            raise ValueError(f"it has more than {_MOST_CELLS:,} cells")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the labels file cannot be read ({why(error)}). {expected}"
        ) from error
    return text


def _decoded(data: bytes) -> str:
    """Return the text of a file; a ``ValueError`` says what the file is instead."""
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise ValueError("it is an Excel workbook or a zip file; save the sheet as CSV UTF-8")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    name = encoding.removesuffix("-sig").upper()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"it is not {name} text: byte 0x{data[error.start]:02x} in line {line}; save it as "
            "CSV UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError("it has NUL characters, so it is not UTF-8 text; save it as CSV UTF-8")
    return text


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _fitted(path: Path, line: Line, columns: int) -> Line:
    """Return a row with as many cells as the header; only empty ones are dropped."""
    if any(line.cells[columns:]):
        extra = next(cell for cell in line.cells[columns:] if cell)
        raise DataError(
            f"{path}, line {line.number}: the row has {len(line.cells)} cells and the header has "
            f"{columns}: {extra!r} has no column. Quote cells that contain the separator."
        )
    missing = columns - len(line.cells)
    return Line(line.number, [*line.cells[:columns], *[""] * missing])


def _tidy(cell: str) -> str:
    """Return a cell on one line, stripped of spaces and of byte order marks."""
    return " ".join(cell.splitlines()).strip().strip("\ufeff").strip()
