"""``split.csv``: which image is in which part, to be read by people and given back."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lucency.dataset.entry import SPLITS, Entry, listed, natural
from lucency.errors import DataError
from lucency.io import read_table, why, write_text

# Readable images that are in no part (copies of test images, for example) are listed too:
# without them the file would not match its folder when it is given back.
EXCLUDED = "excluded"
_COLUMNS = ("file", "class", "group", "split", "sha256")


def write_entries(entries: Iterable[Entry], path: Path) -> None:
    """Write entries with their parts as CSV (file, class, group, split, sha256), sorted by file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in sorted(entries, key=lambda entry: natural(entry.file)):
        writer.writerow((entry.file, entry.label, entry.group, entry.split, entry.sha256))
    write_text(path, text.getvalue())


def apply_split(path: Path, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries with the parts and groups of a split file.

    Args:
        path: A ``split.csv`` as ``write_entries`` writes it.
        entries: All readable images of the folder, with their sha256.

    Raises:
        DataError: The file cannot be read, or does not name exactly these images with these
            classes and bytes.
    """
    wanted = _read(path)
    found = {entry.file: entry for entry in entries}
    _refuse(path, "are not in the folder or cannot be read", sorted(wanted.keys() - found.keys()))
    _refuse(path, "of the folder are not in the split file", sorted(found.keys() - wanted.keys()))
    changed = [file for file, entry in found.items() if entry.sha256 != wanted[file].sha256]
    _refuse(path, "have changed since the split was made", changed)
    other = [file for file, entry in found.items() if entry.label != wanted[file].label]
    _refuse(path, "have another class in the folder (or give the same --labels as then)", other)
    return tuple(
        entry._replace(split=wanted[entry.file].split, group=wanted[entry.file].group)
        for entry in entries
    )


def _refuse(path: Path, what: str, files: list[str]) -> None:
    if files:
        raise DataError(
            f"{path}: the split file does not match the folder: {len(files):,} images {what}: "
            f"{listed(files)}. Expected the images it was made from. Restore them, or leave out "
            "--split-file to divide anew."
        )


def _read(path: Path) -> dict[str, Entry]:
    try:
        text = read_table(path, follow=True)  # the user named it: a link is meant
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
            raise DataError(
                f"{path}: the column {missing[0]!r} is missing. Expected a split.csv with "
                f"the columns {','.join(_COLUMNS)}."
            )
        entries = [_entry(path, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path}: the split file cannot be read ({why(error)}). Give the split.csv of a run."
        ) from error
    times = Counter(entry.file for entry in entries)
    _refuse(path, "are listed more than once", [file for file, n in times.items() if n > 1])
    return {entry.file: entry for entry in entries}


def _entry(path: Path, row: dict[str, str]) -> Entry:
    if None in row.values() or row["split"] not in (*SPLITS, EXCLUDED):
        raise DataError(
            f"{path}: the line of {row['file']!r} is not complete. Expected "
            f"{','.join(_COLUMNS)} with the split train, val, test or excluded. "
            f"Received the split {row['split']!r}."
        )
    return Entry(row["file"], row["class"], row["split"], row["group"], row["sha256"])
