"""How sure a figure is: 95 % intervals that are exact, or linearised over patients."""

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
_TAIL = 0.025  # left out at each end
NOBODY = -1  # owner of an image that was added
_NOISE = 1e-13  # an error that rounding can make


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval and how the interval was found; nan is "unknown"."""

    value: float
    low: float
    high: float
    method: str

    def to_json(self) -> dict[str, float | str | None]:
        """Return the four fields for strict JSON, nan as null."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        known = {name: float(x) if math.isfinite(x) else None for name, x in figures.items()}
        return {**known, "method": self.method}


@dataclass(frozen=True)
class Linear:
    """A figure, and its derivative to the weight of each image, (n,), which sums to 0."""

    value: float
    influence: FloatArray


UNDEFINED = Estimate(math.nan, math.nan, math.nan, "undefined")


def clopper_pearson(successes: float, n: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a proportion (Clopper & Pearson 1934).

    Args:
        successes: In 0..n; need not be whole when n is an effective number.
        n: Independent trials; 0 gives (0, 1).

    Returns:
        The lower and the upper end.
    """
    failures = n - successes
    low = float(special.betaincinv(successes, failures + 1, _TAIL)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - _TAIL)) if failures > 0 else 1.0
    return low, high


def proportion(hits: ArrayLike, owner: ArrayLike) -> Estimate:
    """Estimate a share of images.

    The interval is Clopper and Pearson's. Where a patient has several images it is taken at the
    number of independent images that would tell as much (Korn & Graubard 1998).

    Args:
        hits: (n,) true or 1 for the images counted; n may be 0.
        owner: (n,) whose image it is.

    Returns:
        The share; all nan of no image.
    """
    counted = np.asarray(hits, np.float64)
    _, own = np.unique(np.asarray(owner), return_inverse=True)
    if not len(counted):
        return UNDEFINED
    share = float(counted.mean())
    if own.max() + 1 == len(counted):
        return Estimate(share, *clopper_pearson(counted.sum(), len(counted)), "Clopper-Pearson")
    n = _effective_number(counted, own)
    return Estimate(share, *clopper_pearson(share * n, n), "Clopper-Pearson, clustered by patient")


def _effective_number(hits: FloatArray, owner: IntArray) -> float:
    """Return how many independent images would tell as much as these, in 1..n."""
    n, share = len(hits), hits.mean()
    error, _ = spread((hits - share) / n, owner)
    if not error > 0:
        # Nothing varies, so nothing shows how alike a patient's images are: entirely (Kish 1965).
        return float(n**2 / (np.bincount(owner) ** 2).sum())
    # The exact interval knows of few mistakes by itself: only unequal patients lower the freedom.
    _, freedom = spread(np.ones(n), owner)
    few = special.stdtrit(n - 1, 1 - _TAIL) / special.stdtrit(freedom, 1 - _TAIL)
    # Patients can balance each other by luck: that is no reason to believe in more images.
    return float(max(1.0, min(n, share * (1 - share) / error**2) * few**2))


def spread(influence: FloatArray, owner: ArrayLike) -> tuple[float, float]:
    """Return a figure's standard error over patients, and its degrees of freedom.

    The sum of a patient's influences, divided by the share of the other patients' images, is about
    what leaving this patient out would change (jackknife). The degrees of freedom are
    Satterthwaite's (1946) for a sum of squares whose variances are as unequal as the squares show:
    few when a few mistakes or a few large patients make all of the error.

    Args:
        influence: (n,) derivative of the figure to the weight of each image; sums to 0.
        owner: (n,) number of its patient, from 0; NOBODY for an image that is not there, whose
            square counts as it is and tells nothing of the degrees of freedom.

    Returns:
        The error (0 when nothing varies) and the degrees of freedom, from 1 to one less than
        patients; both nan of fewer than two patients.
    """
    known = np.asarray(owner)
    there = known != NOBODY
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


# Forth, its derivative, and back: on these scales an error has about the same size everywhere.
_SCALES: dict[Scale, tuple[Callable[[FloatArray], FloatArray], ...]] = {
    "plain": (lambda x: x, np.ones_like, lambda x: x),
    "log": (np.log, lambda x: 1 / x, np.exp),
    "logit": (special.logit, lambda x: 1 / (x * (1 - x)), special.expit),
    "Fisher": (np.arctanh, lambda x: 1 / (1 - x**2), np.tanh),
}


def t_interval(value: float, error: float, freedom: float, scale: Scale) -> tuple[float, float]:
    """Return the 95 % t interval of a figure, symmetric on a scale.

    Args:
        value: The figure.
        error: Its standard error, before the scale.
        freedom: Degrees of freedom of the error.
        scale: "plain", "log" (above 0), "logit" (between 0 and 1) or "Fisher" (-1 and 1).

    Returns:
        The lower and the upper end; nan when the error is 0 or unknown, as a point would claim
        certainty, or the value is at the end of the scale.
    """
    if not error > 0:
        return math.nan, math.nan
    forth, slope, back = _SCALES[scale]
    given = np.asarray(value, np.float64)
    reach = special.stdtrit(freedom, 1 - _TAIL) * error
    with np.errstate(all="ignore"):
        ends = forth(given) + reach * slope(given) * np.array([-1.0, 1.0])
        low, high = back(ends) if np.isfinite(forth(given)) else (math.nan, math.nan)
    return float(low), float(high)


def linearised(
    value: float, linear: Linear, owner: ArrayLike, scale: Scale, method: str = "linearised"
) -> Estimate:
    """Estimate a figure with the t interval of its linearisation.

    Args:
        value: The figure; may be infinite.
        linear: It, or a smoothed form of it, which the interval is around; it is widened to hold
            the figure.
        owner: (n,) whose image it is; see ``spread``.
        scale: The interval's; see ``t_interval``.
        method: Its name; what heeds patients says so.

    Returns:
        The figure; all nan where it is undefined, its ends where nothing varies.
    """
    if math.isnan(value):
        return UNDEFINED
    low, high = t_interval(linear.value, *spread(linear.influence, owner), scale)
    name = named(method if scale == "plain" else f"{method}, {scale}", owner)
    if math.isnan(low):
        return Estimate(value, math.nan, math.nan, f"{name}, no variation")
    return Estimate(value, min(low, value), max(high, value), name)


def clustered(owner: ArrayLike) -> bool:
    """Return whether some patient has several images."""
    known = np.asarray(owner)
    known = known[known != NOBODY]
    return len(np.unique(known)) < len(known)


def named(method: str, owner: ArrayLike) -> str:
    """Return the method's name, and whether it heeds patients."""
    return f"{method}, clustered by patient" if clustered(owner) else method


def is_one_class(positive: BoolArray) -> bool:
    """Return whether positives or negatives are absent."""
    return bool(positive.all() or not positive.any())
