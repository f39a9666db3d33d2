"""What DICOM files say of themselves that a user should know, counted and in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lucency.dataset.entry import Entry, counted, listed
from lucency.imaging.dicom import Note

_WARNINGS: Mapping[Note, str] = {
    Note.BURNED_IN: (
        "say that text is burned into the pixels. A network may learn from it, and it may name "
        "patients: look at them, and cover or remove it."
    ),
    Note.FOR_PROCESSING: (
        "are for processing: raw values of the detector, which the maker's software was to make a "
        "radiograph of. Use those for presentation."
    ),
    Note.LATERAL: (
        "are lateral views. If one class has more of them, that is what a network learns: leave "
        "them out, or have them in all classes."
    ),
    Note.SECONDARY_CAPTURE: (
        "are secondary captures, whose grey levels some program chose. If the classes come from "
        "different programs, that is what a network learns."
    ),
}
_NOTES: Mapping[Note, str] = {
    Note.SEVERAL_WINDOWS: "have several windows: the first is taken.",
    Note.NO_WINDOW: "have no window: their contrast is stretched, 0.5 % of the pixels cut off "
    "at either end.",
    Note.OVERLAY: "have overlays, which are left out.",
}


def remarks(
    entries: Sequence[Entry], notes: Sequence[Note]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sentences that ask for action, and those worth knowing.

    Args:
        entries: Images that are used.
        notes: What each row of the store says.
    """
    warnings = _told(entries, notes, _WARNINGS)
    return warnings, _told(entries, notes, _NOTES)


def _told(
    entries: Sequence[Entry], notes: Sequence[Note], sentences: Mapping[Note, str]
) -> tuple[str, ...]:
    told = []
    for note, sentence in sentences.items():
        if files := [entry.file for entry in entries if note in notes[entry.row]]:
            told.append(f"{counted(len(files), 'DICOM image')} ({listed(files)}) {sentence}")
    return tuple(told)
