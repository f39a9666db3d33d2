"""Which DICOM objects are one image to be classified, and what the others are called."""

from __future__ import annotations

from collections.abc import Mapping

from lucency.errors import ImageError
from lucency.imaging.dicom.notes import Note

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_DIRECTORY = "1.2.840.10008.1.3.10"
# Class of object (PS3.4, section B.5) -> what is to be known of each of its images.
_READ: Mapping[str, Note] = {
    _STORAGE + number: note
    for number, note in {
        "1": Note(0),  # computed radiography
        "1.1": Note(0),  # digital X-ray, for presentation
        "1.1.1": Note.FOR_PROCESSING,
        "1.2": Note(0),  # mammography
        "1.2.1": Note.FOR_PROCESSING,
        "1.3": Note(0),  # inside the mouth
        "1.3.1": Note.FOR_PROCESSING,
        "2": Note(0),  # CT
        "4": Note(0),  # MR
        "7": Note.SECONDARY_CAPTURE,
        "77.1.1": Note(0),  # endoscopy
        "77.1.2": Note(0),  # microscopy
        "77.1.4": Note(0),  # photography
        "77.1.5.1": Note(0),  # the eye, 8 bits
        "77.1.5.2": Note(0),  # the eye, 16 bits
        "77.1.7": Note(0),  # dermoscopy
    }.items()
}
_EXPECTED = "expected one radiograph, CT or MR slice, photograph or secondary capture"


def check_kind(uid: str) -> Note:
    """Return what is to be known of all images of a class of objects.

    Args:
        uid: SOPClassUID; empty where the file has none.

    Raises:
        ImageError: It is no class of single images that are read.
    """
    note = _READ.get(uid)
    if note is not None:
        return note
    if uid == _DIRECTORY:
        raise ImageError("a DICOMDIR, the index of a disc; give the images that it lists")
    raise ImageError(f"a DICOM file that holds {_named(uid)}; {_EXPECTED}")


def _named(uid: str) -> str:
    if not uid:
        return "no image (it does not say what it is)"
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    # A number that pydicom does not know is its own name, and anybody may have made it up.
    name = UID(uid, IGNORE).name
    return "an object of an unknown kind" if name == uid else f"another kind of object ({name})"
