"""95 % confidence intervals: exact ones, and linearised ones over patients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from lucency.metrics.arrays import BoolArray, FloatArray, IntArray

Scale = Literal["plain", "log", "logit", "Fisher"]
_TAIL = 0.025  # probability outside the interval, at each end
NO_CLUSTER = -1  # cluster of an added count
_NOISE = 1e-13  # a standard error that rounding alone can cause


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval and the method of the interval; nan means unknown."""

    value: float
    low: float
    high: float
    method: str

    def to_json(self) -> dict[str, float | str | None]:
        """Return the four fields for strict JSON; nan becomes null."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        known = {name: float(x) if math.isfinite(x) else None for name, x in figures.items()}
        return {**known, "method": self.method}


@dataclass(frozen=True)
class Linear:
    """A value, and its derivatives with respect to the weights of n images, (n,); they sum to 0."""

    value: float
    influence: FloatArray


UNDEFINED = Estimate(math.nan, math.nan, math.nan, "undefined")


def clopper_pearson(successes: float, n: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a proportion (Clopper & Pearson 1934).

    Args:
        successes: In 0..n; a fraction where n is an effective sample size.
        n: Independent trials; 0 gives (0, 1).

    Returns:
        The lower and the upper end.
    """
    failures = n - successes
    low = float(special.betaincinv(successes, failures + 1, _TAIL)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - _TAIL)) if failures > 0 else 1.0
    return low, high


def proportion(hits: ArrayLike, cluster: ArrayLike) -> Estimate:
    """Estimate a proportion.

    The interval is Clopper and Pearson's. Where a patient has several images, it is computed at
    the effective sample size (Korn & Graubard 1998).

    Args:
        hits: (n,) true or 1 for hits; n may be 0.
        cluster: (n,) patient of each image.

    Returns:
        The proportion; all nan without images.
    """
    counted = np.asarray(hits, np.float64)
    _, own = np.unique(np.asarray(cluster), return_inverse=True)
    if not len(counted):
        return UNDEFINED
    share = float(counted.mean())
    if own.max() + 1 == len(counted):
        return Estimate(share, *clopper_pearson(counted.sum(), len(counted)), "Clopper-Pearson")
    n = _effective_size(counted, own)
    return Estimate(share, *clopper_pearson(share * n, n), "Clopper-Pearson, clustered by patient")


def _effective_size(hits: FloatArray, cluster: IntArray) -> float:
    """Return the effective sample size, in 1..n."""
    n, share = len(hits), hits.mean()
    error, _ = standard_error((hits - share) / n, cluster)
    if not error > 0:
        # Without variation the correlation within patients is unknown: assume 1 (Kish 1965).
        return float(n**2 / (np.bincount(cluster) ** 2).sum())
    # The exact interval accounts for few mistakes: only unequal patients lower the freedom.
    _, freedom = standard_error(np.ones(n), cluster)
    few = special.stdtrit(n - 1, 1 - _TAIL) / special.stdtrit(freedom, 1 - _TAIL)
    # Patients may balance each other by chance: the effective size never exceeds n.
    return float(max(1.0, min(n, share * (1 - share) / error**2) * few**2))


def standard_error(influence: FloatArray, cluster: ArrayLike) -> tuple[float, float]:
    """Return the standard error of a metric over patients, and its degrees of freedom.

    The sum of a patient's influences, divided by the share of the other patients' images, is about
    the change when this patient is deleted (jackknife). The degrees of freedom are Satterthwaite's
    (1946) for a sum of squares with unequal variances: few when a few mistakes or a few patients
    with many images make up most of the error.

    Args:
        influence: (n,) derivative of the metric with respect to each image's weight; sums to 0.
        cluster: (n,) number of the patient, from 0; NO_CLUSTER for an added count, whose square
            counts in the error and not in the degrees of freedom.

    Returns:
        The error (0 without variation) and the degrees of freedom, from 1 to patients - 1; both
        nan with fewer than two patients.
    """
    known = np.asarray(cluster)
    there = known != NO_CLUSTER
    _, own = np.unique(known[there], return_inverse=True)
    sizes = np.bincount(own)
    patients = len(sizes)
    if patients < 2:
        return math.nan, math.nan
    squares = (np.bincount(own, influence[there]) / (1 - sizes / len(own))) ** 2
    total = squares.sum()
    added = (influence[~there] ** 2).sum()
    error = math.sqrt((patients - 1) / patients * total + added)
    freedom = 3 * total**2 / (squares**2).sum() - 1 if total > _NOISE**2 else 1.0
    return error if error > _NOISE else 0.0, float(min(max(freedom, 1.0), patients - 1))


# Transformation, derivative, inverse: on these scales the error hardly depends on the value.
_SCALES: dict[Scale, tuple[Callable[[FloatArray], FloatArray], ...]] = {
    "plain": (lambda x: x, np.ones_like, lambda x: x),
    "log": (np.log, lambda x: 1 / x, np.exp),
    "logit": (special.logit, lambda x: 1 / (x * (1 - x)), special.expit),
    "Fisher": (np.arctanh, lambda x: 1 / (1 - x**2), np.tanh),
}


def t_interval(value: float, error: float, freedom: float, scale: Scale) -> tuple[float, float]:
    """Return the 95 % t interval of a value, symmetric on a scale.

    Args:
        value: The value.
        error: Its standard error, on the untransformed scale.
        freedom: Degrees of freedom of the error.
        scale: "plain", "log" (above 0), "logit" (between 0 and 1) or "Fisher" (-1 and 1).

    Returns:
        The lower and the upper end; nan when the error is 0 or unknown (a point would suggest
        certainty) or the value lies at the end of the scale.
    """
    if not error > 0:
        return math.nan, math.nan
    transform, slope, inverse = _SCALES[scale]
    given = np.asarray(value, np.float64)
    reach = special.stdtrit(freedom, 1 - _TAIL) * error
    with np.errstate(all="ignore"):
        ends = transform(given) + reach * slope(given) * np.array([-1.0, 1.0])
        low, high = inverse(ends) if np.isfinite(transform(given)) else (math.nan, math.nan)
    return float(low), float(high)


def linearised(
    value: float, linear: Linear, cluster: ArrayLike, scale: Scale, method: str = "linearised"
) -> Estimate:
    """Estimate a metric with the t interval of its linearisation.

    Args:
        value: The value; may be infinite.
        linear: The metric, or a smoothed form of it, linearised. The interval is around this one
            and is extended to contain ``value``.
        cluster: (n,) patient of each image; see ``standard_error``.
        scale: Of the interval; see ``t_interval``.
        method: Name of the method; "clustered by patient" is added where it applies.

    Returns:
        The estimate; all nan where it is undefined, both ends nan without variation.
    """
    if math.isnan(value):
        return UNDEFINED
    low, high = t_interval(linear.value, *standard_error(linear.influence, cluster), scale)
    name = named(method if scale == "plain" else f"{method}, {scale}", cluster)
    if math.isnan(low):
        return Estimate(value, math.nan, math.nan, f"{name}, no variation")
    return Estimate(value, min(low, value), max(high, value), name)


def clustered(cluster: ArrayLike) -> bool:
    """Return whether some patient has several images."""
    known = np.asarray(cluster)
    known = known[known != NO_CLUSTER]
    return len(np.unique(known)) < len(known)


def named(method: str, cluster: ArrayLike) -> str:
    """Return the name of the method, with "clustered by patient" where it applies."""
    return f"{method}, clustered by patient" if clustered(cluster) else method


def is_one_class(positive: BoolArray) -> bool:
    """Return whether positives or negatives are absent."""
    return bool(positive.all() or not positive.any())
