"""The audit: what was found, what is used, what was excluded and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.dataset.cache import PixelCache
from lucency.dataset.duplicates import Match, identical_pairs
from lucency.dataset.entry import SPLITS, Entry, Excluded, Ignored, NotUsed, counted, listed
from lucency.dataset.groups import Groups
from lucency.dataset.leaks import Leaks
from lucency.dataset.multilabel import targets_of
from lucency.dataset.partition import Partition, used_entries
from lucency.dataset.scan import Scan
from lucency.imaging.notes import Note
from lucency.run_folder.files import FORMAT

Size = tuple[int, int]

_DICOM_WARNINGS: Mapping[Note, str] = {
    Note.BURNED_IN: (
        "declare text that is burned into the pixels. A network may learn from it, and it may name "
        "patients: check them, and cover or remove the text."
    ),
    Note.FOR_PROCESSING: (
        "are for processing: raw detector values, from which the vendor's software makes a "
        "radiograph. Use the versions for presentation."
    ),
    Note.LATERAL: (
        "are lateral views. If one class has more of them, the network learns the view: remove "
        "them, or provide them for all classes."
    ),
    Note.SECONDARY_CAPTURE: (
        "are secondary captures, whose grey levels were chosen by some program. If the classes "
        "come from different programs, the network learns the program."
    ),
}
_DICOM_NOTES: Mapping[Note, str] = {
    Note.SEVERAL_WINDOWS: "have several windows: the first is applied.",
    Note.NO_WINDOW: "have no window: their contrast is stretched, with 0.5 % of the pixels clipped "
    "at either end.",
    Note.OVERLAY: "have overlays, which are ignored.",
    Note.MIDDLE_FRAME: "have several frames: the middle one is used.",
}
_IMAGE_NOTES: Mapping[Note, str] = {
    Note.FIRST_FRAME: "are animations: the first frame is used.",
    Note.FIRST_PAGE: "have several pages: page 1 is used.",
    Note.CLIPPED: "have values above the depth of the data set, which are clipped to white.",
}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is in a data set.

    ``found == used + len(excluded) + sum(each.images for each in not_used)``, always.

    Attributes:
        found: Images in the folder.
        used: Images in a split.
        excluded: Images of the splits that cannot or must not be used, with the reason.
        not_used: Images that belong to no split or class, by folder, with the reason.
        ignored: Files and folders that are no images of the data set, with the reason.
        counts: Images per split and class.
        group_source: How patients were identified: ``kermany``, ``nih``, ``chexpert``, ``mimic``,
            ``patient``, ``dicom``, ``regex``, ``csv``, ``split file`` or ``none``.
        groups: Patients per split.
        duplicates: Pairs of identical files that are both used.
        leaks: What of the test split was found in train and validation, and what was done about it.
        near_duplicates: Near duplicates within one split; they stay there.
        colour: Whether images are decoded in colour.
        sizes: Minimum, median and maximum (height, width) of the files, each side by itself.
        warnings: Sentences that ask for action.
        notes: Sentences for information.
        labels: Where an image may have several, images per split and label that have it, and images
            where it is known; the classes of ``counts`` are then strata. Else ``None``.
    """

    found: int
    used: int
    excluded: tuple[Excluded, ...]
    not_used: tuple[NotUsed, ...]
    ignored: tuple[Ignored, ...]
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
    labels: dict[str, dict[str, tuple[int, int]]] | None = None

    @property
    def balance(self) -> str:
        """One sentence that accounts for every image that was found."""
        excluded, not_used = len(self.excluded), sum(each.images for each in self.not_used)
        return (
            f"{counted(self.found, 'image')} found: {self.used:,} used, {excluded:,} excluded, "
            f"{not_used:,} not used."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``audit.json``."""
        return {
            "format": FORMAT,
            "found": self.found,
            "used": self.used,
            "excluded": [each._asdict() for each in self.excluded],
            "not_used": [each._asdict() for each in self.not_used],
            "ignored": [each._asdict() for each in self.ignored],
            "counts": self.counts,
            **({"labels": self.labels} if self.labels else {}),
            "groups": {"source": self.group_source, "counts": self.groups},
            "duplicates": [list(pair) for pair in self.duplicates],
            "leaks": self.leaks.to_json(),
            "near_duplicates": [pair.to_json() for pair in self.near_duplicates],
            "colour": self.colour,
            "sizes": {name: list(size) for name, size in self.sizes.items()},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def make_audit(
    found: Scan,
    unreadable: Sequence[Excluded],
    groups: Groups,
    partition: Partition,
    cache: PixelCache,
) -> Audit:
    """Describe what a data set contains.

    Args:
        found: The scan of the folder.
        unreadable: Found images that cannot be used.
        groups: How patients were identified.
        partition: The readable images with their splits.
        cache: Has the sizes of the files and the notes on them.
    """
    used = used_entries(partition.entries)
    images = Counter((entry.split, entry.label) for entry in used)
    patients = Counter(split for split, _ in {(entry.split, entry.group) for entry in used})
    identical = identical_pairs(used)
    rows = np.fromiter((entry.row for entry in used), np.int64, len(used))
    notes = cache.notes[rows]
    return Audit(
        found=len(unreadable)
        + len(partition.entries)
        + sum(each.images for each in found.not_used),
        used=len(used),
        excluded=(*unreadable, *partition.excluded),
        not_used=found.not_used,
        ignored=found.ignored,
        counts={s: {c: images[s, c] for c in found.classes} for s in SPLITS if patients[s]},
        group_source=groups.source,
        groups={split: patients[split] for split in SPLITS if patients[split]},
        duplicates=identical,
        leaks=partition.leaks,
        near_duplicates=partition.near,
        colour=cache.shape[2] == 3,
        sizes=_size_range(cache.sizes[rows]),
        warnings=(
            *found.warnings,
            *groups.warnings,
            *partition.warnings,
            *_sentences(used, notes, "DICOM image", _DICOM_WARNINGS),
            *_unreadable_sentences(len(unreadable)),
        ),
        notes=(
            *found.notes,
            *partition.notes,
            *_sentences(used, notes, "DICOM image", _DICOM_NOTES),
            *_sentences(used, notes, "image", _IMAGE_NOTES),
            *_duplicate_sentences(len(identical), len(partition.near)),
        ),
        labels=_of_labels(used, found.labels) if found.labels else None,
    )


def _of_labels(
    entries: Sequence[Entry], names: Sequence[str]
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return per split and label how many images have it, and for how many it is known."""
    found = {}
    for split in SPLITS:
        texts = [entry.states for entry in entries if entry.split == split]
        targets = targets_of(texts, names, "ignore")
        pairs = zip((targets > 0).sum(axis=0), (targets >= 0).sum(axis=0), strict=True)
        if texts:
            found[split] = {
                name: (int(n), int(known)) for name, (n, known) in zip(names, pairs, strict=True)
            }
    return found


def _sentences(
    entries: Sequence[Entry],
    notes: NDArray[np.uint16],
    noun: str,
    sentences: Mapping[Note, str],
) -> list[str]:
    """Return a sentence for each note that applies to some of the images."""
    found = []
    for note, sentence in sentences.items():
        if len(places := np.flatnonzero(notes & note)):
            files = [entries[i].file for i in places.tolist()]
            found.append(f"{counted(len(files), noun)} ({listed(files)}) {sentence}")
    return found


def _unreadable_sentences(n: int) -> list[str]:
    return [f"Excluded as unreadable: {counted(n, 'image')}."] if n else []


def _duplicate_sentences(identical: int, near: int) -> list[str]:
    sentences = []
    if identical:
        sentences.append(
            f"Exact copies of other images of the same class: {counted(identical, 'image')}. "
            "They are kept, and copies of each other are always in the same split."
        )
    if near:
        sentences.append(
            f"Near-duplicate images in one split: {counted(near, 'pair')} (resized, re-encoded, "
            "mirrored or cropped). They are kept, and count as one patient."
        )
    return sentences


def _size_range(sizes: NDArray[np.integer[Any]]) -> dict[str, Size]:
    def pair(values: NDArray[Any]) -> Size:
        return int(values[0]), int(values[1])

    return {
        "min": pair(sizes.min(axis=0)),
        "median": pair(np.median(sizes, axis=0)),
        "max": pair(sizes.max(axis=0)),
    }
