"""Clinical utility: predictive values at a prevalence, and net benefit at a threshold."""

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
_LEVELS = (np.arange(200) + 0.5) / 200  # quantiles of each rate; 40,000 pairs


def predictive_values(
    positive: BoolArray,
    decided: BoolArray,
    cluster: IntArray,
    prevalences: Sequence[float] = PREVALENCES,
) -> list[dict[str, Any]]:
    """Estimate predictive values at other prevalences.

    Computed by Bayes' rule, assuming the same sensitivity and specificity there. The intervals
    come from the Jeffreys posteriors of both (Brown, Cai & DasGupta 2001) at their effective sample
    sizes: several images of one patient count less, by the design effect (Rao & Scott 1992).

    Args:
        positive: (n,) whether each image is of the positive class.
        decided: (n,) whether each decision is for the positive class.
        cluster: (n,) number of the patient.
        prevalences: Each in (0, 1).

    Returns:
        For each distinct prevalence, ascending: "prevalence", and the Estimates "ppv" and "npv";
        nan where a class is absent.

    Raises:
        ConfigError: A prevalence is not in (0, 1).
    """
    for prevalence in prevalences:
        _check_prevalence(prevalence)
    wanted = sorted(set(prevalences))
    if positive.all() or not positive.any():
        return [{"prevalence": share, "ppv": UNDEFINED, "npv": UNDEFINED} for share in wanted]
    rates = (
        _rate(decided[positive], cluster[positive]),
        _rate(~decided[~positive], cluster[~positive]),
    )
    single = len(np.unique(cluster)) == len(cluster)
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
            "The prevalence of the positive class must lie between 0 and 1. "
            f"Received: {prevalence!r}"
        )


def _rate(hits: BoolArray, cluster: IntArray) -> tuple[float, float]:
    """Return the hit rate and its effective sample size."""
    n, share = len(hits), float(hits.mean())
    _, patient = np.unique(cluster, return_inverse=True)
    patients = int(patient.max()) + 1
    if patients == n:
        return share, n
    if share in (0.0, 1.0) or patients < 2:
        # The correlation within patients is unknown: assume 1 (Kish 1965).
        return share, float(n**2 / (np.bincount(patient) ** 2).sum())
    apart = np.bincount(patient, hits - share)
    variance = patients / (patients - 1) * (apart**2).sum() / n**2
    if not variance:  # each patient has the same share of hits
        return share, float(n)
    return share, min(float(n), max(1.0, share * (1 - share) / variance))


def _likelihood_ratio(
    among: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float, float]:
    """Return rate / (1 - other rate) and its interval; 0 / 0 is nan."""
    (rate, n), (other_rate, m) = among, other
    complement = 1 - other_rate
    value = rate / complement if complement else math.inf if rate else math.nan
    above = special.betaincinv(rate * n + 0.5, (1 - rate) * n + 0.5, _LEVELS)
    below = special.betaincinv(complement * m + 0.5, other_rate * m + 0.5, _LEVELS)
    low, high = np.quantile(above[:, None] / below, _TAILS)
    # Without any event of a kind, a true rate of 0 cannot be excluded.
    return value, float(low) if rate else 0.0, float(high) if complement else math.inf


def _posterior(prior: float, ratios: tuple[float, float, float], method: str) -> Estimate:
    """Apply Bayes' rule: prior probability and likelihood ratios to posterior probabilities."""
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

    NB(t) = P TPR(t) - (1 - P) FPR(t) t / (1 - t): true positives per image, less false positives
    at the exchange rate that the threshold t implies. Treating nobody is 0.

    Args:
        probability: (n,) of the positive class, at this prevalence (see ``with_prior``).
        positive: (n,) whether each image is of that class.
        prevalence: P where the classifier is used, in (0, 1).
        weights: Batches (rows, n) of ``metrics.bootstrap_weights``.
        thresholds: (points,) in (0, 1).

    Returns:
        "prevalence", "threshold", the net benefit of the "model" with its 95 % band "low" and
        "high", and of treating "all", rounded to 6 digits; nan where a class is absent.

    Raises:
        ConfigError: The prevalence is not in (0, 1).
    """
    _check_prevalence(prevalence)
    ranking = rank(positive, probability)
    # How many of the distinct scores are at the threshold or above.
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
    """Return counts (rows, levels) as shares of the last, with 0 in front."""
    return ratio(np.pad(counts, ((0, 0), (1, 0))), counts[:, -1:])


def with_prior(probabilities: ArrayLike, old: Sequence[float], new: Sequence[float]) -> FloatArray:
    """Correct probabilities for another class prior (Saerens, Latinne & Decaestecker 2002).

    Args:
        probabilities: (n, classes), rows sum to 1.
        old: Class prior of the probabilities, each above 0.
        new: Class prior to correct to, each above 0.

    Returns:
        (n, classes) float64, rows sum to 1.

    Raises:
        ConfigError: A prior has another number of classes, values of 0 or less, or no sum of 1.
    """
    given = np.asarray(probabilities, np.float64)
    for shares in (old, new):
        valid = len(shares) == given.shape[1] and all(0 < share <= 1 for share in shares)
        if not valid or abs(sum(shares) - 1) > 1e-6:
            raise ConfigError(
                f"Expected {given.shape[1]} class shares above 0 that sum to 1. "
                f"Received: {list(shares)}"
            )
    weighted = given * (np.asarray(new) / np.asarray(old))
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))
