"""Evaluate several labels: each by itself where it is known, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.calibration.conformal import Conformal
from lucency.classifier import Spec
from lucency.evaluation.predictions import Predictions
from lucency.evaluation.result import Conditions
from lucency.metrics import UNDEFINED, Estimate, FloatArray, IntArray, Linear, influences


def of_label(predictions: Predictions, k: int) -> tuple[Predictions, IntArray]:
    """Return the predictions of one label on the images where it is known, as of two classes.

    Args:
        predictions: Of several labels.
        k: Number of the label.

    Returns:
        The predictions, and the indices of these images.
    """
    targets, name = predictions.targets, predictions.classes[k]
    if targets is None:
        raise ValueError("these are predictions of one class per image")
    known = np.flatnonzero(targets[:, k] >= 0)
    p, scores = predictions.probabilities[known, k], predictions.ood_scores
    found = replace(
        predictions,
        classes=(f"no {name}", name),
        files=tuple(predictions.files[i] for i in known),
        groups=tuple(predictions.groups[i] for i in known),
        labels=(targets[known, k] > 0).astype(np.int64),
        decisions=predictions.decisions[known, k],
        probabilities=np.stack([1 - p, p], axis=1),
        ood_scores=None if scores is None else scores[known],
        targets=None,
        units=(),
    )
    return found, known


def conditions_of(
    spec: Spec, k: int, attributes: Mapping[str, Sequence[str]], known: IntArray
) -> Conditions:
    """Return the conditions that a label is evaluated under.

    Args:
        spec: Of the classifier.
        k: Number of the label.
        attributes: Name -> a value for each image.
        known: Images where the label is known.
    """
    of = spec.labels[k]
    return Conditions(
        positive=spec.classes[k],
        threshold=of["threshold"],
        rule=of["rule"],
        chosen=of["validation"],
        prior=(1 - of["prevalence"], of["prevalence"]),
        conformal=Conformal.from_json(of["conformal"], 2),
        attributes={name: [values[i] for i in known] for name, values in attributes.items()},
    )


def mean_metrics(predictions: Predictions) -> dict[str, Estimate]:
    """Estimate the means over the labels, with intervals over patients.

    Args:
        predictions: Of several labels.

    Returns:
        Estimates by name; nan where a label has a single known value.
    """
    targets, p, decided = predictions.targets, predictions.probabilities, predictions.decisions
    if targets is None:
        raise ValueError("these are predictions of one class per image")
    cluster = metrics.cluster_numbers(predictions.groups)
    known = targets >= 0
    truth = targets > 0
    right = decided == truth
    both = (truth & known).any(axis=0) & (~truth & known).any(axis=0)
    losses = -np.where(truth, np.log(np.clip(p, 1e-15, 1)), np.log(np.clip(1 - p, 1e-15, 1)))
    means = {
        "sensitivity": _means(right, truth & known),
        "specificity": _means(right, ~truth & known),
        "accuracy": _means(right, known),
        "brier": _means((p - truth) ** 2, known),
        "log_loss": _means(losses, known),
    }
    ranked = {
        "auroc": influences.of_auroc,
        "average_precision": influences.of_average_precision,
    }
    found = {
        name: metrics.linearised(
            (each := _mean_of([_spread(of(truth[x, k], p[x, k]), x, len(p))
                               for k, x in enumerate(map(np.flatnonzero, known.T))])).value,
            each, cluster, "logit",
        )
        if both.all()
        else UNDEFINED
        for name, of in ranked.items()
    }  # fmt: skip
    scales: Mapping[str, metrics.Scale] = {"brier": "log", "log_loss": "log"}
    return found | {
        name: UNDEFINED
        if each is None
        else metrics.linearised(each.value, each, cluster, scales.get(name, "logit"))
        for name, each in means.items()
    }


def _means(values: NDArray[Any], among: NDArray[np.bool_]) -> Linear | None:
    """Linearise the mean over labels of the means of (n, labels) values among some images."""
    counts = among.sum(axis=0)
    if not counts.all():
        return None
    of_labels = (values * among).sum(axis=0) / counts
    influence = among * (values - of_labels) / counts
    return Linear(float(of_labels.mean()), influence.mean(axis=1))


def _mean_of(parts: Sequence[Linear]) -> Linear:
    return influences.mean(parts)


def _spread(found: Linear, rows: IntArray, n: int) -> Linear:
    """Return a linearised metric of some of n images, with influence 0 of the others."""
    influence: FloatArray = np.zeros(n)
    influence[rows] = found.influence
    return Linear(found.value, influence)
