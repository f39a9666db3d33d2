"""How good decisions and scores are, with intervals, as pure functions of arrays.

    decisions    figures of a confusion matrix
    scores       figures of a ranking, and of probabilities
    intervals    Clopper-Pearson, DeLong, bootstrap of patients

Counting takes weights with any leading axes, so a thousand bootstrap replicates are one call of the
function that gave the value itself. A figure that has no meaning (a class is absent, nothing was
decided for it) is nan, never 0 or 1.
"""

from __future__ import annotations

from lucency.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    ratio,
)
from lucency.metrics.decisions import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    decide,
    f1,
    mcc,
    npv,
    ppv,
    sensitivity,
    specificity,
)
from lucency.metrics.intervals import (
    Estimate,
    bootstrap_weights,
    clopper_pearson,
    delong,
    percentiles,
)
from lucency.metrics.scores import (
    Cuts,
    Ranking,
    auroc,
    average_precision,
    brier,
    log_loss,
    log_losses,
    macro_auroc,
    pr_curve,
    rank,
    roc_curve,
    squared_errors,
)

__all__ = [
    "BoolArray",
    "Cuts",
    "Estimate",
    "FloatArray",
    "IntArray",
    "Ranking",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "bootstrap_weights",
    "brier",
    "clopper_pearson",
    "confusion_matrix",
    "decide",
    "delong",
    "f1",
    "log_loss",
    "log_losses",
    "macro_auroc",
    "mcc",
    "npv",
    "percentiles",
    "ppv",
    "pr_curve",
    "rank",
    "ratio",
    "roc_curve",
    "sensitivity",
    "specificity",
    "squared_errors",
]
