"""Facts that users should know of an image, as flags that fit into two bytes."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Note(enum.IntFlag):
    """Facts about a file: those up to ``OVERLAY`` are stated in the header of a DICOM file."""

    BURNED_IN = 1  # text, perhaps a name, is part of the pixels (BurnedInAnnotation)
    FOR_PROCESSING = 2  # raw detector values, before the vendor's processing
    LATERAL = 4  # lateral view (ViewPosition)
    SECONDARY_CAPTURE = 8  # grey levels chosen by some program
    SEVERAL_WINDOWS = 16  # the first of several windows or LUTs was applied
    NO_WINDOW = 32  # the contrast was stretched
    OVERLAY = 64  # overlay planes were ignored
    FIRST_FRAME = 128  # the first frame of an animation was read
    FIRST_PAGE = 256  # page 1 of several was read
    MIDDLE_FRAME = 1024  # the middle one of several frames of a DICOM file was read
    CLIPPED = 512  # values above the depth of the data set became white


EVERY_NOTE = sum(Note)
_TEXTS: Mapping[Note, str] = {
    Note.LATERAL: "a lateral view",
    Note.FOR_PROCESSING: "raw detector values, which are not for presentation",
    Note.SECONDARY_CAPTURE: "a secondary capture: its grey levels were chosen by some program",
    Note.BURNED_IN: "text is burned into the pixels",
    Note.OVERLAY: "an overlay was ignored",
    Note.SEVERAL_WINDOWS: "the first of several windows was applied",
    Note.NO_WINDOW: "it has no window, so its contrast was stretched",
    Note.FIRST_FRAME: "an animation, of which the first frame was read",
    Note.FIRST_PAGE: "several pages, of which page 1 was read",
    Note.MIDDLE_FRAME: "several frames, of which the middle one was read",
    Note.CLIPPED: "values above the depth of the training images were clipped",
}


def describe_notes(notes: Note) -> tuple[str, ...]:
    """Return the notes on one file as readable text."""
    return tuple(text for note, text in _TEXTS.items() if note in notes)
