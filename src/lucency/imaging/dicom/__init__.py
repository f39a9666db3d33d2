"""DICOM files: the header, and the image as a viewer would first show it.

    detect                recognise a DICOM file by its first bytes
    tags                  the elements that an image depends on
    elements              iterate over the elements, keep the few that are wanted
    values                numbers, text and lookup tables of elements
    sop_classes           which objects are single images, and which are not
    transfer_syntaxes     encodings of pixels, and their decoders
    deflated              inflate a compressed file within bounds
    windows               the first window or VOI LUT of a file
    header                everything that the image depends on, validated
    codestreams           compressed pixels with the announced dimensions
    pixel_data            compressed or native pixels to stored values
    grey_levels           stored values to grey levels
    render                from the header to an 8-bit image

All other data of a patient are skipped, not read; pydicom only receives the pixels, and is only
imported when they are decoded.
"""

from __future__ import annotations

from lucency.imaging.dicom.detect import is_dicom

__all__ = ["is_dicom"]
