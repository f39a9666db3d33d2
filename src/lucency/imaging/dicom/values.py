"""Numbers, text and lookup tables from untrusted elements."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from lucency.errors import ImageError
from lucency.imaging.dicom import tags
from lucency.imaging.dicom.elements import DAMAGED, Element

Elements = Mapping[int, Element]
_MOST_TEXT = 1024  # bytes of an element that are read as text


def text(elements: Elements, tag: int) -> str:
    """Return the first value of an element as text, stripped; empty where it is absent."""
    return _values(elements, tag)[0]


def numbers(elements: Elements, tag: int, signed: bool = False) -> list[float]:
    """Return the numbers of an element, text or binary; an empty list where it is absent.

    Args:
        elements: Elements by tag.
        tag: Of the element.
        signed: Whether two bytes without a VR are signed.

    Raises:
        ImageError: They are not numbers.
    """
    element = elements.get(tag)
    if element is None or not element.value:
        return []
    if element.vr in (b"DS", b"IS") or (not element.vr and tag in tags.TEXT_NUMBERS):
        return _parsed(_values(elements, tag))
    code = {b"SS": "h", b"UL": "I", b"SL": "i"}.get(element.vr, "h" if signed else "H")
    if element.vr == b"US":
        code = "H"
    count = min(len(element.value), _MOST_TEXT) // struct.calcsize(code)
    return list(map(float, struct.unpack_from(f"{element.order}{count}{code}", element.value)))


def whole(elements: Elements, tag: int, default: int | None = None) -> int:
    """Return the first number of an element, which is an integer.

    Raises:
        ImageError: It is absent and has no default, or is not an integer.
    """
    found = numbers(elements, tag)
    if not found and default is not None:
        return default
    if not found or abs(found[0]) > 2**31 or found[0] != int(found[0]):
        raise ImageError(DAMAGED.format("a required number is missing or wrong"))
    return int(found[0])


def _values(elements: Elements, tag: int) -> list[str]:
    element = elements.get(tag)
    if element is None:
        return [""]
    text = bytes(element.value[:_MOST_TEXT]).decode("latin-1")
    return [value.strip(" \0") for value in text.split("\\")]


def _parsed(texts: list[str]) -> list[float]:
    if texts == [""]:
        return []
    try:
        found = [float(text) for text in texts]
    except ValueError as error:
        raise ImageError(DAMAGED.format("a number is expected but text is found")) from error
    if not all(map(math.isfinite, found)):
        raise ImageError(DAMAGED.format("a number in it is not finite"))
    return found


class Table:
    """A lookup table (LUT) for stored values (PS3.3, section C.11.1.1).

    Attributes:
        first: Value of the first entry; lower values map to it, higher ones to the last entry.
        entries: Little-endian unsigned numbers of ``width`` bytes each.
        width: 1 or 2.
        highest: Maximum of an entry.
    """

    def __init__(self, elements: Elements, descriptor: int, data: int, signed: bool) -> None:
        """Read a table.

        Args:
            elements: Elements by tag.
            descriptor: Tag of the number of entries, the first value and the bits of an entry.
            data: Tag of the entries.
            signed: Whether first values without a VR may be negative.

        Raises:
            ImageError: It is absent or damaged.
        """
        described, entries = numbers(elements, descriptor, signed), elements.get(data)
        if len(described) != 3 or entries is None:
            raise ImageError(DAMAGED.format("a table of grey levels or colours is incomplete"))
        count = int(described[0]) % 2**16 or 2**16
        self.first, bits = int(described[1]), int(described[2])
        self.width = 1 if len(entries.value) < 2 * count else 2
        if not 1 <= bits <= 16 or len(entries.value) < count * self.width:
            raise ImageError(DAMAGED.format("a table of grey levels or colours is too short"))
        self.highest = 2 ** min(bits, 8 * self.width) - 1
        raw = bytes(entries.value[: count * self.width])
        if self.width == 2 and entries.order == ">":
            raw = b"".join(raw[k : k + 2][::-1] for k in range(0, len(raw), 2))
        self.entries = raw
