"""Stored values to grey levels: modality transformation, then window or VOI LUT (PS3.3, C.11).

Every stored value has one grey level, so a lookup table over all of them is computed in double
precision: exact, fast, and without pixels in floating point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lucency.imaging.dicom import tags
from lucency.imaging.dicom.header import DicomHeader
from lucency.imaging.dicom.values import Table, numbers, text
from lucency.imaging.dicom.windows import Window, table_of, window_of

Floats = NDArray[np.float64]
_CLIP = 0.005  # share of the pixels that a stretched contrast clips at either end


def grey_levels(
    header: DicomHeader, counts: NDArray[np.int64], domain: Floats
) -> NDArray[np.uint8]:
    """Return the grey level of every possible stored value.

    Args:
        header: Of a grey image.
        counts: (n,) how many pixels have each value.
        domain: (n,) the values.

    Returns:
        (n,) uint8; 0 is black, also in MONOCHROME1. Padding is black.
    """
    padding = _padding(header, domain)
    if not (counts[~padding]).any():
        padding[:] = False
    values = _modality(header, domain)
    brightness = _windowed(header, values, np.where(padding, 0, counts))
    if inverted(header):
        brightness = 1 - brightness
    brightness[padding] = 0
    return np.rint(255 * brightness).astype(np.uint8)


def inverted(header: DicomHeader) -> bool:
    """Tell whether low values are bright, by one of two elements or both."""
    shape = text(header.elements, tags.PRESENTATION_LUT_SHAPE).upper()
    return header.colours == "MONOCHROME1" or shape == "INVERSE"


def _windowed(header: DicomHeader, values: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the brightness of each value, from 0 to 1, before any inversion."""
    window = window_of(header.elements, header.signed)
    if window is None and header.identity:
        low, high = sorted(_modality(header, _range(header)))
    elif window is None:
        low, high = _percentiles(values, counts)
    elif window.table:
        return np.asarray(_looked_up(window.table, values) / window.table.highest)
    else:
        return _in_window(values, window)
    return np.asarray(np.clip((values - low) / max(high - low, 1e-12), 0, 1))


def _in_window(x: Floats, window: Window) -> Floats:
    centre, width = window.centre, window.width
    if window.function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700))))
    if window.function == "LINEAR_EXACT":
        return np.clip((x - centre) / width + 0.5, 0, 1)
    # A window of one value is a step.
    return np.clip((x - (centre - 0.5)) / max(width - 1, 1e-12) + 0.5, 0, 1)


def _percentiles(values: Floats, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the 0.5th and 99.5th percentile; the minimum and maximum where they are equal."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(counts[order])
    limits = np.array([_CLIP, 1 - _CLIP]) * cumulative[-1]
    low, high = values[order[np.searchsorted(cumulative, limits)]]
    if low == high:
        present = values[counts > 0]
        low, high = present.min(), present.max()
    return float(low), float(high)


def _modality(header: DicomHeader, domain: Floats) -> Floats:
    """Return the values after the modality transformation (PS3.3, section C.11.1)."""
    found = header.elements
    if (sequence := found.get(tags.MODALITY_LUT)) and sequence.value:
        return _looked_up(table_of(sequence, header.signed)[0], domain)
    slope, intercept = (numbers(found, tag) for tag in (tags.RESCALE_SLOPE, tags.RESCALE_INTERCEPT))
    # A slope of zero would erase the image; it is always an unset field.
    return domain * ((slope or [1.0])[0] or 1.0) + (intercept or [0.0])[0]


def _looked_up(table: Table, x: Floats) -> Floats:
    entries = table_array(table)
    places = np.clip(np.rint(x) - table.first, 0, len(entries) - 1)
    return np.asarray(entries[places.astype(np.int64)], np.float64)


def table_array(table: Table) -> NDArray[np.uint16]:
    """Return the entries of a table."""
    kind = np.uint8 if table.width == 1 else np.dtype("<u2")
    return np.frombuffer(table.entries, kind).astype(np.uint16)


def _padding(header: DicomHeader, domain: Floats) -> NDArray[np.bool_]:
    """Tell which values are padding (PS3.3, section C.7.5.1.1.2)."""
    found = numbers(header.elements, tags.PIXEL_PADDING, header.signed)
    if not found:
        return np.zeros(len(domain), bool)
    limit = numbers(header.elements, tags.PIXEL_PADDING_LIMIT, header.signed) or found
    low, high = sorted((found[0], limit[0]))
    return (domain >= low) & (domain <= high)


def _range(header: DicomHeader) -> Floats:
    """Return the lowest and the highest value that the stored bits can represent."""
    low = -(2 ** (header.stored - 1)) if header.signed else 0
    return np.array([low, low + 2**header.stored - 1], np.float64)
