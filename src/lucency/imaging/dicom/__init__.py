"""What a DICOM file says of its image, and the image as a radiologist would first see it.

    notes         what a reader should know, as flags
    recognise     tell a DICOM file by its first bytes
    tags          the elements that an image depends on
    elements      walk over the elements, keep the few that are wanted
    values        numbers, words and tables out of elements
    kinds         which objects are one image, and which are not
    syntaxes      ways of storing pixels, and who decodes them
    deflated      undo compression of a whole file, within bounds
    windows       what of the values is to be seen
    header        everything that the image depends on, checked
    codestreams   compressed pixels whose sizes are as announced
    stored        compressed or not, to stored values
    tones         stored values to grey levels
    render        the whole way to an image of 8 bits

Names, dates and all else of a patient are stepped over, not read; pydicom is only ever given the
pixels, and only loaded when they are decoded.
"""

from __future__ import annotations

from lucency.imaging.dicom.notes import EVERY_NOTE, Note, in_words
from lucency.imaging.dicom.recognise import is_dicom

__all__ = ["EVERY_NOTE", "Note", "in_words", "is_dicom"]
