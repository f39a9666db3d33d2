"""SOP classes: which DICOM objects are single images to classify, and how to name the others."""

from __future__ import annotations

from collections.abc import Mapping

from lucency.errors import ImageError
from lucency.imaging.notes import Note

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_DIRECTORY = "1.2.840.10008.1.3.10"
# SOP class (PS3.4, section B.5) -> note that applies to all its images.
_SUPPORTED: Mapping[str, Note] = {
    _STORAGE + number: note
    for number, note in {
        "1": Note(0),  # computed radiography
        "1.1": Note(0),  # digital X-ray, for presentation
        "1.1.1": Note.FOR_PROCESSING,
        "1.2": Note(0),  # mammography
        "1.2.1": Note.FOR_PROCESSING,
        "1.3": Note(0),  # intra-oral
        "1.3.1": Note.FOR_PROCESSING,
        "2": Note(0),  # CT
        "4": Note(0),  # MR
        "3.1": Note(0),  # ultrasound of several frames
        "7": Note.SECONDARY_CAPTURE,
        "7.2": Note.SECONDARY_CAPTURE,  # of several frames: 8 bits
        "7.3": Note.SECONDARY_CAPTURE,  # 16 bits
        "7.4": Note.SECONDARY_CAPTURE,  # colour
        "12.1": Note(0),  # angiography
        "12.2": Note(0),  # fluoroscopy
        "77.1.1": Note(0),  # endoscopy
        "77.1.2": Note(0),  # microscopy
        "77.1.4": Note(0),  # photography
        "77.1.5.1": Note(0),  # ophthalmic, 8 bits
        "77.1.5.2": Note(0),  # ophthalmic, 16 bits
        "77.1.7": Note(0),  # dermoscopy
    }.items()
}
_EXPECTED = "expected one radiograph, CT or MR slice, photograph or secondary capture"


def check_sop_class(uid: str) -> Note:
    """Return the note that applies to all images of a SOP class.

    Args:
        uid: SOPClassUID; empty where the file has none.

    Raises:
        ImageError: It is not a supported class of single images.
    """
    note = _SUPPORTED.get(uid)
    if note is not None:
        return note
    if uid == _DIRECTORY:
        raise ImageError("a DICOMDIR, the index of a disc; give the images that it lists")
    raise ImageError(f"a DICOM file that holds {_described(uid)}; {_EXPECTED}")


def _described(uid: str) -> str:
    if not uid:
        return "no image (it has no SOP class)"
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    # For an unknown UID, pydicom returns the UID itself, which may be arbitrary text.
    name = UID(uid, IGNORE).name
    return "an object of an unknown kind" if name == uid else f"another kind of object ({name})"
