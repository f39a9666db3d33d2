"""``split.csv``: which image is in which split; a later run can be given the same file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lucency.dataset.entry import SPLITS, Entry, listed, natural
from lucency.errors import DataError, RunError
from lucency.io import why
from lucency.run_folder.files import SPLIT

# Readable images that are in no split (copies of test images, for example) are listed too: without
# them the file would not match its folder when a later run is given it.
EXCLUDED = "excluded"


def write_entries(entries: Iterable[Entry], path: Path) -> None:
    """Write entries with their splits as CSV, sorted by file."""
    ordered = sorted(entries, key=lambda entry: natural(entry.file))
    SPLIT.write(path, ((x.file, x.truth, x.group, x.split, x.sha256) for x in ordered))


def read_split(path: Path) -> tuple[Entry, ...]:
    """Return the images in the ``split.csv`` of a run, in the order of the file.

    Args:
        path: The file; it is not compared with any folder.

    Raises:
        RunError: It is missing, too large or not one that a run wrote.
    """
    try:
        return tuple(map(_entry, SPLIT.rows(path)))
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a training run.") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read as a split.csv ({why(error)}). "
            "Restore it from the training run."
        ) from error


def apply_split(path: Path, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries with the splits and groups of a split file.

    Args:
        path: A ``split.csv`` as ``write_entries`` writes it.
        entries: All readable images of the folder, with their sha256.

    Raises:
        DataError: The file cannot be read, or does not list exactly these images with these
            classes and bytes.
    """
    wanted = _read(path)
    found = {entry.file: entry for entry in entries}
    _reject(path, "are not in the folder or cannot be read", sorted(wanted.keys() - found.keys()))
    _reject(path, "of the folder are not in the split file", sorted(found.keys() - wanted.keys()))
    changed = [file for file, entry in found.items() if entry.sha256 != wanted[file].sha256]
    _reject(path, "have changed since the split was made", changed)
    other = [file for file, entry in found.items() if entry.truth != wanted[file].label]
    _reject(path, "have another class in the folder (or give the same --labels as then)", other)
    return tuple(
        entry._replace(split=wanted[entry.file].split, group=wanted[entry.file].group)
        for entry in entries
    )


def _reject(path: Path, what: str, files: list[str]) -> None:
    if files:
        raise DataError(
            f"{path}: the split file does not match the folder: {len(files):,} images {what}: "
            f"{listed(files)}. Expected the images it was made from. Restore them, or omit "
            "--split-file to split the images again."
        )


def _read(path: Path) -> dict[str, Entry]:
    try:  # a user named the file: a link is meant
        entries = [_entry(row) for row in SPLIT.rows(path, follow=True)]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: the split file cannot be read ({why(error)}). Expected the split.csv of a "
            f"run, with the columns {','.join(SPLIT.columns)}."
        ) from error
    times = Counter(entry.file for entry in entries)
    _reject(path, "are listed more than once", [file for file, n in times.items() if n > 1])
    return {entry.file: entry for entry in entries}


def _entry(row: dict[str, str]) -> Entry:
    if row["split"] not in (*SPLITS, EXCLUDED):
        raise ValueError(
            f"the split of {row['file']!r} is {row['split']!r}; expected train, val, test or "
            "excluded"
        )
    return Entry(row["file"], row["class"], row["split"], row["group"], row["sha256"])
