"""What one should know of a DICOM image before trusting it, as flags that fit into two bytes."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Note(enum.IntFlag):
    """Facts that DICOM files tell of themselves."""

    BURNED_IN = 1  # text, perhaps a name, is part of the pixels (BurnedInAnnotation)
    FOR_PROCESSING = 2  # raw values of a detector, before the maker's processing
    LATERAL = 4  # seen from the side (ViewPosition)
    SECONDARY_CAPTURE = 8  # grey levels as some program chose them
    SEVERAL_WINDOWS = 16  # the first of several windows or tables was taken
    NO_WINDOW = 32  # none was given, so contrast was stretched
    OVERLAY = 64  # drawings in overlay planes were left out


EVERY_NOTE = sum(Note)
_TOLD: Mapping[Note, str] = {
    Note.LATERAL: "a lateral view",
    Note.FOR_PROCESSING: "raw values of the detector, which are not for presentation",
    Note.SECONDARY_CAPTURE: "a secondary capture: some program chose its grey levels",
    Note.BURNED_IN: "text is burned into the pixels",
    Note.OVERLAY: "an overlay was left out",
    Note.SEVERAL_WINDOWS: "the first of several windows was taken",
    Note.NO_WINDOW: "no window is given, so its contrast was stretched",
}


def in_words(notes: Note) -> tuple[str, ...]:
    """Return in words, for a person, what one file says of itself."""
    return tuple(words for note, words in _TOLD.items() if note in notes)
