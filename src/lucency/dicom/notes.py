"""What one should know of a DICOM picture before trusting it, as flags that fit into two bytes."""

from __future__ import annotations

import enum


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
