"""Pixel data of a DICOM file to stored values; the only use of pydicom's decoders."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lucency.errors import ImageError, TransientError
from lucency.imaging.dicom.codestreams import codestream
from lucency.imaging.dicom.header import DicomHeader
from lucency.imaging.dicom.transfer_syntaxes import Coding, plugin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ITEM = b"\xfe\xff\x00\xe0"


def stored_values(header: DicomHeader) -> NDArray[np.integer[Any]]:
    """Decode the pixels.

    Returns:
        (rows, columns) or, in colour, (rows, columns, 3) integers; YBR is converted to RGB.

    Raises:
        TransientError: There is not enough memory.
        ImageError: They are damaged, or their decoder is not installed.
    """
    coding = header.syntax.coding
    if coding is Coding.NATIVE:
        bits, source = header.stored, bytes(header.native)
    else:
        data, bits = codestream(header)
        source = _encapsulated(data)
    name = plugin(coding, bits)
    with _quietly():
        from pydicom.pixels.decoders.base import get_decoder

        decoder = get_decoder(header.syntax.uid)
        array, _ = decoder.as_array(source, decoding_plugin=name, **_options(header))
    if array.shape[:2] != (header.rows, header.columns):
        raise ImageError("its pixels cannot be decoded: their size does not match the header")
    return array


def _options(header: DicomHeader) -> dict[str, Any]:
    return {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": header.samples,
        "photometric_interpretation": header.colours,
        "bits_allocated": header.allocated,
        "bits_stored": header.stored,
        "pixel_representation": int(header.signed),
        "number_of_frames": 1,
        "planar_configuration": int(header.planar),
        "pixel_keyword": "PixelData",
        "pixel_vr": header.pixels.vr.decode() or "OW",
    }


def _encapsulated(data: bytes) -> bytes:
    """Return compressed pixels as a single fragment, as pydicom expects them."""
    return b"".join((_ITEM, bytes(4), _ITEM, struct.pack("<I", len(data)), data))


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress warnings, as they may quote the file; turn any exception into an ImageError."""
    before = logging.root.manager.disable
    logging.disable()  # pydicom and the decoders log under several names
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError as error:
        raise TransientError("not enough memory to decode it") from error
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            f"its pixels cannot be decoded ({type(error).__name__}): damaged, or of a rare kind; "
            "get it again, or export it as PNG"
        ) from error
    finally:
        logging.disable(before)
