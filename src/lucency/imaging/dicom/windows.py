"""The first window or VOI LUT of a file (PS3.3, section C.11.2)."""

from __future__ import annotations

from typing import NamedTuple

from lucency.imaging.dicom import tags
from lucency.imaging.dicom.elements import Element, first_item
from lucency.imaging.dicom.values import Elements, Table, numbers, text


class Window(NamedTuple):
    """A window or a VOI LUT.

    Attributes:
        several: Whether it is the first of several.
        table: The VOI LUT, if there is one.
        centre: Of the window otherwise.
        width: Of the window.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
    """

    several: bool
    table: Table | None = None
    centre: float = 0.0
    width: float = 0.0
    function: str = "LINEAR"


def window_of(elements: Elements, signed: bool) -> Window | None:
    """Return the first window or VOI LUT of a file; LUTs take precedence over windows.

    Args:
        elements: Elements by tag.
        signed: Whether values may be negative.

    Raises:
        ImageError: It is damaged.
    """
    if (sequence := elements.get(tags.VOI_LUT)) and sequence.value:
        table, more = table_of(sequence, signed)
        return Window(more, table)
    centres, widths = (numbers(elements, tag) for tag in (tags.WINDOW_CENTER, tags.WINDOW_WIDTH))
    function = text(elements, tags.VOI_LUT_FUNCTION).upper() or "LINEAR"
    if not centres or not widths:
        return None
    if widths[0] <= 0 or (function == "LINEAR" and widths[0] < 1):  # invalid, but it occurs
        return None
    return Window(min(len(centres), len(widths)) > 1, None, centres[0], widths[0], function)


def table_of(sequence: Element, signed: bool) -> tuple[Table, bool]:
    """Return the table in the first item of a sequence, and whether there are more items.

    Raises:
        ImageError: It is damaged.
    """
    item, more = first_item(sequence, (tags.LUT_DESCRIPTOR, tags.LUT_DATA))
    return Table(item, tags.LUT_DESCRIPTOR, tags.LUT_DATA, signed), more
