"""The record of one image, which every step from the scan to the split extends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SPLITS = ("train", "val", "test")
NUMBERS = "numbers"  # what all images have instead of one of several classes

SPELLINGS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tests"), "test"),
}


class Entry(NamedTuple):
    """One image; a step that adds information returns a copy.

    Attributes:
        file: Path below the root of the data set, with forward slashes.
        label: Class name.
        split: ``train``, ``val`` or ``test``; empty until it is decided.
        group: Images with the same group (one patient) stay in one split; empty while unknown.
        sha256: Of the bytes of the file, in hexadecimal; empty before decoding.
        row: Row in the pixel cache; -1 before decoding.
        fold: Value of the column that folds are made by; empty without one.
        states: The labels of an image that may have several, as ``multilabel.listing`` writes them;
            ``label`` is then a stratum that splits are made by. Else empty.
        value: The number that is to be predicted; ``label`` is then the bin that it lies in. Else
            ``None``.
        unit: Images with the same unit, such as a study, have one answer; empty where it is unknown
            or where each image or each patient has.
    """

    file: str
    label: str
    split: str = ""
    group: str = ""
    sha256: str = ""
    row: int = -1
    fold: str = ""
    states: str = ""
    value: float | None = None
    unit: str = ""

    @property
    def truth(self) -> str:
        """What the image shows: its class, its labels or its number as a text."""
        return self.states or self.label if self.value is None else repr(self.value)

    @property
    def shown(self) -> list[str]:
        """The class in a list, or the labels that are present; of numbers, one word for all."""
        if self.value is not None:
            return [NUMBERS]
        if not self.states:
            return [self.label]
        return [part for part in self.states.split("|") if part and part[0] not in "~?"]


def have_numbers(entries: Iterable[Entry]) -> bool:
    """Tell whether images have a number instead of one of several classes."""
    return any(entry.value is not None for entry in entries)


class Excluded(NamedTuple):
    """A file that is not used, and the reason."""

    file: str
    reason: str


class Ignored(NamedTuple):
    """A file or folder that is no image of the data set, or how many more of a kind there are.

    Attributes:
        file: Path below the root of the data set, or ``folder/*.txt`` for several.
        reason: Why it is ignored.
        files: How many.
    """

    file: str
    reason: str
    files: int = 1


class NotUsed(NamedTuple):
    """Images of a folder that are not used.

    Attributes:
        folder: Path below the root of the data set; ``.`` for the root.
        images: How many.
        reason: Why.
    """

    folder: str
    images: int
    reason: str


def natural(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Return a sort key in which ``2`` comes before ``10`` and case matters last."""
    pieces = re.split("([0-9]+)", name.casefold())
    numbered = [(int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)]
    return tuple(numbered), name


def counted(n: int, noun: str) -> str:
    """Return ``1 image`` or ``2,000 images``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def listed(names: list[str], limit: int = 3) -> str:
    """Return the first names on one line, and how many more there are."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit:,} more" if len(names) > limit else shown
