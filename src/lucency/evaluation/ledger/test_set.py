"""Which images a test set is, whatever they are called and wherever they lie."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path

from lucency.dataset import Entry
from lucency.errors import RunError
from lucency.io import read_table, why

_COLUMNS = ("file", "class", "group", "split", "sha256")


def test_set_id(entries: Iterable[tuple[str, str]]) -> str:
    """Return what a test set is known by.

    Args:
        entries: The sha256 of the bytes and the class of each image, in any order.

    Returns:
        sha256 in hexadecimal; names, folders and order of the files make no difference.
    """
    rows = sorted([content.lower(), label] for content, label in entries)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


test_set_id.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def read_split(path: Path) -> tuple[Entry, ...]:
    """Return the images that a run's ``split.csv`` lists, in its order.

    Args:
        path: The file; what it says is not compared with any folder.

    Raises:
        RunError: It is missing, too large or not one that a run wrote.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_table(path), newline=""), strict=True)
        if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"it has no column {missing[0]}")
        rows = [[row[name] for name in _COLUMNS] for row in reader]
        if any(value is None for row in rows for value in row):
            raise ValueError("a line is not complete")
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a training run.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"{path} cannot be read as a split.csv ({why(error)}). "
            "Restore it from the training run."
        ) from error
    return tuple(Entry(file, label, split, group, sha) for file, label, group, split, sha in rows)
