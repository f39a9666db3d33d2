"""What a classifier is worth on one split: every figure with its interval, and the files of it.

    predictions    the classifier's answers beside the truth; predictions.csv
    figures        answers -> figures, their bootstrap replicates and intervals
    utility        what they mean at another prevalence and for a stated harm
    selective      what they become where the classifier may abstain
    attributes     what a CSV or the file names say of the images
    subgroups      figures of the images that share an attribute
    result         what an evaluation holds, and on what terms
    measure        the figures of a split together
    document       evaluation.json

`predictions.csv` holds all that the figures of `evaluation.json` are recomputed from.
"""

from __future__ import annotations

from lucency.evaluation.attributes import read_subgroups
from lucency.evaluation.document import again, read_evaluation, stated_attributes, write_evaluation
from lucency.evaluation.measure import class_prior, evaluate, evaluate_found, evaluate_predictions
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
    "Evaluation",
    "Labelled",
    "Predictions",
    "Predictor",
    "again",
    "class_prior",
    "evaluate",
    "evaluate_found",
    "evaluate_predictions",
    "predict",
    "read_evaluation",
    "read_predictions",
    "read_subgroups",
    "stated_attributes",
    "with_prior",
    "write_evaluation",
    "write_predictions",
]
