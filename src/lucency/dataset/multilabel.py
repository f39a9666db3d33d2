"""Several labels for each image: read them from a labels file, and order images by the rarest one.

A labels file has a column for each label (1 present, 0 absent, -1 uncertain, empty unknown), as
CheXpert has, or one column with all labels of an image, separated by ``|``, ``;`` or ``,``, as NIH
ChestX-ray14 and PadChest have. Such a list is complete: labels that it does not name are absent.

Splits and samples are made by the rarest label that an image has ("iterative stratification":
Sechidis et al. 2011, "On the Stratification of Multi-label Data"), so that rare labels are spread
evenly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.dataset.entry import listed, natural
from lucency.dataset.table import Table
from lucency.errors import DataError

PRESENT, ABSENT, UNCERTAIN, UNKNOWN = "1", "0", "~", "?"
NO_FINDING = "No finding"
OTHER = "Others"
MARKS = {"|", UNCERTAIN, UNKNOWN}  # that no name of a label has
_FEWEST = 10  # images that have a label
_FEWEST_OF_STRATUM = 20
STATES: Mapping[str, str] = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), PRESENT),
    **dict.fromkeys(("0", "0.0", "false", "no"), ABSENT),
    **dict.fromkeys(("-1", "-1.0", "u"), UNCERTAIN),
    **dict.fromkeys(("", "nan", "na", "n/a", "null", "<na>"), UNKNOWN),
}
_NO_FINDINGS = ("nofinding", "nofindings", "normal", "none")


class Findings(NamedTuple):
    """The labels of the rows of a labels file.

    Attributes:
        names: Of the labels.
        states: For each row a text with the state of each label: 1, 0, ~ (uncertain), ? (unknown).
        note: What was recognised.
    """

    names: tuple[str, ...]
    states: tuple[str, ...]
    note: str


def from_columns(path: Path, table: Table, columns: Sequence[int]) -> Findings:
    """Read a column for each label.

    A column that says that there is no finding, and is never 1 beside others, is left out.

    Raises:
        DataError: A cell is none of 1, 0, -1 and empty.
    """
    for line in table.lines:
        for at in columns:
            if line.cells[at].lower() not in STATES:
                raise DataError(
                    f"{path}, line {line.number}: expected 1, 0, -1 (uncertain) or an empty cell "
                    f"in the column {table.header[at]!r}. Received: {line.cells[at][:40]!r}"
                )
    states = [[STATES[line.cells[at].lower()] for at in columns] for line in table.lines]
    names = [table.header[at] for at in columns]
    kept = [k for k, name in enumerate(names) if not _is_no_finding(name, k, states)]
    what = f"{path.name}: {len(kept)} labels in columns ({listed([names[k] for k in kept])})."
    return Findings(
        tuple(names[k] for k in kept), tuple("".join(row[k] for k in kept) for row in states), what
    )


def _is_no_finding(name: str, k: int, states: Sequence[Sequence[str]]) -> bool:
    """Tell whether a label says that there is no other, by its name and in every row."""
    if _plain(name) not in _NO_FINDINGS:
        return False
    return all(row.count(PRESENT) == 1 for row in states if row[k] == PRESENT)


def from_lists(path: Path, lists: Sequence[Sequence[str]], column: str) -> Findings:
    """Read one column with the names of all labels of an image.

    Args:
        path: The labels file.
        lists: The names of each row.
        column: Its name.
    """
    every = sorted({name for row in lists for name in row if name}, key=natural)
    states = [[PRESENT if name in row else ABSENT for name in every] for row in lists]
    kept = [k for k, name in enumerate(every) if not _is_no_finding(name, k, states)]
    names = tuple(every[k] for k in kept)
    what = f"{path.name}: {len(names)} labels in the column {column!r} ({listed([*names])})."
    return Findings(names, tuple("".join(row[k] for k in kept) for row in states), what)


def checked(path: Path, found: Findings) -> Findings:
    """Reject labels that cannot be learned.

    Raises:
        DataError: There are fewer than two, a name has a sign that lists are written with, or a
            label has one value only or too few images.
    """
    if len(found.names) < 2:
        raise DataError(
            f"{path}: expected two labels or more. Received: {', '.join(found.names) or 'none'}. "
            "For a single label, leave out --task multilabel."
        )
    for k, name in enumerate(found.names):
        if MARKS & set(name) or not name.strip():
            raise DataError(
                f"{path}: a label must not be empty or have the signs {' '.join(sorted(MARKS))}. "
                f"Received: {name!r}. Rename it."
            )
        counts = Counter(states[k] for states in found.states)
        fewest = min(counts[PRESENT], counts[ABSENT])
        if fewest < _FEWEST:
            what = "have" if counts[PRESENT] == fewest else "lack"
            raise DataError(
                f"{path}: only {fewest:,} images {what} the label {name!r}; at least {_FEWEST} are "
                "needed to learn it and to measure it. Remove the label, or add images."
            )
    return found


def strata(found: Findings) -> list[str]:
    """Return the rarest label that each row has, ``No finding``, or ``Others`` for small strata."""
    present = np.array([[state == PRESENT for state in row] for row in found.states])
    order = np.argsort(present.sum(axis=0), kind="stable")  # the rarest first
    first = np.array([order[row[order].argmax()] if row.any() else -1 for row in present])
    names = [NO_FINDING if k < 0 else found.names[k] for k in first]
    sizes = Counter(names)
    return [name if sizes[name] >= _FEWEST_OF_STRATUM else OTHER for name in names]


def targets_of(states: Sequence[str], uncertain: str) -> NDArray[np.float32]:
    """Return what is learned for each image and label.

    Args:
        states: As in ``Findings``, n of them.
        uncertain: What uncertain labels become: ``ignore`` (unknown), ``positive``, ``negative`` or
            ``soft`` (0.5).

    Returns:
        (n, labels) float32: 1, 0, 0.5, or -1 for unknown.
    """
    doubt = {"ignore": -1.0, "positive": 1.0, "negative": 0.0, "soft": 0.5}[uncertain]
    values = {PRESENT: 1.0, ABSENT: 0.0, UNCERTAIN: doubt, UNKNOWN: -1.0}
    return np.array([[values[state] for state in row] for row in states], np.float32)


def written(names: Sequence[str], row: Sequence[float]) -> str:
    """Return the labels of an image as a text: ``|a|b|?c|``, with ``?`` for unknown ones.

    Args:
        names: Of the labels.
        row: 1 or more for present, 0 for absent, below 0 for unknown.
    """
    parts = [
        (UNKNOWN if value < 0 else "") + name
        for name, value in zip(names, row, strict=True)
        if value
    ]
    return "|" + "".join(f"{part}|" for part in parts)


def read_written(text: str, names: Sequence[str]) -> list[float]:
    """Return the values of labels from the text that ``written`` makes.

    Raises:
        ValueError: It is none, or names an unknown label.
    """
    if not text.startswith("|") or not text.endswith("|"):
        raise ValueError(f"{text[:80]!r} is no list of labels")
    parts = [part for part in text.split("|") if part]
    known = {name: 1.0 for name in parts if not name.startswith(UNKNOWN)}
    known |= {name[1:]: -1.0 for name in parts if name.startswith(UNKNOWN)}
    if strange := known.keys() - set(names):
        raise ValueError(f"unknown label {min(strange)[:80]!r}")
    return [known.get(name, 0.0) for name in names]


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
