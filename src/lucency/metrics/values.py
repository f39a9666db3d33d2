"""Metrics of predicted numbers, their influences, and estimates with intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lucency.metrics.arrays import BoolArray, FloatArray, ratio
from lucency.metrics.influences import of_concordance, of_mean
from lucency.metrics.intervals import (
    UNDEFINED,
    Estimate,
    Linear,
    Scale,
    clopper_pearson,
    linearised,
    proportion,
)

LIMIT = 1.96  # standard deviations from the bias to a limit of agreement


def value_figures(
    true: FloatArray, predicted: FloatArray, weights: FloatArray
) -> dict[str, FloatArray]:
    """Compute errors, R2 and concordance under every row of weights.

    Args:
        true: (n,) true numbers.
        predicted: (n,) predicted ones, in the same unit.
        weights: (..., n) sample weights.

    Returns:
        "mean_absolute_error", "root_mean_squared_error", "r2" and "concordance", each (...). The
        last two are nan where the true numbers of positive weight are equal.
    """
    # Around a common centre, where squares lose no digits.
    x, y = true - true.mean(), predicted - true.mean()
    total, errors = weights.sum(axis=-1), y - x
    mean, other = ratio(weights @ x, total), ratio(weights @ y, total)
    spread = ratio(weights @ x**2, total) - mean**2
    spread = np.where(spread > _NOISE * np.square(x).max(initial=0), spread, 0.0)
    wide = spread + ratio(weights @ y**2, total) - other**2 + (mean - other) ** 2
    square = ratio(weights @ errors**2, total)
    return {
        "mean_absolute_error": ratio(weights @ abs(errors), total),
        "root_mean_squared_error": np.sqrt(square),
        "r2": 1 - ratio(square, np.where(spread > 0, spread, np.nan)),
        "concordance": 1 - ratio(square, np.where(spread > 0, wide, np.nan)),
    }


_NOISE = 1e-14  # a variance, relative to the largest square, that rounding alone can cause


def of_root_mean_squared_error(errors: FloatArray) -> Linear:
    """Linearise the root mean squared error of (n,) errors."""
    square = of_mean(errors**2)
    value = math.sqrt(square.value)
    return Linear(value, square.influence / (2 * value) if value else square.influence)


def of_unexplained(true: FloatArray, predicted: FloatArray) -> Linear:
    """Linearise 1 - R2: the squared errors over the squares around the mean of the true numbers.

    The value is nan where all (n,) true numbers are equal.
    """
    if not np.ptp(true) > 0:
        return _undefined(len(true))
    squares, around = (predicted - true) ** 2, (true - true.mean()) ** 2
    value = float(squares.sum() / around.sum())
    return Linear(value, (squares - value * around) / around.sum())


def of_pearson(true: FloatArray, predicted: FloatArray) -> Linear:
    """Linearise Pearson's correlation of (n,) numbers; nan where either are all equal."""
    if not (np.ptp(true) > 0 and np.ptp(predicted) > 0):
        return _undefined(len(true))
    x, y = ((each - each.mean()) / each.std() for each in (true, predicted))
    value = float((x * y).mean())
    return Linear(value, (x * y - value * (x**2 + y**2) / 2) / len(x))


def of_limit(errors: FloatArray, side: int) -> Linear:
    """Linearise a limit of agreement: the mean error and 1.96 standard deviations.

    Args:
        errors: (n,) predicted less true numbers.
        side: -1 for the lower limit, 1 for the upper one.

    Returns:
        The limit, with the standard deviation of n - 1 degrees of freedom; nan for one error.
    """
    n = len(errors)
    if n < 2:
        return _undefined(n)
    mean, sd = of_mean(errors), float(errors.std(ddof=1))
    apart = (errors - mean.value) ** 2
    change = (apart - apart.mean()) / (2 * sd * n) if sd else np.zeros(n)
    return Linear(mean.value + side * LIMIT * sd, mean.influence + side * LIMIT * change)


def pinball_losses(true: FloatArray, quantiles: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the pinball loss of each image, the mean over levels, (n,).

    Args:
        true: (n,) true numbers.
        quantiles: (n, k) predicted quantiles.
        levels: (k,) their levels, between 0 and 1.

    Returns:
        The mean of level * (true - quantile) where the truth is above, and of (1 - level) *
        (quantile - true) where it is below (Koenker & Bassett 1978).
    """
    apart = true[:, None] - quantiles
    return np.asarray(np.maximum(levels * apart, (levels - 1) * apart).mean(axis=1))


def coverage(covered: BoolArray, cluster: ArrayLike) -> Estimate:
    """Estimate the probability that a set or an interval contains the truth.

    Every patient has the same weight. A patient's share of covered images varies less than a
    single image, so Clopper and Pearson's interval for n = patients is conservative.

    Args:
        covered: (n,) whether each set or interval contains the truth; n may be 0.
        cluster: (n,) patient of each image.

    Returns:
        The coverage; all nan without images.
    """
    if not len(covered):
        return UNDEFINED
    _, patient = np.unique(np.asarray(cluster), return_inverse=True)
    shares = np.bincount(patient, covered) / np.bincount(patient)
    patients = len(shares)
    ends = clopper_pearson(float(shares.sum()), patients)
    single = patients == len(covered)
    method = "Clopper-Pearson" if single else "Clopper-Pearson over patients"
    return Estimate(float(shares.mean()), *ends, method)


def value_estimates(
    true: FloatArray, predicted: FloatArray, cluster: ArrayLike
) -> dict[str, Estimate]:
    """Estimate how well numbers are predicted.

    Args:
        true: (n,) true numbers; n >= 1.
        predicted: (n,) predicted ones, in the same unit.
        cluster: (n,) patient of each image.

    Returns:
        By name, in the unit of the number: "mean_absolute_error", "root_mean_squared_error",
        "mean_error" (predicted less true: the bias) and the limits of agreement "agreement_low"
        and "agreement_high" (Bland & Altman 1986); without a unit "r2", "pearson" and
        "concordance" (Lin 1989), which are nan where all true numbers are equal. An interval is
        nan with one patient, and where nothing varies.
    """
    errors = predicted - true
    varies = bool(np.ptp(true) > 0)
    left = _linear(of_unexplained(true, predicted), cluster, "log", "linearised, 1 - R2")
    return {
        "mean_absolute_error": mean_of(abs(errors), cluster),
        "root_mean_squared_error": _linear(of_root_mean_squared_error(errors), cluster, "log"),
        "r2": Estimate(1 - left.value, 1 - left.high, 1 - left.low, left.method),
        "mean_error": _linear(of_mean(errors), cluster, "plain"),
        "agreement_low": _linear(of_limit(errors, -1), cluster, "plain"),
        "agreement_high": _linear(of_limit(errors, 1), cluster, "plain"),
        "pearson": _linear(of_pearson(true, predicted), cluster, "Fisher"),
        "concordance": _linear(of_concordance(true, predicted), cluster, "Fisher")
        if varies
        else UNDEFINED,
    }


def decimals(like: float, digits: int = 3) -> int:
    """Return how many decimals show a number to so many digits, 0 to 12.

    Args:
        like: The largest of the numbers that stand beside each other.
        digits: At least 1.
    """
    size = math.floor(math.log10(abs(like))) if like else 0
    return min(12, max(0, digits - 1 - size))


def mean_of(terms: FloatArray, cluster: ArrayLike) -> Estimate:
    """Estimate the mean of (n,) terms that are not negative, such as errors or widths; n >= 1."""
    return _linear(of_mean(terms), cluster, "log")


def below_quantiles(
    true: FloatArray, quantiles: FloatArray, cluster: ArrayLike
) -> Sequence[Estimate]:
    """Estimate the share of (n,) true numbers at or below each of (n, k) predicted quantiles."""
    return [proportion(true <= each, cluster) for each in quantiles.T]


def _linear(
    found: Linear, cluster: ArrayLike, scale: Scale, method: str = "linearised"
) -> Estimate:
    return linearised(found.value, found, cluster, scale, method)


def _undefined(n: int) -> Linear:
    return Linear(math.nan, np.zeros(n))
