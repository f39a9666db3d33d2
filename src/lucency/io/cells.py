"""Cells of CSV files: exact for a program that reads them, harmless in a spreadsheet.

A spreadsheet runs a cell that begins with one of ``= + - @``, a tab or a line end, also where it is
quoted, and such a cell can send other cells to any address. An apostrophe in front makes it text.
File names and labels may come from anybody; numbers are no text and stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

_FORMULA = re.compile("'*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]")  # and their wide forms


def csv_lines(rows: Iterable[Sequence[object]], end: str = "\n") -> Iterator[str]:
    """Yield rows as lines of a CSV file; text that looks like a formula becomes text.

    Args:
        rows: Cells; text is changed as by ``as_text``, other values are written as they are.
        end: The end of a line.
    """
    line = io.StringIO(newline="")
    # With \n as its end of line, the writer would leave a lone \r in a cell unquoted.
    writer = csv.writer(line, lineterminator="\r\n")
    for row in rows:
        writer.writerow([as_text(cell) if isinstance(cell, str) else cell for cell in row])
        yield line.getvalue()[:-2] + end
        line.seek(0)
        line.truncate()


def as_text(cell: str) -> str:
    """Return a cell with an apostrophe in front, if a spreadsheet could take it for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def from_text(cell: str) -> str:
    """Return the cell that ``as_text`` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
