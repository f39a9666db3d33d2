"""Attributes of images for subgroups: columns of a CSV, or words of the file names."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lucency.errors import DataError, nearest
from lucency.io import from_text, read_bytes
from lucency.metrics import IntArray

FILE_NAME = "file name"
UNKNOWN = "unknown"
_MOST_BYTES = 64 * 2**20
_MOST_VALUES = 12
_FEWEST = 20  # images of a subgroup from file names
_NUMBERED = 3  # a word followed by more distinct numbers is a counter (person1, person2, ...)
# Columns of labels files and of split.csv, which are no attributes.
_OTHER_COLUMNS = frozenset({"file", "label", "class", "group", "split", "sha256"})
_HEADER = "Expected a header line such as file,sex,age,machine."


def read_subgroups(
    path: Path, files: Sequence[str], *, follow: bool = True
) -> dict[str, list[str]]:
    """Read attributes of images from a CSV.

    Columns are separated by commas, semicolons or tabs; a byte order mark and backslashes are
    accepted. A row names a file by its path below the data folder, with or without leading
    folders, or by its bare name where that is unique. Rows of other files are ignored, so one
    table can serve several splits. Columns of a labels file (label, class, group, split, sha256)
    are no attributes.

    Args:
        path: CSV file, UTF-8, with a header, one column of which is ``file``; up to 64 MiB.
        files: n images, relative to the data folder.
        follow: Whether the table may be a symbolic link; not allowed in a run folder.

    Returns:
        Column -> the value of each of the n files; an empty cell is "unknown".

    Raises:
        DataError: The table cannot be read, lacks columns or files, lists a file twice with
            different values, or a column has more than 12 values.
    """
    header, lines = _read(path, follow)
    attributes = [name for name in header if name and name.lower() not in _OTHER_COLUMNS]
    if "file" not in (name.lower() for name in header) or not attributes:
        raise DataError(
            f"{path}: expected the column 'file' and at least one attribute. "
            f"{_HEADER} Received: {','.join(header) or 'an empty file'}.{nearest('file', header)}"
        )
    rows = _matched(path, lines, files, attributes)
    missing = [file for file in files if file not in rows]
    if missing:
        raise DataError(
            f"{path}: {len(missing):,} of {len(files):,} images have no row: "
            f"{_listed(missing)}. Add a row for each; leave unknown cells empty."
        )
    found = {name: [rows[file][i] for file in files] for i, name in enumerate(attributes)}
    for name, values in found.items():
        _check_values(path, name, values)
    return found


def _read(path: Path, follow: bool) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the header, and the line number and the cells of every line by column name."""
    try:
        text = read_bytes(path, _MOST_BYTES, follow=follow).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(f"{path}: the table cannot be read ({reason}). {_HEADER}") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    # A table in a run folder was written by us, with apostrophes before what looks like a formula.
    tidy = _tidy if follow else lambda cell: _tidy(from_text(cell))
    try:
        header = [*map(tidy, next(reader, []))]
        # "File" and "FILE" are accepted too.
        keys = ["file" if name.lower() == "file" else name for name in header]
        cells = [(reader.line_num, [*map(tidy, row)]) for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: this is not valid CSV ({error}). {_HEADER}"
        ) from error
    return header, [(number, dict(zip(keys, row, strict=False))) for number, row in cells]


def _tidy(cell: str) -> str:
    return " ".join(cell.split())


def _matched(
    path: Path,
    lines: Sequence[tuple[int, dict[str, str]]],
    files: Sequence[str],
    attributes: Sequence[str],
) -> dict[str, tuple[str, ...]]:
    """Return the values of each known file in the table."""
    by_name = defaultdict(list)
    for file in files:
        by_name[PurePosixPath(file).name].append(file)
    known, rows = frozenset(files), dict[str, tuple[str, ...]]()
    for number, line in lines:
        found = _found(f"{path}, line {number}", line.get("file", ""), known, by_name)
        if found is None:
            continue
        values = tuple(line.get(name, "") or UNKNOWN for name in attributes)
        if rows.setdefault(found, values) != values:
            raise DataError(
                f"{path}, line {number}: {found} is listed twice with different values "
                f"({', '.join(rows[found])} and {', '.join(values)}). Keep one line per file."
            )
    return rows


def _found(
    place: str, written: str, known: frozenset[str], by_name: Mapping[str, Sequence[str]]
) -> str | None:
    """Return the known file that a row names, or None for any other file."""
    steps = written.replace("\\", "/").removeprefix("./").split("/")
    for start in range(len(steps)):
        if (tail := "/".join(steps[start:])) in known:
            return tail
    candidates = by_name.get(steps[0], ()) if len(steps) == 1 else ()
    if len(candidates) > 1:
        raise DataError(
            f"{place}: {written} is the name of {len(candidates)} files in the data folder. "
            "Write the path relative to the folder, as in train/a.png."
        )
    return candidates[0] if candidates else None


def _check_values(path: Path, name: str, values: Sequence[str]) -> None:
    if (distinct := len(set(values))) > _MOST_VALUES:
        raise DataError(
            f"{path}: the column {name!r} has {distinct:,} different values; expected at most "
            f"{_MOST_VALUES}. Group them into ranges such as 0-4, 5-9, 10-14, or remove the column."
        )


def _listed(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")


def from_names(files: Sequence[str], labels: Sequence[Any] | IntArray) -> dict[str, list[str]]:
    """Derive an attribute from words in file names, such as bacteria and virus.

    A word counts if at least 20 images have it and some images of their classes do not: a word
    that all images of a class share adds nothing to the class. A number after a word belongs to
    it (NORMAL2) unless many numbers follow that word (person1, person2, ...).

    Args:
        files: n paths; only the file names are used.
        labels: (n,) their classes.

    Returns:
        "file name" -> the value of each file: its words that count, or else all its words; ""
        for values of fewer than 20 images. Empty where the names divide no class or give more
        than 12 values.
    """
    words = _words(files)
    classes = [str(label) for label in labels]
    held: dict[str, Counter[str]] = defaultdict(Counter)
    for name, label in zip(words, classes, strict=True):
        for word in name:
            held[word][label] += 1
    sizes = Counter(classes)
    informative = {
        word
        for word, times in held.items()
        if times.total() >= _FEWEST and any(times[label] < sizes[label] for label in times)
    }
    values = ["-".join([word for word in name if word in informative] or name) for name in words]
    counts = Counter(values)
    values = [value if counts[value] >= _FEWEST else "" for value in values]
    class_metrics = defaultdict(set)
    for value, label in zip(values, classes, strict=True):
        class_metrics[label].add(value)
    divides = any(len(found - {""}) > 1 for found in class_metrics.values())
    return {FILE_NAME: values} if divides and len(set(values)) <= _MOST_VALUES else {}


def _words(files: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the distinct words of each file name, in order."""
    stems = [PurePosixPath(file).stem for file in files]
    found = [re.findall(r"([A-Za-z]{2,})(\d*)", stem) for stem in stems]
    numbers: dict[str, set[str]] = defaultdict(set)
    for pairs in found:
        for word, number in pairs:
            numbers[word].add(number)
    counting = {word for word, seen in numbers.items() if len(seen) > _NUMBERED}
    return [
        tuple(dict.fromkeys(word + ("" if word in counting else digits) for word, digits in pairs))
        for pairs in found
    ]
