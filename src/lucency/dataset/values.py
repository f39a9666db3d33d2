"""Numbers for each image: read them from a column, and cut their axis into bins.

The bins hold about as many images each. They are the classes that a network learns, and the strata
by which the images are split.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lucency.config import Config
from lucency.dataset.table import Table
from lucency.errors import ConfigError, DataError

MOST_BINS = 16
_FEWEST_BINS = 3
_FEWEST_OF_BIN = 12
_DIGITS = range(4, 17)
_BETWEEN = " to "


class Bins(NamedTuple):
    """Intervals of an axis.

    Attributes:
        edges: (bins + 1,) ascending; a number outside belongs to the first or the last bin.
    """

    edges: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """``7.5 to 9.5`` and so on; ``of_names`` reads the edges from them."""
        written = [repr(edge).removesuffix(".0") for edge in self.edges]
        return tuple(f"{a}{_BETWEEN}{b}" for a, b in pairwise(written))

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """Cut an axis so that each bin has about as many of the numbers, and 12 at least.

        Args:
            values: (n,) finite.

        Raises:
            DataError: There are too few different numbers for three bins.
        """
        ordered = np.sort(values)
        ends = _cuts(ordered)
        if len(ends) < _FEWEST_BINS - 1:
            raise DataError(
                f"expected numbers for {_FEWEST_BINS * _FEWEST_OF_BIN} images or more, with "
                f"{_FEWEST_BINS} different values or more. Received: {len(values):,} numbers with "
                f"{len(np.unique(values)):,} different values. Add images; for a few values, use "
                "--task ordinal."
            )
        exact = [ordered[0], *((ordered[k - 1] + ordered[k]) / 2 for k in ends), ordered[-1]]
        for digits in _DIGITS:
            edges = [float(f"{edge:.{digits}g}") for edge in exact]
            inner = np.searchsorted(ordered, edges[1:-1]).tolist()
            if inner == ends and edges == sorted({*edges}):
                break
        return cls(tuple(edges))

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Self:
        """Return the bins that have these names.

        Raises:
            ValueError: They are no names of bins.
        """
        pairs = [name.split(_BETWEEN) for name in names]
        edges = (*(float(a) for a, _ in pairs), float(pairs[-1][1]))
        if cls(edges).names != tuple(names):
            raise ValueError("expected the names of adjacent bins")
        return cls(edges)

    def numbers(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the bin of each number, (n,) from 0."""
        return np.searchsorted(self.edges[1:-1], values, side="right").astype(np.int64)


def _cuts(ordered: NDArray[np.float64]) -> list[int]:
    """Return where to cut sorted numbers, only between different ones."""
    n = len(ordered)
    changes = np.flatnonzero(np.diff(ordered)) + 1
    bins, found, last = min(MOST_BINS, n // _FEWEST_OF_BIN), list[int](), 0
    for k in range(1, bins):
        free = changes[(changes - last >= _FEWEST_OF_BIN) & (n - changes >= _FEWEST_OF_BIN)]
        if not len(free):
            break
        best = int(free[np.abs(free - k * n / bins).argmin()])
        if best > last:
            found.append(best)
            last = best
    return found


def read_values(path: Path, table: Table, at: int) -> NDArray[np.float64]:
    """Return the number of each row.

    Args:
        path: The labels file.
        table: Its content.
        at: The column of numbers.

    Raises:
        DataError: A cell holds no finite number.
    """
    found = []
    for line in table.lines:
        cell = line.cells[at]
        value = _number(cell)
        if not math.isfinite(value):
            hint = ""
            if re.fullmatch(r"[+-]?\d+,\d+", cell):
                hint = f" Write {cell.replace(',', '.')}."
            elif not cell:
                hint = " Fill in the cell, or remove the line."
            raise DataError(
                f"{path}, line {line.number}: expected a finite number in the column "
                f"{table.header[at]!r}. Received: {cell[:40]!r}.{hint}"
            )
        found.append(value)
    return np.array(found, np.float64)


def _number(text: str) -> float:
    """Return a number with a decimal point; nan for all else."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII):
        return math.nan
    return float(text)


def is_number(text: str) -> bool:
    """Tell whether a text is a finite number."""
    return math.isfinite(_number(text))


def check_regression(config: Config) -> None:
    """Raise ``ConfigError`` where an option is for classes."""
    given = {
        "--recipe article": config.recipe != "default",
        "--positive": config.positive != "auto",
        "--order": bool(config.order),
        "--prevalence": config.prevalence is not None,
        "--operating-point": config.operating_point != "balanced",
        "--neighbours": config.neighbours > 0,
        "--set class_weighting": config.class_weighting is not None,
    }
    if wrong := [option for option, is_given in given.items() if is_given]:
        raise ConfigError(f"{wrong[0]} is for classes, and --task regression predicts a number.")
