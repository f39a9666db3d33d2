"""Evaluate a classifier on one split: every metric with its interval.

    predictions    predictions with true labels; predictions.csv
    figures        metrics, intervals and curves of predictions
    utility        predictive values and net benefit at a given prevalence
    selective      risk over coverage, conformal coverage, abstention
    attributes     attributes of images, from a CSV or from file names
    subgroups      metrics of images that share an attribute
    result         the evaluation, and the conditions that it is made under
    measure        the whole evaluation of a split
    labels         figures of several labels, each by itself, and their means
    values         figures of numbers, their quantiles and intervals
    cross_validation    metrics of out-of-fold predictions, and their spread over folds
    document       evaluation.json
    ledger/        the log of test-set evaluations
    robustness/    metrics under corruptions

The figures of ``evaluation.json`` are computed from ``predictions.csv``.
"""

from __future__ import annotations

from lucency.evaluation.attributes import read_subgroups
from lucency.evaluation.cross_validation import (
    OUT_OF_FOLD,
    CrossValidation,
    cross_validation,
    out_of_fold,
)
from lucency.evaluation.document import (
    read_attributes,
    read_evaluation,
    recompute_evaluation,
    write_evaluation,
)
from lucency.evaluation.measure import class_prior, evaluate, evaluate_arrays, evaluate_predictions
from lucency.evaluation.predictions import (
    Labelled,
    Predictions,
    Predictor,
    predict,
    read_predictions,
    write_predictions,
)
from lucency.evaluation.result import Evaluation
from lucency.evaluation.utility import with_prior

__all__ = [
    "OUT_OF_FOLD",
    "CrossValidation",
    "Evaluation",
    "Labelled",
    "Predictions",
    "Predictor",
    "class_prior",
    "cross_validation",
    "evaluate",
    "evaluate_arrays",
    "evaluate_predictions",
    "out_of_fold",
    "predict",
    "read_attributes",
    "read_evaluation",
    "read_predictions",
    "read_subgroups",
    "recompute_evaluation",
    "with_prior",
    "write_evaluation",
    "write_predictions",
]
