"""What a classifier is worth on one split: every figure with its interval, and the files of it.

    predictions    the classifier's answers beside the truth; predictions.csv
    figures        answers -> figures, their bootstrap replicates and intervals
    evaluation     the figures of a split together; evaluation.json

`predictions.csv` holds all that the figures of `evaluation.json` are recomputed from.
"""

from __future__ import annotations

from lucency.evaluation.measure import (
    Evaluation,
    evaluate,
    evaluate_found,
    evaluate_predictions,
    read_evaluation,
    write_evaluation,
)
from lucency.evaluation.predictions import (
    Labelled,
    Predictions,
    Predictor,
    predict,
    read_predictions,
    write_predictions,
)

__all__ = [
    "Evaluation",
    "Labelled",
    "Predictions",
    "Predictor",
    "evaluate",
    "evaluate_found",
    "evaluate_predictions",
    "predict",
    "read_evaluation",
    "read_predictions",
    "write_evaluation",
    "write_predictions",
]
