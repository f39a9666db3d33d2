"""Render a DICOM image: from its header to an 8-bit image, before resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lucency.errors import ImageError
from lucency.imaging.dicom import tags
from lucency.imaging.dicom.grey_levels import grey_levels, table_array
from lucency.imaging.dicom.header import DicomHeader
from lucency.imaging.dicom.pixel_data import stored_values
from lucency.imaging.dicom.values import Table

_CHUNK = 2**20  # pixels counted at a time, at 8 bytes each

Stored = NDArray[np.integer[Any]]
Pixels = NDArray[np.uint8]


def rendered(header: DicomHeader) -> Image.Image:
    """Decode an image in mode "L" or "RGB", in its stored size.

    Raises:
        TransientError: There is not enough memory.
        ImageError: It is damaged, or its decoder is not installed.
    """
    stored = stored_values(header)
    if header.grey:
        return Image.fromarray(_grey(header, stored))
    return Image.fromarray(_palette(header, stored) if header.palette else _true(header, stored))


def _grey(header: DicomHeader, stored: Stored) -> Pixels:
    if stored.dtype.itemsize > 2 or stored.ndim != 2:
        raise ImageError("grey levels of a rare kind; export it as PNG")
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    places = np.ascontiguousarray(stored).view(unsigned)
    n = 2 ** (8 * unsigned.itemsize)
    flat, counts = places.ravel(), np.zeros(n, np.int64)
    for start in range(0, flat.size, _CHUNK):
        counts += np.bincount(flat[start : start + _CHUNK], minlength=n)
    domain = np.arange(n).astype(unsigned).view(stored.dtype)
    return np.asarray(grey_levels(header, counts, domain.astype(np.float64))[places])


def _true(header: DicomHeader, stored: Stored) -> Pixels:
    """Keep the upper 8 bits of each colour, as grey PNG files do."""
    if stored.ndim != 3:
        raise ImageError("colours of a rare kind; export it as PNG")
    return (stored >> max(header.stored - 8, 0)).clip(0, 255).astype(np.uint8)


def _palette(header: DicomHeader, stored: Stored) -> Pixels:
    """Look up colours (PS3.3, section C.7.6.3.1.5)."""
    channels = []
    for descriptor, data in zip(tags.PALETTE_DESCRIPTORS, tags.PALETTE_DATA, strict=True):
        table = Table(header.elements, descriptor, data, header.signed)
        places = np.clip(stored.astype(np.int32) - table.first, 0, None)
        channels.append(_eight_bits(table)[np.minimum(places, len(table_array(table)) - 1)])
    return np.stack(channels, axis=-1)


def _eight_bits(table: Table) -> Pixels:
    entries = table_array(table)
    # Many files declare 16 bits for tables with 8-bit entries.
    deep = table.highest > 255 and entries.max() > 255
    return (entries >> 8 if deep else entries).astype(np.uint8)
