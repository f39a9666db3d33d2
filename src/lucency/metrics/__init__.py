"""Metrics with confidence intervals, as pure functions of arrays.

    arrays         array types, division, cluster numbers
    decisions      metrics of a confusion matrix
    scores         metrics of rankings and of probabilities
    labels         metrics of several labels of each image
    values         metrics of predicted numbers
    recalibration  calibration slope and intercept
    influences     influence of each image on a metric
    intervals      Clopper-Pearson intervals, and linearised ones over patients
    delong         interval of the AUROC
    resampling     bootstrap over patients, and folds by patient

Sample weights may have leading axes, so one call computes a thousand bootstrap replicates with the
function that also computes the value. An undefined metric (a class is absent or never decided) is
nan, never 0 or 1.
"""

from __future__ import annotations

from lucency.metrics import influences
from lucency.metrics.arrays import BoolArray, FloatArray, IntArray, cluster_numbers, ratio
from lucency.metrics.decisions import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    decide,
    f1,
    lr_minus,
    lr_plus,
    mcc,
    mean_absolute_error,
    npv,
    positive_index,
    ppv,
    quadratic_kappa,
    sensitivity,
    specificity,
)
from lucency.metrics.delong import clustered_variance, delong, exact_auroc, independent_pairs
from lucency.metrics.influences import WeightedDecisions, add_half_counts, components
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
    standard_error,
    t_interval,
)
from lucency.metrics.labels import label_accuracy, label_losses, mean_auroc
from lucency.metrics.recalibration import calibration_intercept, calibration_slope
from lucency.metrics.resampling import FOLDS, bootstrap_weights, group_folds, percentiles
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
from lucency.metrics.values import (
    below_quantiles,
    coverage,
    decimals,
    mean_of,
    pinball_losses,
    value_estimates,
    value_figures,
)

__all__ = [
    "FOLDS",
    "UNDEFINED",
    "BoolArray",
    "Cuts",
    "Estimate",
    "FloatArray",
    "IntArray",
    "Linear",
    "Ranking",
    "Scale",
    "WeightedDecisions",
    "accuracy",
    "add_half_counts",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "below_quantiles",
    "bootstrap_weights",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "clopper_pearson",
    "cluster_numbers",
    "clustered",
    "clustered_variance",
    "components",
    "confusion_matrix",
    "coverage",
    "decide",
    "decimals",
    "delong",
    "exact_auroc",
    "f1",
    "group_folds",
    "independent_pairs",
    "influences",
    "label_accuracy",
    "label_losses",
    "linearised",
    "log_loss",
    "log_losses",
    "lr_minus",
    "lr_plus",
    "macro_auroc",
    "mcc",
    "mean_absolute_error",
    "mean_auroc",
    "mean_of",
    "named",
    "npv",
    "percentiles",
    "pinball_losses",
    "positive_index",
    "ppv",
    "pr_curve",
    "proportion",
    "quadratic_kappa",
    "rank",
    "ratio",
    "roc_curve",
    "sensitivity",
    "specificity",
    "squared_errors",
    "standard_error",
    "t_interval",
    "value_estimates",
    "value_figures",
]
