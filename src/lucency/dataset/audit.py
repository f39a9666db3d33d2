"""The audit: what was found, what is used, what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.dataset.cache import PixelStore
from lucency.dataset.duplicates import Match, identical_pairs
from lucency.dataset.entry import SPLITS, Excluded, counted
from lucency.dataset.leaks import Leaks
from lucency.dataset.partition import Division
from lucency.dataset.remarks import remarks

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is in a data set; ``found == used + len(excluded)``.

    Attributes:
        found: Images in the folder.
        used: Images in a part.
        excluded: Images that are not used, with the reason.
        ignored: Files and folders that are no images of the data set, with the reason.
        counts: Images per part and class.
        group_source: How the patients are known: ``kermany``, ``nih``, ``chexpert``, ``mimic``,
            ``patient``, ``dicom``, ``regex``, ``csv``, ``split file`` or ``none``.
        groups: Patients per part.
        duplicates: Pairs of identical files that are both used.
        leaks: What of the test part was found in train and validation, and what became of it.
        near_duplicates: Pairs inside one part that show nearly the same; they stay there.
        colour: Whether images are decoded in colour.
        sizes: Least, median and greatest (height, width) of the files, each side by itself.
        warnings: Sentences that ask for action.
        notes: Sentences worth knowing.
    """

    found: int
    used: int
    excluded: tuple[Excluded, ...]
    ignored: tuple[Excluded, ...]
    counts: dict[str, dict[str, int]]
    group_source: str
    groups: dict[str, int]
    duplicates: tuple[tuple[str, str], ...]
    leaks: Leaks
    near_duplicates: tuple[Match, ...]
    colour: bool
    sizes: dict[str, Size]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``audit.json``."""
        return {
            "format": 1,
            "found": self.found,
            "used": self.used,
            "excluded": [each._asdict() for each in self.excluded],
            "ignored": [each._asdict() for each in self.ignored],
            "counts": self.counts,
            "groups": {"source": self.group_source, "counts": self.groups},
            "duplicates": [list(pair) for pair in self.duplicates],
            "leaks": self.leaks.to_json(),
            "near_duplicates": [pair.to_json() for pair in self.near_duplicates],
            "colour": self.colour,
            "sizes": {name: list(size) for name, size in self.sizes.items()},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def take_stock(
    division: Division,
    *,
    classes: Sequence[str],
    unreadable: Sequence[Excluded],
    ignored: Sequence[Excluded],
    colour: bool,
    store: PixelStore,
) -> Audit:
    """Write down what a data set holds.

    Args:
        division: The readable images, divided.
        classes: All class names, in the order of the tables.
        unreadable: Found images that cannot be used.
        ignored: Files that are no images of the data set.
        colour: Whether images are decoded in colour.
        store: Has the sizes of the files, and what DICOM files say of themselves.
    """
    used = division.used
    warned, noted = remarks(used, store.notes)
    images = Counter((entry.split, entry.label) for entry in used)
    groups = Counter(split for split, _ in {(entry.split, entry.group) for entry in used})
    same = identical_pairs(used)
    copies = (
        f"Exact copies of other images with the same class: {counted(len(same), 'image')}. "
        "They stay, and copies of each other are always in the same part."
    )
    near = (
        f"Nearly the same image in one part: {counted(len(division.near), 'pair')} (resized, "
        "saved again, mirrored or cropped). They stay, and count as one patient."
    )
    aside = f"Set aside as unreadable: {counted(len(unreadable), 'image')}."
    return Audit(
        found=len(unreadable) + len(division.entries),
        used=len(used),
        excluded=(*unreadable, *division.excluded),
        ignored=tuple(ignored),
        counts={p: {c: images[p, c] for c in classes} for p in SPLITS if groups[p]},
        group_source=division.group_source,
        groups={split: groups[split] for split in SPLITS if groups[split]},
        duplicates=same,
        leaks=division.leaks,
        near_duplicates=division.near,
        colour=colour,
        sizes=_spread(store.sizes[[entry.row for entry in used]]),
        warnings=(*division.warnings, *warned, *([aside] if unreadable else [])),
        notes=(
            *division.notes,
            *noted,
            *([copies] if same else []),
            *([near] if division.near else []),
        ),
    )


def _spread(sizes: NDArray[np.integer[Any]]) -> dict[str, Size]:
    def pair(values: NDArray[Any]) -> Size:
        return int(values[0]), int(values[1])

    return {
        "min": pair(sizes.min(axis=0)),
        "median": pair(np.median(sizes, axis=0)),
        "max": pair(sizes.max(axis=0)),
    }
