"""Read a labels file: a CSV with the class and optionally the patient and split of each file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lucency.dataset.entry import SPELLINGS, listed
from lucency.errors import DataError, nearest

_HEADER = "Expected a header line such as file,label or file,label,group,split."


class Row(NamedTuple):
    """The row of one image; ``group`` and ``split`` may be empty."""

    label: str
    group: str
    split: str


def read_labels(path: Path, *, files: Sequence[str], prefix: str) -> dict[str, Row]:
    """Return the row of every file in the labels file.

    Columns are separated by commas, semicolons or tabs; a byte order mark and backslashes are
    accepted.

    Args:
        path: CSV file, UTF-8, with a header.
        files: Known images, relative to the root of the data set. A row may name a file by this
            path, by this path after ``prefix``, or by its bare name where that is unique.
        prefix: Path from the user's folder to the root: empty, or ending in a slash.

    Raises:
        DataError: The file cannot be read, lacks a column, names files that do not exist or
            contains contradictory rows.
    """
    lines = _read(path)
    find = _finder(path, files, prefix)
    rows: dict[str, Row] = {}
    missing: list[str] = []
    for number, line in lines:
        row = _row(path, number, line)
        file = find(line["file"])
        if file is None:
            missing.append(line["file"])
        elif rows.setdefault(file, row) != row:
            raise DataError(
                f"{path}, line {number}: {file} was already listed with other values "
                f"({rows[file].label!r}, now {row.label!r}). Keep one line per file."
            )
    if missing:
        raise DataError(
            f"{path}: {len(missing):,} listed files are not in the data folder: {listed(missing)}. "
            "Write paths relative to the folder, or file names; remove lines without an image."
        )
    return rows


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the line number and the cells of every row, by column name in lower case."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(f"{path}: the labels file cannot be read ({reason}). {_HEADER}") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(path, header)
        return [
            (reader.line_num, dict(zip(header, map(_tidy, cells), strict=False)))
            for cells in reader
            if any(cells)
        ]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: this is not valid CSV ({error}). {_HEADER}"
        ) from error


def _tidy(cell: str) -> str:
    """Return a cell on one line, stripped of spaces."""
    return " ".join(cell.splitlines()).strip()


def _check_header(path: Path, header: list[str]) -> None:
    for name in ("file", "label"):
        if name not in header:
            raise DataError(
                f"{path}: the column {name!r} is missing. {_HEADER} "
                f"Received: {','.join(header) or 'an empty file'}.{nearest(name, header)}"
            )


def _row(path: Path, number: int, line: dict[str, str]) -> Row:
    label, split = line.get("label", ""), line.get("split", "")
    if not (line["file"] and label):
        raise DataError(
            f"{path}, line {number}: the file or the label is empty. "
            "Fill in both, or remove the line."
        )
    if split and split.lower() not in SPELLINGS:
        raise DataError(
            f"{path}, line {number}: expected train, val or test in the column split. "
            f"Received: {split!r}.{nearest(split, SPELLINGS)}"
        )
    return Row(label, line.get("group", ""), SPELLINGS[split.lower()] if split else "")


def _finder(path: Path, files: Sequence[str], prefix: str) -> Callable[[str], str | None]:
    """Return a function from a name in the labels file to the known file, or ``None``."""
    known = set(files)
    times = Counter(file.rpartition("/")[2] for file in files)
    by_name = {file.rpartition("/")[2]: file for file in files}

    def find(written: str) -> str | None:
        name = written.replace("\\", "/").removeprefix("./")
        for candidate in (name, name.removeprefix(prefix)):
            if candidate in known:
                return candidate
        if times[name] > 1:
            raise DataError(
                f"{path}: {written} is the name of {times[name]} files in the data folder. "
                "Write the path relative to the folder, as in train/a.png."
            )
        return by_name.get(name)

    return find
