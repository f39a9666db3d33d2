"""How good decisions and scores are, with intervals, as pure functions of arrays.

    arrays         array types, and division without meaning
    decisions      figures of a confusion matrix
    scores         figures of a ranking, and of probabilities
    recalibration  calibration slope and intercept
    influences     how much each image moves a figure
    intervals      Clopper-Pearson, and linearised over patients
    delong         the AUROC's interval
    resampling     bootstrap of patients

Counting takes weights with any leading axes, so a thousand bootstrap replicates are one call of the
function that gave the value itself. A figure that has no meaning (a class is absent, nothing was
decided for it) is nan, never 0 or 1.
"""

from __future__ import annotations

from lucency.metrics import influences
from lucency.metrics.arrays import BoolArray, FloatArray, IntArray, ratio
from lucency.metrics.decisions import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    decide,
    f1,
    lr_minus,
    lr_plus,
    mcc,
    npv,
    ppv,
    sensitivity,
    specificity,
)
from lucency.metrics.delong import clustered_variance, delong, exact_auroc, independent_pairs
from lucency.metrics.influences import Decided, components, with_halves
from lucency.metrics.intervals import (
    UNDEFINED,
    Estimate,
    Linear,
    Scale,
    clopper_pearson,
    clustered,
    linearised,
    named,
    proportion,
    spread,
    t_interval,
)
from lucency.metrics.recalibration import calibration_intercept, calibration_slope
from lucency.metrics.resampling import bootstrap_weights, percentiles
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
    "UNDEFINED",
    "BoolArray",
    "Cuts",
    "Decided",
    "Estimate",
    "FloatArray",
    "IntArray",
    "Linear",
    "Ranking",
    "Scale",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "bootstrap_weights",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "clopper_pearson",
    "clustered",
    "clustered_variance",
    "components",
    "confusion_matrix",
    "decide",
    "delong",
    "exact_auroc",
    "f1",
    "independent_pairs",
    "influences",
    "linearised",
    "log_loss",
    "log_losses",
    "lr_minus",
    "lr_plus",
    "macro_auroc",
    "mcc",
    "named",
    "npv",
    "percentiles",
    "ppv",
    "pr_curve",
    "proportion",
    "rank",
    "ratio",
    "roc_curve",
    "sensitivity",
    "specificity",
    "spread",
    "squared_errors",
    "t_interval",
    "with_halves",
]
