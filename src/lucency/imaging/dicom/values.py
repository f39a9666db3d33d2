"""Numbers, words and tables out of elements that anybody may have written."""

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
    """Return the first of the words of an element, without padding; empty where it is absent."""
    return _words(elements, tag)[0]


def numbers(elements: Elements, tag: int, signed: bool = False) -> list[float]:
    """Return the numbers of an element, as text or binary; nothing where it is absent or empty.

    Args:
        elements: Elements by tag.
        tag: Which one.
        signed: How to read two bytes whose type is not told.

    Raises:
        ImageError: They are no numbers.
    """
    element = elements.get(tag)
    if element is None or not element.value:
        return []
    if element.vr in (b"DS", b"IS") or (not element.vr and tag in tags.WRITTEN):
        return _parsed(_words(elements, tag))
    code = {b"SS": "h", b"UL": "I", b"SL": "i"}.get(element.vr, "h" if signed else "H")
    if element.vr == b"US":
        code = "H"
    count = min(len(element.value), _MOST_TEXT) // struct.calcsize(code)
    return list(map(float, struct.unpack_from(f"{element.order}{count}{code}", element.value)))


def whole(elements: Elements, tag: int, default: int | None = None) -> int:
    """Return the one whole number of an element.

    Raises:
        ImageError: It is absent, without a default, or no whole number.
    """
    found = numbers(elements, tag)
    if not found and default is not None:
        return default
    if not found or abs(found[0]) > 2**31 or found[0] != int(found[0]):
        raise ImageError(DAMAGED.format("a number that its image needs is missing or wrong"))
    return int(found[0])


def _words(elements: Elements, tag: int) -> list[str]:
    element = elements.get(tag)
    if element is None:
        return [""]
    written = bytes(element.value[:_MOST_TEXT]).decode("latin-1")
    return [word.strip(" \0") for word in written.split("\\")]


def _parsed(words: list[str]) -> list[float]:
    if words == [""]:
        return []
    try:
        found = [float(word) for word in words]
    except ValueError as error:
        raise ImageError(DAMAGED.format("something else stands where a number should")) from error
    if not all(map(math.isfinite, found)):
        raise ImageError(DAMAGED.format("a number in it is not finite"))
    return found


class Table:
    """A table that maps stored values to others (PS3.3, section C.11.1.1).

    Attributes:
        first: Value that the first entry is for; lower ones share it, higher ones the last.
        entries: Little-endian unsigned numbers of ``width`` bytes each.
        width: 1 or 2.
        highest: Greatest number that an entry may be.
    """

    def __init__(self, elements: Elements, descriptor: int, data: int, signed: bool) -> None:
        """Read a table.

        Args:
            elements: Elements by tag.
            descriptor: Tag of the number of entries, the first value and the bits of an entry.
            data: Tag of the entries.
            signed: Whether first values may be negative, where their type is not told.

        Raises:
            ImageError: It is absent or damaged.
        """
        told, entries = numbers(elements, descriptor, signed), elements.get(data)
        if len(told) != 3 or entries is None:
            raise ImageError(DAMAGED.format("a table of grey levels or colours is incomplete"))
        count = int(told[0]) % 2**16 or 2**16
        self.first, bits = int(told[1]), int(told[2])
        self.width = 1 if len(entries.value) < 2 * count else 2
        if not 1 <= bits <= 16 or len(entries.value) < count * self.width:
            raise ImageError(DAMAGED.format("a table of grey levels or colours is too short"))
        self.highest = 2 ** min(bits, 8 * self.width) - 1
        raw = bytes(entries.value[: count * self.width])
        if self.width == 2 and entries.order == ">":
            raw = b"".join(raw[k : k + 2][::-1] for k in range(0, len(raw), 2))
        self.entries = raw
