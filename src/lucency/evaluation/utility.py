"""What a classifier is worth where it will be used: at another prevalence, for a stated harm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from lucency.errors import ConfigError
from lucency.metrics import (
    UNDEFINED,
    BoolArray,
    Estimate,
    FloatArray,
    IntArray,
    percentiles,
    rank,
    ratio,
)

PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)
THRESHOLDS = np.arange(1, 100) / 100
_TAILS = (0.025, 0.975)
_LEVELS = (np.arange(200) + 0.5) / 200  # of either rate; all their pairs are 40,000 likely cases


def predictive_values(
    positive: BoolArray,
    decided: BoolArray,
    owner: IntArray,
    prevalences: Sequence[float] = PREVALENCES,
) -> list[dict[str, Any]]:
    """Estimate how often decisions come true at other shares of positives.

    By Bayes' rule from sensitivity and specificity, which are taken to be the same there. The
    intervals come from Jeffreys' distributions of both (Brown, Cai & DasGupta 2001), each as wide
    as its number of independent images says: images of one patient count as fewer, by the
    design effect (Rao & Scott 1992).

    Args:
        positive: (n,) whether each image is of the positive class.
        decided: (n,) whether it was decided to be.
        owner: (n,) number of the patient.
        prevalences: Shares of positives, each in (0, 1).

    Returns:
        For each, in rising order and once: "prevalence", and the Estimates "ppv" and "npv"; nan
        where a class is absent.

    Raises:
        ConfigError: A prevalence is not in (0, 1).
    """
    for prevalence in prevalences:
        _check_prevalence(prevalence)
    wanted = sorted(set(prevalences))
    if positive.all() or not positive.any():
        return [{"prevalence": share, "ppv": UNDEFINED, "npv": UNDEFINED} for share in wanted]
    rates = (
        _rate(decided[positive], owner[positive]),
        _rate(~decided[~positive], owner[~positive]),
    )
    single = len(np.unique(owner)) == len(owner)
    method = "Jeffreys" if single else "Jeffreys, clustered by patient"
    ppv, npv = _likelihood_ratio(*rates), _likelihood_ratio(*rates[::-1])
    return [
        {
            "prevalence": share,
            "ppv": _posterior(share, ppv, method),
            "npv": _posterior(1 - share, npv, method),
        }
        for share in wanted
    ]


def _check_prevalence(prevalence: float) -> None:
    if not 0 < prevalence < 1:
        raise ConfigError(
            "A prevalence is the share of the positive class, between 0 and 1. "
            f"Received: {prevalence!r}"
        )


def _rate(hits: BoolArray, owner: IntArray) -> tuple[float, float]:
    """Return the share of hits and how many independent images it is worth."""
    n, share = len(hits), float(hits.mean())
    _, patient = np.unique(owner, return_inverse=True)
    patients = int(patient.max()) + 1
    if patients == n:
        return share, n
    if share in (0.0, 1.0) or patients < 2:
        # Nothing shows how alike the images of one patient are: entirely (Kish 1965).
        return share, float(n**2 / (np.bincount(patient) ** 2).sum())
    apart = np.bincount(patient, hits - share)
    variance = patients / (patients - 1) * (apart**2).sum() / n**2
    return share, min(float(n), max(1.0, share * (1 - share) / variance))


def _likelihood_ratio(
    among: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float, float]:
    """Return rate / (1 - other rate) and its interval; where both are 0 the value is nan."""
    (rate, n), (spared, m) = among, other
    alarms = 1 - spared
    value = rate / alarms if alarms else math.inf if rate else math.nan
    above = special.betaincinv(rate * n + 0.5, (1 - rate) * n + 0.5, _LEVELS)
    below = special.betaincinv(alarms * m + 0.5, spared * m + 0.5, _LEVELS)
    low, high = np.quantile(above[:, None] / below, _TAILS)
    # Without a false alarm none at all cannot be ruled out; likewise without a hit.
    return value, float(low) if rate else 0.0, float(high) if alarms else math.inf


def _posterior(prior: float, ratios: tuple[float, float, float], method: str) -> Estimate:
    """Turn a prior probability into that after the evidence (Bayes); infinite evidence gives 1."""
    value, low, high = (
        1.0 if math.isinf(x) else prior * x / (prior * x + 1 - prior) for x in ratios
    )
    return Estimate(value, low, high, "undefined" if math.isnan(value) else method)


def decision_curve(
    probability: FloatArray,
    positive: BoolArray,
    prevalence: float,
    weights: Iterable[FloatArray],
    thresholds: FloatArray = THRESHOLDS,
) -> dict[str, Any]:
    """Compute the net benefit of acting on a probability (Vickers & Elkin 2006).

    NB(t) = P TPR(t) - (1 - P) FPR(t) t / (1 - t): true positives for each image examined, less
    the false ones at the exchange rate that acting at t implies. Treating none is 0.

    Args:
        probability: (n,) of the positive class, at this prevalence (see ``with_prior``).
        positive: (n,) whether each image is of that class.
        prevalence: Share P of positives where it is used, in (0, 1).
        weights: Parts (rows, n) of ``metrics.bootstrap_weights``.
        thresholds: (points,) in (0, 1): the probability that is enough to act.

    Returns:
        "prevalence", "threshold", of the model "model", "low" and "high" (95 % band), and of
        treating everyone "all", rounded to 6 digits; nan where a class is absent.

    Raises:
        ConfigError: The prevalence is not in (0, 1).
    """
    _check_prevalence(prevalence)
    ranking = rank(positive, probability)
    # How many levels, the highest first, are at the threshold or above.
    levels = np.searchsorted(-ranking.thresholds, -thresholds, side="right")
    odds = thresholds / (1 - thresholds)

    def net_benefit(rows: FloatArray) -> FloatArray:
        cuts = ranking.cut(rows)
        tpr, fpr = (_shares(counts)[:, levels] for counts in (cuts.tp, cuts.fp))
        return prevalence * tpr - (1 - prevalence) * fpr * odds

    value = net_benefit(np.ones((1, len(positive))))[0]
    low, high = percentiles(np.concatenate([net_benefit(rows) for rows in weights]))
    everyone = prevalence - (1 - prevalence) * odds
    curves = {"threshold": thresholds, "model": value, "low": low, "high": high, "all": everyone}
    return {"prevalence": prevalence, **{x: np.round(y, 6).tolist() for x, y in curves.items()}}


def _shares(counts: FloatArray) -> FloatArray:
    """Return counts (rows, levels) as shares of the last, with none before them."""
    return ratio(np.pad(counts, ((0, 0), (1, 0))), counts[:, -1:])


def with_prior(probabilities: ArrayLike, old: Sequence[float], new: Sequence[float]) -> FloatArray:
    """Correct probabilities for other shares of the classes (Saerens, Latinne & Decaestecker 2002).

    Args:
        probabilities: (n, classes), rows sum to 1.
        old: Class shares that they assume, each above 0.
        new: Class shares to assume instead, each above 0.

    Returns:
        (n, classes) float64, rows sum to 1.

    Raises:
        ConfigError: Shares that are not above 0, do not sum to 1 or are not one for each class.
    """
    given = np.asarray(probabilities, np.float64)
    for shares in (old, new):
        sound = len(shares) == given.shape[1] and all(0 < share <= 1 for share in shares)
        if not sound or abs(sum(shares) - 1) > 1e-6:
            raise ConfigError(
                f"Expected {given.shape[1]} class shares above 0 that sum to 1. "
                f"Received: {list(shares)}"
            )
    weighted = given * (np.asarray(new) / np.asarray(old))
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))
