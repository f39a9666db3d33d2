"""Calibration slope and intercept: logistic recalibration of probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from lucency.metrics.arrays import FloatArray
from lucency.metrics.intervals import Linear

_CERTAIN = 1e-15  # probabilities are clipped to at least this distance from 0 and 1
_STEPS = 100
_CLOSE = 1e-10
_LARGEST = 1e4  # a larger coefficient diverges: the outcomes are separated


def calibration_slope(probability: ArrayLike, outcomes: ArrayLike) -> Linear | None:
    """Linearise the slope of the log odds of outcomes on the predicted log odds (Cox 1958).

    Logistic regression without penalty. 1 is ideal; below 1 the probabilities are overconfident,
    above 1 underconfident.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (n,) true or 1 where the event occurred.

    Returns:
        The slope; None where no finite maximum likelihood estimate exists: the probabilities
        separate the outcomes, or all outcomes or all probabilities are equal.
    """
    odds = _log_odds(probability)
    came = np.asarray(outcomes, np.float64)
    # Separated outcomes have no finite slope: Newton's method would diverge.
    if np.ptp(odds) == 0 or came.min() == came.max() or _separated(odds, came):
        return None
    return _fitted(np.stack([odds - odds.mean(), np.ones_like(odds)], axis=1), came, 0 * odds)


def calibration_intercept(probability: ArrayLike, outcomes: ArrayLike) -> Linear | None:
    """Linearise the offset of the predicted log odds that makes their mean fit.

    Logistic regression with the slope held at 1 ("calibration in the large", Van Calster et al.
    2019). 0 is ideal; above 0, more events occurred than were predicted.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (n,) true or 1 where the event occurred.

    Returns:
        The intercept; None where all outcomes are equal.
    """
    odds = _log_odds(probability)
    came = np.asarray(outcomes, np.float64)
    if came.min() == came.max():
        return None
    return _fitted(np.ones((len(odds), 1)), came, odds)


def _log_odds(probability: ArrayLike) -> FloatArray:
    given = np.asarray(probability, np.float64)
    return np.asarray(special.logit(np.clip(given, _CERTAIN, 1 - _CERTAIN)))


def _separated(odds: FloatArray, came: FloatArray) -> bool:
    true, false = odds[came == 1], odds[came == 0]
    return bool(true.min() >= false.max() or true.max() <= false.min())


def _fitted(columns: FloatArray, came: FloatArray, offset: FloatArray) -> Linear | None:
    """Return the first coefficient of a logistic regression, fitted by Newton's method.

    The influences are those of the sandwich estimator (White 1982).
    """
    coefficients = np.zeros(columns.shape[1])
    loss = _loss(columns @ coefficients + offset, came)
    for _ in range(_STEPS):
        chance = special.expit(columns @ coefficients + offset)
        curvature = (columns.T * (chance * (1 - chance))) @ columns
        if not np.linalg.cond(curvature) < 1 / np.finfo(float).eps:
            return None
        step = np.linalg.solve(curvature, columns.T @ (came - chance))
        while (new := _loss(columns @ (coefficients + step) + offset, came)) > loss + _CLOSE:
            step /= 2
        coefficients, loss = coefficients + step, new
        if not np.abs(coefficients).max() < _LARGEST:
            return None
        if np.abs(step).max() < _CLOSE:
            scores = columns * (came - chance)[:, None]
            return Linear(float(coefficients[0]), np.linalg.solve(curvature, scores.T)[0])
    return None


def _loss(odds: FloatArray, came: FloatArray) -> float:
    """Return the negative log-likelihood: the sum of log(1 + exp(odds)) - outcome * odds."""
    return float((np.logaddexp(0, odds) - came * odds).sum())
