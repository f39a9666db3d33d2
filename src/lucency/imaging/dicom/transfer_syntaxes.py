"""Transfer syntaxes (PS3.5, section 10 and annex A) and the decoders of their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from lucency.errors import ImageError


class Coding(Enum):
    """The encoding of the pixels."""

    NATIVE = "uncompressed"
    RLE = "run lengths"
    JPEG = "JPEG"
    JPEG_LOSSLESS = "JPEG Lossless"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


class Syntax(NamedTuple):
    """A transfer syntax.

    Attributes:
        uid: Transfer Syntax UID.
        coding: Of the pixels.
        explicit: Whether elements have an explicit VR.
        order: ``<`` for little endian, ``>`` for big endian.
        deflated: Whether the whole data set is compressed.
    """

    uid: str
    coding: Coding
    explicit: bool = True
    order: str = "<"
    deflated: bool = False


_PREFIX = "1.2.840.10008.1.2"
IMPLICIT = Syntax(_PREFIX, Coding.NATIVE, explicit=False)
EXPLICIT = Syntax(_PREFIX + ".1", Coding.NATIVE)
BIG_ENDIAN = Syntax(_PREFIX + ".2", Coding.NATIVE, order=">")
_SUPPORTED: Mapping[str, Syntax] = {
    syntax.uid: syntax
    for syntax in (
        IMPLICIT,
        EXPLICIT,
        BIG_ENDIAN,
        Syntax(_PREFIX + ".1.99", Coding.NATIVE, deflated=True),
        Syntax(_PREFIX + ".5", Coding.RLE),
        *(Syntax(f"{_PREFIX}.4.{n}", Coding.JPEG) for n in (50, 51)),
        *(Syntax(f"{_PREFIX}.4.{n}", Coding.JPEG_LOSSLESS) for n in (57, 70)),
        *(Syntax(f"{_PREFIX}.4.{n}", Coding.JPEG_LS) for n in (80, 81)),
        *(Syntax(f"{_PREFIX}.4.{n}", Coding.JPEG_2000) for n in (90, 91, 201, 202, 203)),
    )
}
# pydicom's names of the decoders; fixed, so that other installed decoders make no difference.
_PLUGINS = {
    Coding.NATIVE: "",
    Coding.RLE: "pydicom",
    Coding.JPEG: "pillow",
    Coding.JPEG_LOSSLESS: "gdcm",
    Coding.JPEG_LS: "pyjpegls",
    Coding.JPEG_2000: "pylibjpeg",
}
_PACKAGES = ("pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pyjpegls", "python-gdcm")


def find_syntax(uid: str) -> Syntax:
    """Return a transfer syntax.

    Raises:
        ImageError: It is not supported; the message names it.
    """
    if syntax := _SUPPORTED.get(uid):
        return syntax
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    known = UID(uid, IGNORE).name  # the UID itself where pydicom does not know it
    name = "an unknown transfer syntax" if known == uid else known
    raise ImageError(f"a DICOM file stored as {name}, which is not supported: export it as PNG")


def plugin(coding: Coding, bits: int) -> str:
    """Return pydicom's name of the decoder for this encoding; empty for none.

    Args:
        coding: Of the pixels.
        bits: Of a sample in the compressed pixels.

    Raises:
        ImageError: There is none, or it is not installed; the message names coding and extra.
    """
    if coding is Coding.JPEG and bits > 8:
        raise ImageError(
            f"a DICOM file in JPEG of {bits} bits, which is not supported: export it as PNG"
        )
    from importlib.util import find_spec

    if coding is Coding.JPEG_LOSSLESS and find_spec("gdcm") is None:
        raise ImageError(
            "a DICOM file in JPEG Lossless, which needs the extra gdcm: pip install 'lucency[gdcm]'"
        )
    return _PLUGINS[coding]


def versions() -> list[str]:
    """Return the versions of all decoders of DICOM pixels; ``-`` for those not installed."""
    from importlib import metadata

    found = []
    for name in _PACKAGES:
        try:
            found.append(metadata.version(name))
        except metadata.PackageNotFoundError:
            found.append("-")
    return found
