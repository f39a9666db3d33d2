"""Several labels for each image: read them from a labels file, and order images by the rarest one.

A labels file has a column for each label (1 present, 0 absent, -1 uncertain, empty unknown), as
CheXpert has, or one column with all labels of an image, separated by ``|``, ``;`` or ``,``, as NIH
ChestX-ray14 and PadChest have. Such a list is complete: labels that it does not name are absent.

Splits and samples are made by the rarest label that an image has ("iterative stratification":
Sechidis et al. 2011, "On the Stratification of Multi-label Data"), so that rare labels are spread
evenly.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.config import Config
from lucency.dataset.entry import Entry, listed, natural
from lucency.dataset.table import Table
from lucency.dataset.walk import printable
from lucency.errors import ConfigError, DataError

PRESENT, ABSENT, UNCERTAIN, UNKNOWN = "1", "0", "~", "?"
NO_FINDING = "No finding"
OTHER = "Others"
MARKS = {"|", UNCERTAIN, UNKNOWN}  # that no name of a label has
_FEWEST = 10  # images that have a label
_LONGEST = 1000  # characters of a name, as in classifier.json
_SPLITS = {"train": "train", "val": "validation"}
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

    A column that says that there is no finding, and is never 1 beside others, is ignored: where it
    is 1, labels whose cells are empty are absent.

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
    none = [k for k in range(len(names)) if k not in kept]
    for row in states:
        if any(row[k] == PRESENT for k in none):
            row[:] = [ABSENT if state == UNKNOWN else state for state in row]
    what = f"{path.name}: {len(kept)} labels in columns ({listed([names[k] for k in kept])})."
    return _findings(names, kept, states, what)


def _findings(
    names: Sequence[str], kept: Sequence[int], states: Sequence[Sequence[str]], note: str
) -> Findings:
    return Findings(
        tuple(unicodedata.normalize("NFC", names[k]) for k in kept),
        tuple("".join(row[k] for k in kept) for row in states),
        note,
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
    every = sorted({name for row in lists for name in row}, key=natural)
    states = [[PRESENT if name in row else ABSENT for name in every] for row in lists]
    kept = [k for k, name in enumerate(every) if not _is_no_finding(name, k, states)]
    names = listed([every[k] for k in kept])
    what = f"{path.name}: {len(kept)} labels in the column {column!r} ({names})."
    return _findings(every, kept, states, what)


def checked(path: Path, found: Findings) -> Findings:
    """Reject labels that cannot be learned.

    Raises:
        DataError: There are fewer than two, a name occurs twice or cannot be one, or a label has
            one value only or too few images.
    """
    if len(found.names) < 2:
        raise DataError(
            f"{path}: expected two labels or more. Received: {', '.join(found.names) or 'none'}. "
            "For a single label, leave out --task multilabel."
        )
    check_names(path, found.names)
    for k, name in enumerate(found.names):
        counts = Counter(states[k] for states in found.states)
        fewest = min(counts[PRESENT], counts[ABSENT])
        if fewest < _FEWEST:
            what = "have" if counts[PRESENT] == fewest else "lack"
            raise DataError(
                f"{path}: only {fewest:,} images {what} the label {name!r}; at least {_FEWEST} are "
                "needed to learn it and to measure it. Remove the label, or add images."
            )
    return found


def check_config(config: Config) -> None:
    """Raise ``ConfigError`` where an option is for one class per image."""
    given = {
        "--recipe article": config.recipe != "default",
        "--positive": config.positive != "auto",
        "--prevalence": config.prevalence is not None,
        "--set shards": config.shards > 1,
        "--neighbours": config.neighbours > 0,
    }
    if wrong := [option for option, is_given in given.items() if is_given]:
        raise ConfigError(f"{wrong[0]} is for one class per image, and these have several labels.")


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise ``DataError`` where a name occurs twice or cannot be that of a label."""
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"{path}: the label {twice[0]!r} has several columns. Keep one of them.")
    for name in names:
        if MARKS & set(name) or not name.strip():
            raise DataError(
                f"{path}: a label must not be empty or have the signs {' '.join(sorted(MARKS))}. "
                f"Received: {name[:80]!r}. Rename it."
            )
        if len(name) > _LONGEST or printable(name) != name:
            raise DataError(
                f"{path}: the label {name[:80]!r} has control characters, bytes that are no text, "
                f"or more than {_LONGEST:,} characters. Rename it."
            )


def check_labels(entries: Sequence[Entry], names: Sequence[str], splits: Sequence[str]) -> None:
    """Raise ``DataError`` where a split has no image with a label, or none without it."""
    for split in splits:
        inside = [states_of(entry.states, names) for entry in entries if entry.split == split]
        columns = [*zip(*inside, strict=True)] or [()] * len(names)
        for name, states in zip(names, columns, strict=True):
            for state, word in ((PRESENT, "with"), (ABSENT, "without")):
                if state not in states:
                    raise DataError(
                        f"The {_SPLITS[split]} split has no image {word} the label {name!r}. Each "
                        "label needs images with and without it, of several patients, in each "
                        "split. Add images of more patients, or remove the label."
                    )


def absent_from_test(entries: Sequence[Entry], names: Sequence[str]) -> list[str]:
    """Return a warning where no test image has a label, or all have it."""
    tested = [states_of(entry.states, names) for entry in entries if entry.split == "test"]
    pairs = zip(names, zip(*tested, strict=True), strict=True) if tested else ()
    absent = [name for name, states in pairs if not {PRESENT, ABSENT} <= {*states}]
    if not absent:
        return []
    return [
        f"The test split lacks images with and without {listed(absent)}: figures that need both, "
        "and the means over the labels, are undefined there. Add such images to test."
    ]


def strata(found: Findings) -> list[str]:
    """Return the rarest label that each row has, ``No finding``, or ``Others`` for small strata.

    There are two strata at least: where nearly all rows would be in one, that is whether they have
    the label that is the nearest to half of them.
    """
    names = _rarest(found)
    sizes = Counter(names)
    small = {name for name, n in sizes.items() if n < _FEWEST_OF_STRATUM}
    rest = sorted(sizes.keys() - small, key=lambda name: (sizes[name], name))
    while small and rest and sum(sizes[name] for name in small) < _FEWEST_OF_STRATUM:
        small.add(rest.pop(0))
    if len(rest) + bool(small) > 1:
        return [OTHER if name in small else name for name in names]
    half = [
        abs(sum(s[k] == PRESENT for s in found.states) - len(names) / 2)
        for k in range(len(found.names))
    ]
    k = half.index(min(half))
    return [found.names[k] if states[k] == PRESENT else OTHER for states in found.states]


def _rarest(found: Findings) -> list[str]:
    """Return the rarest label that each row has, or ``No finding``."""
    present = np.array([[state == PRESENT for state in row] for row in found.states])
    order = np.argsort(present.sum(axis=0), kind="stable")  # the rarest first
    first = np.array([order[row[order].argmax()] if row.any() else -1 for row in present])
    return [NO_FINDING if k < 0 else found.names[k] for k in first]


def is_known(text: str, names: Sequence[str]) -> bool:
    """Tell whether any label of an image is known, or uncertain."""
    return set(states_of(text, names)) != {UNKNOWN}


def targets_of(texts: Sequence[str], names: Sequence[str], uncertain: str) -> NDArray[np.float32]:
    """Return what is learned for each image and label.

    Args:
        texts: The labels of n images, as ``listing`` writes them.
        names: Of the labels.
        uncertain: What uncertain labels become: ``ignore`` (unknown), ``positive``, ``negative`` or
            ``soft`` (0.5).

    Returns:
        (n, labels) float32: 1, 0, 0.5, or -1 for unknown.
    """
    doubt = {"ignore": -1.0, "positive": 1.0, "negative": 0.0, "soft": 0.5}[uncertain]
    values = {PRESENT: 1.0, ABSENT: 0.0, UNCERTAIN: doubt, UNKNOWN: -1.0}
    rows = [[values[state] for state in states_of(text, names)] for text in texts]
    return np.array(rows, np.float32).reshape(len(rows), len(names))


def listing(names: Sequence[str], states: Sequence[str]) -> str:
    """Return the labels of an image as a text: ``|a|~b|?c|``, without those that are absent.

    Args:
        names: Of the labels.
        states: As in ``Findings``.
    """
    signs = {PRESENT: "", UNCERTAIN: UNCERTAIN, UNKNOWN: UNKNOWN}
    pairs = zip(names, states, strict=True)
    return "|" + "".join(f"{signs[state]}{name}|" for name, state in pairs if state != ABSENT)


def states_of(text: str, names: Sequence[str]) -> str:
    """Return the states of labels, as in ``Findings``, from the text that ``listing`` makes.

    Raises:
        ValueError: It is none, or names an unknown label or one twice.
    """
    if not text.startswith("|") or not text.endswith("|"):
        raise ValueError(f"{text[:80]!r} is no list of labels")
    parts = [part for part in text.split("|") if part]
    signs = (UNCERTAIN, UNKNOWN)
    found = {part.lstrip("~?"): part[0] if part[0] in signs else PRESENT for part in parts}
    if len(found) < len(parts):
        raise ValueError(f"{text[:80]!r} names a label twice")
    if strange := found.keys() - set(names):
        raise ValueError(f"unknown label {min(strange)[:80]!r}")
    return "".join(found.get(name, ABSENT) for name in names)


def written(names: Sequence[str], row: Sequence[float]) -> str:
    """Return the labels of an image as a text: ``|a|b|?c|``, with ``?`` for unknown ones.

    Args:
        names: Of the labels.
        row: 1 or more for present, 0 for absent, below 0 for unknown.
    """
    states = [PRESENT if value > 0 else UNKNOWN if value < 0 else ABSENT for value in row]
    return listing(names, states)


def read_written(text: str, names: Sequence[str]) -> list[float]:
    """Return the values of labels from the text that ``written`` makes.

    Raises:
        ValueError: It is none, or names an unknown label.
    """
    values = {PRESENT: 1.0, ABSENT: 0.0, UNCERTAIN: -1.0, UNKNOWN: -1.0}
    return [values[state] for state in states_of(text, names)]


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
