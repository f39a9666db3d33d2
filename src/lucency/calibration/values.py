"""Numbers from probabilities: a prediction, quantiles, and an interval with promised coverage.

The axis of the number is cut into bins, which the classifier has probabilities for. Within a bin
the number is taken to be spread evenly, so the probabilities are a distribution with quantiles. The
interval is that between two quantiles, moved outwards by an offset that held-out images choose
(conformalised quantile regression: Romano, Patterson and Candes 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from lucency.calibration.conformal import quantile_by_patient
from lucency.calibration.units import (
    Evidence,
    UnitRule,
    decisive,
    number,
    numbered,
    text,
    without_each,
)
from lucency.errors import ClassifierError, DataError
from lucency.metrics import BoolArray, FloatArray

COVERAGE = 0.9  # of the prediction intervals
_LARGEST = 1e300  # of the numbers in classifier.json


@dataclass(frozen=True)
class ValueRule:
    """How probabilities of bins become a number; ``value`` of ``classifier.json``.

    Attributes:
        name: What the number is, as the labels file names it.
        edges: (bins + 1,) ends of the bins, ascending.
        centres: (bins,) mean of the training numbers in each bin.
        mean: Of all training numbers.
        coverage: Share of numbers that the intervals are to contain, in (0, 1).
        offset: Moves both ends of the intervals outwards; below 0 inwards. ``None`` where too few
            patients were held out to promise the coverage: there are no intervals then.
        tolerance: Largest width of an interval with which there is an answer; ``None`` for any.
    """

    name: str
    edges: tuple[float, ...]
    centres: tuple[float, ...]
    mean: float
    coverage: float = COVERAGE
    offset: float | None = None
    tolerance: float | None = None

    def predicted(self, probabilities: FloatArray) -> FloatArray:
        """Return the mean of the distribution of each image, (n,).

        Args:
            probabilities: (n, bins), rows sum to 1.
        """
        return np.asarray(probabilities @ np.asarray(self.centres), np.float64)

    def quantiles(self, probabilities: FloatArray, levels: Sequence[float]) -> FloatArray:
        """Return quantiles of the distribution of each image.

        Args:
            probabilities: (n, bins), rows sum to 1.
            levels: k levels, each from 0 to 1.

        Returns:
            (n, k).
        """
        edges = np.asarray(self.edges)
        below = np.zeros((len(probabilities), len(edges)))
        np.cumsum(probabilities, axis=1, out=below[:, 1:])
        found = np.empty((len(below), len(levels)))
        for i, heights in enumerate(below):
            found[i] = np.interp(np.asarray(levels) * heights[-1], heights, edges)
        return found

    def intervals(self, probabilities: FloatArray) -> FloatArray | None:
        """Return the prediction interval of each image, (n, 2): lower and upper end.

        Args:
            probabilities: (n, bins), rows sum to 1.

        Returns:
            ``None`` where there is no offset.
        """
        if self.offset is None:
            return None
        ends = self.quantiles(probabilities, tails(self.coverage))
        ends += np.array([-self.offset, self.offset])
        middle = ends.mean(axis=1)
        return np.stack([np.minimum(ends[:, 0], middle), np.maximum(ends[:, 1], middle)], axis=1)

    def is_clear(self, intervals: FloatArray | None, n: int) -> BoolArray:
        """Return for which of n images the interval is narrow enough to answer, (n,)."""
        if self.tolerance is None:
            return np.ones(n, bool)
        if intervals is None:
            return np.zeros(n, bool)
        return np.asarray(intervals[:, 1] - intervals[:, 0] <= self.tolerance)

    def to_json(self) -> dict[str, Any]:
        """Return the values for ``classifier.json``."""
        return {**vars(self), "edges": list(self.edges), "centres": list(self.centres)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], bins: int) -> Self:
        """Check the output of ``to_json``.

        Args:
            data: The object.
            bins: Number of bins.

        Raises:
            ClassifierError: It is incomplete, or a value is out of range.
        """
        try:
            edges = tuple(_finite(each) for each in data["edges"])
            centres = tuple(_finite(each) for each in data["centres"])
            if not len(edges) - 1 == len(centres) == bins or [*edges] != sorted({*edges}):
                raise ValueError(f"expected {bins + 1} ascending edges and {bins} centres")
            offset, tolerance = data["offset"], data["tolerance"]
            return cls(
                name=text(data["name"]),
                edges=edges,
                centres=centres,
                mean=_finite(data["mean"]),
                coverage=number(data["coverage"], 0.01, 0.999),
                offset=None if offset is None else _finite(offset),
                tolerance=None if tolerance is None else number(tolerance, 0, _LARGEST),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ClassifierError(
                "The value in classifier.json is incomplete or wrong "
                f"({type(error).__name__}: {str(error)[:80]}). Restore the file from the training "
                "run, or train again."
            ) from error


def tails(coverage: float) -> tuple[float, float]:
    """Return the levels of the two quantiles that a share of the distribution lies between."""
    return (1 - coverage) / 2, (1 + coverage) / 2


def fit(
    rule: ValueRule, probabilities: FloatArray, values: FloatArray, groups: Sequence[str]
) -> ValueRule:
    """Choose the offset of the intervals on held-out images.

    The offset is a quantile of how far the numbers lie outside the interval of the distribution,
    weighted by patient: each of K patients weighs 1 / (K + 1), shared by its images. So the
    interval of an image of a new patient contains its number with the promised coverage or more.

    Args:
        rule: Without an offset.
        probabilities: (n, bins) of held-out images; n >= 1.
        values: (n,) their numbers.
        groups: n patients, "" for an image without one.

    Returns:
        The rule with the offset; without one where there are fewer than ``K`` patients for which
        ``coverage * (K + 1) <= K``.

    Raises:
        DataError: There are no images.
    """
    if not len(values):
        raise DataError("Cannot fit prediction intervals: there are no held-out images.")
    ends = rule.quantiles(probabilities, tails(rule.coverage))
    outside = np.maximum(ends[:, 0] - values, values - ends[:, 1])
    _, patient = numbered(groups)
    return replace(rule, offset=quantile_by_patient(outside, patient, rule.coverage))


def value_evidence(rule: ValueRule, of_unit: UnitRule, probabilities: FloatArray) -> Evidence:
    """Return what the number of one unit rests on.

    Args:
        rule: How probabilities of the unit become a number.
        of_unit: How its images become one answer.
        probabilities: (n, bins) of its images, at least one.
    """
    p = without_each(of_unit, probabilities)
    answers, own = rule.predicted(p), rule.predicted(probabilities)
    changes, interval = answers[0] - answers[1:], rule.intervals(p[:1])
    return Evidence(
        decisive=decisive(changes / (rule.edges[-1] - rule.edges[0])),
        changes=tuple(map(float, changes)),
        agree=None if interval is None else int(inside(own, interval).sum()),
        lowest=float(own.min()),
        highest=float(own.max()),
    )


def inside(true: FloatArray, intervals: FloatArray) -> BoolArray:
    """Return which (n,) numbers lie in their (n, 2) intervals, or all in one, ends included."""
    return np.asarray((intervals[:, 0] <= true) & (true <= intervals[:, 1]))


def _finite(value: Any) -> float:
    return number(value, -_LARGEST, _LARGEST)
