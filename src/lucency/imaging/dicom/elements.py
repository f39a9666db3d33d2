"""Iterate over the elements of a DICOM data set and keep the wanted ones (PS3.5, section 7).

Everything else is skipped by its length and never read. Lengths are validated first, and the number
of elements is bounded however they are nested.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import NamedTuple

from lucency.errors import ImageError
from lucency.imaging.dicom.tags import PIXEL_DATA
from lucency.imaging.headers import ENDS_EARLY

UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_ENDS, _SEQUENCE_ENDS = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_MOST_ELEMENTS = 2**15  # of a file; real single images have up to a few thousand
_DEEPEST = 16  # nested sequences; real files reach 6
DAMAGED = "the file is damaged ({}); get it again"


class Element(NamedTuple):
    """One element, not yet parsed.

    Attributes:
        vr: Value representation, two letters; empty where the file omits it.
        value: The bytes; of a sequence or of encapsulated pixels, the items.
        order: ``<`` for little endian, ``>`` for big endian.
        explicit: Whether elements inside it have an explicit VR.
        encapsulated: Whether it has undefined length, as encapsulated pixels do.
        place: Offset of the value.
    """

    vr: bytes
    value: memoryview
    order: str
    explicit: bool
    encapsulated: bool
    place: int


class Walk:
    """An iteration over one file, which counts its elements."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._left = _MOST_ELEMENTS

    def elements(
        self, start: int, explicit: bool, order: str, wanted: Collection[int], last: int
    ) -> tuple[dict[int, Element], int]:
        """Return the wanted elements, the first of each tag, and the offset after the last.

        Pixels may be truncated; everything else must be complete.

        Args:
            start: Offset of the first element.
            explicit: Whether elements have an explicit VR.
            order: ``<`` or ``>``.
            wanted: Tags.
            last: The iteration stops before tags above this, and after this tag.

        Raises:
            ImageError: The file ends early, is damaged or too deeply nested.
        """
        found: dict[int, Element] = {}
        place, data = start, self._data
        while place + 8 <= len(data):
            tag = _tag(data, place, order)
            if tag > last:
                break
            vr, length, value = self._head(place, explicit, order)
            undefined = length == UNDEFINED
            end = self._end(value, vr, explicit, order, 0) if undefined else value + length
            if end > len(data) and tag != PIXEL_DATA:
                raise ImageError(ENDS_EARLY)
            if tag in wanted and tag not in found:
                inside = explicit and vr != b"UN"
                found[tag] = Element(vr, data[value:end], order, inside, undefined, value)
            place = end
            if tag == last:
                break
        return found, place

    def _head(self, place: int, explicit: bool, order: str) -> tuple[bytes, int, int]:
        """Return VR, length and offset of the value of an element."""
        self._left -= 1
        if self._left < 0:
            raise ImageError(DAMAGED.format(f"more than {_MOST_ELEMENTS:,} elements"))
        data = self._data
        vr = bytes(data[place + 4 : place + 6])
        if explicit and vr.isalpha() and vr.isupper():
            if vr not in _LONG:
                return vr, struct.unpack_from(order + "H", data, place + 6)[0], place + 8
            if place + 12 > len(data):
                raise ImageError(ENDS_EARLY)
            return vr, struct.unpack_from(order + "I", data, place + 8)[0], place + 12
        # No VR, because the syntax is implicit, or in items and some faulty files.
        return b"", struct.unpack_from(order + "I", data, place + 4)[0], place + 8

    def _end(self, place: int, vr: bytes, explicit: bool, order: str, depth: int) -> int:
        """Return where a value of undefined length ends: after its delimiter."""
        if depth > _DEEPEST:
            raise ImageError(DAMAGED.format(f"sequences nested more than {_DEEPEST} deep"))
        explicit = explicit and vr != b"UN"  # PS3.5, section 6.2.2, note 4
        while place + 8 <= len(self._data):
            tag = _tag(self._data, place, order)
            _, length, inside = self._head(place, False, order)
            if tag == _SEQUENCE_ENDS:
                return inside
            if tag != _ITEM:
                raise ImageError(DAMAGED.format("a sequence contains something other than items"))
            defined = length != UNDEFINED
            place = inside + length if defined else self._item(inside, explicit, order, depth)
        raise ImageError(ENDS_EARLY)

    def _item(self, place: int, explicit: bool, order: str, depth: int) -> int:
        while place + 8 <= len(self._data):
            tag = _tag(self._data, place, order)
            vr, length, value = self._head(place, explicit, order)
            if tag == _ITEM_ENDS:
                return value
            nested = length == UNDEFINED
            place = self._end(value, vr, explicit, order, depth + 1) if nested else value + length
        raise ImageError(ENDS_EARLY)


def first_item(sequence: Element, wanted: Collection[int]) -> tuple[dict[int, Element], bool]:
    """Return the wanted elements of the first item of a sequence, and whether there are more.

    Raises:
        ImageError: It is damaged.
    """
    data, order = sequence.value, sequence.order
    if len(data) < 8:
        return {}, False
    (length,) = struct.unpack_from(order + "I", data, 4)
    item = data[8:] if length == UNDEFINED else data[8 : 8 + length]
    walk = Walk(item)
    found, end = walk.elements(0, sequence.explicit, order, wanted, _ITEM_ENDS - 1)
    rest = data[8 + end + 8 :] if length == UNDEFINED else data[8 + length :]
    return found, len(rest) >= 8 and _tag(rest, 0, order) == _ITEM


def fragments(pixels: Element) -> list[memoryview]:
    """Return the fragments of compressed pixels without the offset table (PS3.5, A.4).

    Raises:
        ImageError: They are damaged.
    """
    data, place, found = pixels.value, 0, []
    while place + 8 <= len(data):
        tag, length = _tag(data, place, "<"), struct.unpack_from("<I", data, place + 4)[0]
        if tag == _SEQUENCE_ENDS:
            break
        if tag != _ITEM or place + 8 + length > len(data):
            raise ImageError(DAMAGED.format("the fragments of its pixels are incomplete"))
        found.append(data[place + 8 : place + 8 + length])
        place += 8 + length
    return found[1:]


def frame_fragments(pixels: Element, frames: int, frame: int) -> list[memoryview]:
    """Return the fragments of one of several frames of compressed pixels (PS3.5, A.4).

    Args:
        pixels: The element.
        frames: How many there are, at least 2.
        frame: Which is returned, from 0.

    Raises:
        ImageError: They are damaged, or nothing says where the frame begins.
    """
    found = fragments(pixels)
    if len(found) == frames:
        return [found[frame]]
    (length,) = struct.unpack_from("<I", pixels.value, 4)
    if length != 4 * frames:
        raise ImageError(
            f"{frames:,} frames in {len(found):,} fragments, without a table of where each begins; "
            "export the frames"
        )
    starts = struct.unpack_from(f"<{frames}I", pixels.value, 8)
    places, place = [], 0
    for each in found:
        places.append(place)
        place += 8 + len(each)
    first, last = starts[frame], (*starts[1:], place)[frame]
    chosen = [each for at, each in zip(places, found, strict=True) if first <= at < last]
    if first not in places or not chosen:
        raise ImageError(DAMAGED.format("its table of frames does not match its pixels"))
    return chosen


def _tag(data: memoryview, place: int, order: str) -> int:
    group, element = struct.unpack_from(order + "HH", data, place)
    return int(group << 16 | element)
