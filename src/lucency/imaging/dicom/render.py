"""The whole way from a DICOM header to an image of 8 bits, before it is resized."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lucency.errors import ImageError
from lucency.imaging.dicom import tags
from lucency.imaging.dicom.header import DicomHeader
from lucency.imaging.dicom.stored import stored_values
from lucency.imaging.dicom.tones import greys, table_array
from lucency.imaging.dicom.values import Table

_SLAB = 2**20  # pixels that are counted at a time, each of which takes 8 bytes then

Stored = NDArray[np.integer[Any]]
Pixels = NDArray[np.uint8]


def rendered(header: DicomHeader) -> Image.Image:
    """Decode an image, in mode "L" or "RGB", with as many pixels as are stored.

    Raises:
        PassingError: There is not enough memory.
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
    for start in range(0, flat.size, _SLAB):
        counts += np.bincount(flat[start : start + _SLAB], minlength=n)
    domain = np.arange(n).astype(unsigned).view(stored.dtype)
    return np.asarray(greys(header, counts, domain.astype(np.float64))[places])


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
    # Writers often put 8 bits into tables that they say have 16.
    deep = table.highest > 255 and entries.max() > 255
    return (entries >> 8 if deep else entries).astype(np.uint8)
