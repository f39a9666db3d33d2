"""Evaluate predicted numbers: error, agreement, quantiles, intervals, and answers withheld."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lucency import metrics
from lucency.calibration.values import ValueRule, inside, tails
from lucency.evaluation.figures import REPLICATES
from lucency.evaluation.predictions import Predictions
from lucency.evaluation.result import Conditions, Evaluation
from lucency.evaluation.selective import COVERAGE
from lucency.evaluation.subgroups import parts
from lucency.metrics import BoolArray, Estimate, FloatArray, IntArray

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)  # of the quantiles that are compared with truth
_POINTS = 500  # images in the document, for drawings
_THIRDS = (1 / 3, 2 / 3)


def evaluate_values(predictions: Predictions, conditions: Conditions, seed: int = 0) -> Evaluation:
    """Evaluate predicted numbers.

    Args:
        predictions: With ``values`` and ``predicted``; at least one image.
        conditions: With ``value``.
        seed: Of the bootstrap.

    Returns:
        ``metrics`` of ``metrics.value_estimates``, with "pinball_loss" over ``LEVELS``,
        "interval_coverage" and "interval_width"; ``baseline`` of always answering the mean of the
        training numbers; all else in ``values``, ``selective`` and ``subgroups``.
    """
    true, predicted, rule = given(predictions, conditions)
    p, cluster = predictions.probabilities, metrics.cluster_numbers(predictions.groups)
    intervals, quantiles = rule.intervals(p), rule.quantiles(p, LEVELS)
    widths = np.diff(rule.quantiles(p, tails(rule.coverage)), axis=1)[:, 0]
    weights = metrics.bootstrap_weights(cluster, REPLICATES, seed)
    return Evaluation(
        n=len(true),
        groups=int(cluster.max()) + 1 if any(predictions.groups) else None,
        classes=predictions.classes,
        positive=None,
        baseline=_baseline(true, rule.mean),
        metrics=_estimates(true, predicted, intervals, quantiles, cluster),
        per_class={},
        confusion=(),
        curves={},
        calibration={},
        operating_point={"rule": conditions.task.decision, "threshold": None, "validation": None},
        predictive_values=[],
        decision_curve=None,
        selective={
            "risk_coverage": error_coverage(abs(predicted - true), widths, weights),
            "conformal": [],
            "abstention": _abstention(
                true,
                predicted,
                predictions.ood_scores,
                rule.is_clear(intervals, len(true)),
                cluster,
            ),
        },
        subgroups=_subgroups(conditions.attributes, true, predicted, predictions.groups),
        values={
            "name": rule.name,
            "points": _points(true, predicted),
            "quantiles": _quantiles(true, quantiles, cluster),
            "coverage": rule.coverage,
            "offset": rule.offset,
            "tolerance": rule.tolerance,
            "thirds": _thirds(true, predicted, intervals, cluster),
        },
    )


def given(
    predictions: Predictions, conditions: Conditions
) -> tuple[FloatArray, FloatArray, ValueRule]:
    """Return the true and the predicted numbers, and the rule that made them.

    Raises:
        ValueError: These are no predictions of numbers.
    """
    true, predicted, rule = predictions.values, predictions.predicted, conditions.value
    if true is None or predicted is None or rule is None:
        raise ValueError("these are no predictions of numbers")
    return true, predicted, rule


def _estimates(
    true: FloatArray,
    predicted: FloatArray,
    intervals: FloatArray | None,
    quantiles: FloatArray,
    cluster: IntArray,
) -> dict[str, Estimate]:
    """Estimate how well numbers, their quantiles and their intervals are predicted."""
    losses = metrics.pinball_losses(true, quantiles, np.asarray(LEVELS))
    found = metrics.value_estimates(true, predicted, cluster)
    found["pinball_loss"] = metrics.mean_of(losses, cluster)
    return found | {
        "interval_coverage": metrics.UNDEFINED
        if intervals is None
        else metrics.coverage(inside(true, intervals), cluster),
        "interval_width": metrics.UNDEFINED
        if intervals is None
        else metrics.mean_of(intervals[:, 1] - intervals[:, 0], cluster),
    }


def _baseline(true: FloatArray, mean: float) -> dict[str, float]:
    """Return the figures of always answering one number."""
    found = metrics.value_figures(true, np.full(len(true), mean), np.ones(len(true)))
    return {"value": mean, **{name: float(x) for name, x in found.items() if name != "concordance"}}


def error_coverage(
    errors: FloatArray, widths: FloatArray, weights: Iterable[FloatArray]
) -> dict[str, list[float]]:
    """Return the mean absolute error of the images with the narrowest intervals.

    Args:
        errors: (n,) absolute errors; n >= 1.
        widths: (n,) of the intervals. Errors of equally wide ones are spread evenly.
        weights: Batches (rows, n) of ``metrics.bootstrap_weights``.

    Returns:
        "coverage" (0.01 to 1), "risk" in the unit of the number, and its 95 % band "low" and
        "high", 100 numbers each.
    """
    order = np.argsort(widths, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(widths[order])), len(order) - 1)
    value = _mean_errors(errors[order], ends, np.ones((1, len(errors))))[0]
    drawn = [_mean_errors(errors[order], ends, rows[:, order]) for rows in weights]
    low, high = metrics.percentiles(np.concatenate(drawn))
    curves = {"coverage": COVERAGE, "risk": value, "low": low, "high": high}
    return {name: [float(f"{x:.6g}") for x in points] for name, points in curves.items()}


def _mean_errors(errors: FloatArray, ends: IntArray, rows: FloatArray) -> FloatArray:
    """Return the mean error at each coverage under each row of weights, (rows, points)."""
    sums, counts = (
        np.pad(np.cumsum(x, axis=1)[:, ends], ((0, 0), (1, 0))) for x in (rows * errors, rows)
    )
    kept = COVERAGE * counts[:, -1:]
    found = [np.interp(*row) for row in zip(kept, counts, sums, strict=True)]
    return np.asarray(np.array(found) / kept)


def _abstention(
    true: FloatArray,
    predicted: FloatArray,
    scores: FloatArray | None,
    clear: BoolArray,
    cluster: IntArray,
) -> dict[str, Any]:
    """Evaluate the answers that remain where intervals are too wide or images unknown."""
    n = len(true)
    outside = np.zeros(n, bool) if scores is None else ~(scores <= 1)
    kept = clear & ~outside
    found = (
        metrics.value_estimates(true[kept], predicted[kept], cluster[kept]) if kept.any() else {}
    )
    return {
        "n": n,
        "predicted": int(kept.sum()),
        "out_of_distribution": int(outside.sum()),
        "ambiguous": int((~clear & ~outside).sum()),
        "metrics": {
            "answered": metrics.proportion(kept, cluster),
            **{
                name: found.get(name, metrics.UNDEFINED)
                for name in ("mean_absolute_error", "root_mean_squared_error")
            },
        },
    }


def _points(true: FloatArray, predicted: FloatArray) -> dict[str, list[float]]:
    """Return true and predicted numbers of at most 500 images, evenly spread by the true one."""
    order = np.lexsort((predicted, true))
    places = np.unique(np.linspace(0, len(order) - 1, min(len(order), _POINTS)).round().astype(int))
    shown = order[places]
    return {"true": true[shown].tolist(), "predicted": predicted[shown].tolist()}


def _quantiles(true: FloatArray, quantiles: FloatArray, cluster: IntArray) -> list[dict[str, Any]]:
    """Return the share of true numbers at or below each predicted quantile."""
    shares = metrics.below_quantiles(true, quantiles, cluster)
    return [{"level": k, "below": each} for k, each in zip(LEVELS, shares, strict=True)]


def _thirds(
    true: FloatArray, predicted: FloatArray, intervals: FloatArray | None, cluster: IntArray
) -> list[dict[str, Any]]:
    """Evaluate the low, the middle and the high third of the true numbers by itself."""
    which = np.searchsorted(np.quantile(true, _THIRDS), true, side="left")
    rows = []
    for members in (which == k for k in range(len(_THIRDS) + 1)):
        if not members.any():
            continue  # many images have one number
        found = metrics.value_estimates(true[members], predicted[members], cluster[members])
        rows.append(
            {
                "low": float(true[members].min()),
                "high": float(true[members].max()),
                "n": int(members.sum()),
                "metrics": {
                    **{name: found[name] for name in ("mean_absolute_error", "mean_error")},
                    "interval_coverage": metrics.UNDEFINED
                    if intervals is None
                    else metrics.coverage(
                        inside(true[members], intervals[members]), cluster[members]
                    ),
                },
            }
        )
    return rows


def _subgroups(
    attributes: Mapping[str, Sequence[str]],
    true: FloatArray,
    predicted: FloatArray,
    groups: Sequence[str],
) -> list[dict[str, Any]]:
    """Evaluate each value of each attribute by itself."""
    cluster = metrics.cluster_numbers(groups)
    rows = []
    for attribute, value, members in parts(attributes, len(true)):
        found = metrics.value_estimates(true[members], predicted[members], cluster[members])
        names = ("mean_absolute_error", "mean_error", "r2")
        rows.append(
            {
                "attribute": attribute,
                "value": value,
                "n": int(members.sum()),
                "groups": len(np.unique(cluster[members])) if any(groups) else None,
                "metrics": {name: found[name] for name in names},
            }
        )
    return rows
