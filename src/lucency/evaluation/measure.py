"""All figures of one split together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.calibration import temperature
from lucency.calibration.conformal import Conformal
from lucency.classifier import ABSTAIN
from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.evaluation.attributes import from_names
from lucency.evaluation.figures import (
    FPR,
    RECALL,
    REPLICATES,
    Figures,
    Sample,
    of_class,
    overall,
    proportion,
    sample_of,
    value_and_spread,
)
from lucency.evaluation.predictions import Predictions, Predictor, SplitT, find_positive, predict
from lucency.evaluation.result import Evaluation, Terms
from lucency.evaluation.selective import abstention, conformal_coverage, risk_coverage
from lucency.evaluation.subgroups import subgroups
from lucency.evaluation.utility import PREVALENCES, decision_curve, predictive_values, with_prior
from lucency.metrics import FloatArray
from lucency.progress import SILENT, Progress


def evaluate(
    classifier: Predictor[SplitT], split: SplitT, progress: Progress = SILENT
) -> Evaluation:
    """Measure a classifier on a split: ``predict`` and ``evaluate_predictions`` in one.

    Args:
        classifier: Gives the probabilities and the threshold.
        split: The images and their truth.
        progress: Hears how far it is.

    Returns:
        Every figure with its interval.

    Raises:
        DataError: The split is empty.
        ClassifierError: The classifier's probabilities are not probabilities.
        ConfigError: The positive class is not one of two, or has no threshold.
    """
    return evaluate_found(classifier, predict(classifier, split, progress))


def evaluate_found(
    classifier: Predictor[Any],
    found: Predictions,
    *,
    prevalence: float | None = None,
    attributes: Mapping[str, Sequence[str]] | None = None,
) -> Evaluation:
    """Measure predictions that were made before, at the operating point of their classifier.

    Args:
        classifier: Gives the positive class, the threshold, the prior and the prediction sets.
        found: Its predictions beside the truth.
        prevalence: Share of the positive class where it will be used; that of ``found`` if none.
        attributes: By name, a value for each image, to report figures by; those in the file names
            if none.

    Returns:
        Every figure with its interval.

    Raises:
        DataError: There is no image.
        ClassifierError: The probabilities are not probabilities.
        ConfigError: The positive class is not one of two, or has no threshold, or the prevalence is
            not between 0 and 1.
    """
    spec = classifier.spec
    given = spec.conformal
    terms = Terms(
        positive=classifier.positive,
        threshold=classifier.threshold,
        rule=spec.rule,
        chosen=spec.chosen,
        prior=spec.prior,
        prevalence=prevalence,
        conformal=None if given is None else Conformal.from_json(given, len(found.classes)),
        attributes=from_names(found.files, found.labels) if attributes is None else attributes,
    )
    return measured(found, terms)


def evaluate_predictions(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    groups: Sequence[str] | None,
    *,
    classes: Sequence[str],
    positive: str | None,
    threshold: float | None,
    seed: int = 0,
) -> Evaluation:
    """Measure probabilities against the truth, with 95 % intervals that know about patients.

    Args:
        labels: (n,) true class indices; n >= 1.
        probabilities: (n, classes), rows sum to 1.
        groups: n patients, "" for an image of nobody known; None when no patient is known.
        classes: Class names in the order of the columns.
        positive: The class that is looked for, one of two; None to treat all classes alike.
        threshold: The positive class is decided at this probability or above; unused without one.
        seed: Of the bootstrap.

    Returns:
        Every figure with its interval. A figure without meaning (an absent class) is nan.

    Raises:
        DataError: There is no image, or labels or groups do not fit classes or images.
        ClassifierError: The probabilities have another shape or are not probabilities.
        ConfigError: The positive class is not one of two, or has no threshold.
    """
    index = find_positive(classes, positive)
    _check(labels, probabilities, groups, len(classes))
    truth, given = labels.astype(np.int64), probabilities.astype(np.float64)
    found = Predictions(
        split="",
        classes=tuple(classes),
        files=("",) * len(truth),
        groups=tuple(groups or [""] * len(truth)),
        labels=truth,
        decisions=metrics.decide(given, index, threshold),
        probabilities=given,
    )
    return measured(found, Terms(positive=positive, threshold=threshold), seed)


def measured(found: Predictions, terms: Terms, seed: int = 0) -> Evaluation:
    """Measure predictions on stated terms; see ``evaluate_predictions``.

    Decisions are taken anew at the threshold of the terms.
    """
    classes, truth = found.classes, found.labels
    index = find_positive(classes, terms.positive)
    _check(truth, found.probabilities, found.groups, len(classes))
    decisions = metrics.decide(found.probabilities, index, terms.threshold)
    sample = sample_of(truth, decisions, found.probabilities, found.groups, index)
    value, spread = value_and_spread(sample, seed)
    counts = np.bincount(truth, minlength=len(classes)).tolist()
    most = counts.index(max(counts))
    estimates = overall(sample)
    return Evaluation(
        n=len(truth),
        groups=sample.patients if any(found.groups) else None,
        classes=tuple(classes),
        positive=terms.positive,
        baseline={"class": classes[most], "accuracy": counts[most] / len(truth)},
        metrics=estimates,
        per_class={
            name: {"n": counts[k], "metrics": of_class(sample, k)} for k, name in enumerate(classes)
        },
        confusion=tuple(tuple(int(x) for x in row) for row in sample.confusion),
        curves=_curves(sample, classes, value, spread),
        calibration=_calibration(sample, estimates["ece"].value),
        operating_point=_operating_point(terms),
        predictive_values=_predictive_values(sample, terms),
        decision_curve=_decision_curve(sample, classes, terms, seed),
        selective=_selective(sample, found, terms, seed),
        subgroups=subgroups(
            terms.attributes,
            truth,
            decisions,
            found.probabilities,
            groups=found.groups if any(found.groups) else None,
            classes=classes,
            positive=index,
        ),
    )


def _check(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    groups: Sequence[str] | None,
    classes: int,
) -> None:
    n = len(labels)
    if not n:
        raise DataError("Nothing to evaluate: the split holds no image.")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"Expected labels in 0..{classes - 1}. Received: {labels.min()}..{labels.max()}."
        )
    if groups is not None and len(groups) != n:
        raise DataError(f"Expected a group for each of {n} images. Received: {len(groups)}.")
    if probabilities.shape != (n, classes):
        raise ClassifierError(
            f"Expected probabilities of shape {(n, classes)}, a row for each image and a column "
            f"for each class. Received: {probabilities.shape}."
        )
    # Written as what must hold, because every comparison with nan is false.
    sound = (probabilities >= 0).all(axis=1) & (abs(probabilities.sum(axis=1) - 1) < 1e-3)
    if not sound.all():
        raise ClassifierError(
            f"The probabilities of {(~sound).sum()} of {n} images are not finite, below 0 or do "
            "not sum to 1: training has diverged or the weights are damaged. Train again."
        )


def _curves(
    sample: Sample, classes: Sequence[str], value: Figures, spread: Figures
) -> dict[str, dict[str, dict[str, list[float]]]]:
    curves = {}
    for column, k in enumerate(sample.ranked):
        if np.isfinite(value["tpr"][column]).all():
            tpr, precision = (
                _band(value[name][column], spread[name][:, column]) for name in ("tpr", "precision")
            )
            curves[classes[k]] = {
                "roc": {"fpr": _rounded(FPR), "tpr": tpr.pop("value"), **tpr},
                "pr": {
                    "recall": _rounded(RECALL),
                    "precision": precision.pop("value"),
                    **precision,
                },
            }
    return curves


def _band(
    value: NDArray[np.floating[Any]], replicates: NDArray[np.floating[Any]]
) -> dict[str, list[float]]:
    low, high = metrics.percentiles(replicates)
    return {"value": _rounded(value), "low": _rounded(low), "high": _rounded(high)}


def _rounded(points: NDArray[np.floating[Any]]) -> list[float]:
    """Keep what a plot can show."""
    return [round(float(x), 6) for x in points]


def _calibration(sample: Sample, error: float) -> dict[str, Any]:
    bins = []
    for i, found in enumerate(temperature.reliability(sample.claimed, sample.came_true)):
        bar = proportion(sample, sample.came_true, sample.bins == i)
        bins.append({**asdict(found), "low": bar.low, "high": bar.high})
    plain = temperature.expected_calibration_error(
        sample.claimed, sample.came_true, bins=sample.bins
    )
    low, high = sample.chance
    return {
        "bins": bins,
        "ece": error,
        "plain": float(plain),
        "chance": {"low": low, "high": high},
    }


def _operating_point(terms: Terms) -> dict[str, Any]:
    if terms.positive is None:
        return {"rule": "the most probable class", "threshold": None, "validation": None}
    rule = terms.rule or f"{terms.positive} at the threshold or above"
    return {"rule": rule, "threshold": terms.threshold, "validation": terms.chosen}


def _predictive_values(sample: Sample, terms: Terms) -> list[dict[str, Any]]:
    k = sample.positive
    if k is None:
        return []
    stated = () if terms.prevalence is None else (terms.prevalence,)
    return predictive_values(
        sample.labels == k, sample.decisions == k, sample.owner, (*PREVALENCES, *stated)
    )


def _decision_curve(
    sample: Sample, classes: Sequence[str], terms: Terms, seed: int
) -> dict[str, Any] | None:
    """Compute net benefit with the probabilities corrected to the prevalence they are used at."""
    k = sample.positive
    if k is None:
        return None
    positive = sample.labels == k
    share = float(positive.mean()) if terms.prevalence is None else terms.prevalence
    if not 0 < share < 1 or not 0 < positive.mean() < 1:
        return None
    shares = class_prior(share, classes, terms.positive)
    p = with_prior(sample.probabilities, terms.prior or (0.5, 0.5), shares)[:, k]
    return decision_curve(p, positive, share, _weights(sample, seed))


def class_prior(
    prevalence: float, classes: Sequence[str], positive: str | None
) -> tuple[float, ...]:
    """Return the class shares where the positive class has this prevalence.

    Raises:
        ConfigError: There is no positive class, or the prevalence is not between 0 and 1.
    """
    k = find_positive(classes, positive)
    if k is None:
        raise ConfigError(
            f"--prevalence needs two classes, one of them looked for; there are {len(classes)}."
        )
    if not 0 < prevalence < 1:
        raise ConfigError(f"--prevalence must lie between 0 and 1. Received: {prevalence}")
    return (prevalence, 1 - prevalence) if k == 0 else (1 - prevalence, prevalence)


def _selective(sample: Sample, found: Predictions, terms: Terms, seed: int) -> dict[str, Any]:
    risk = risk_coverage(
        sample.probabilities, sample.labels, sample.decisions, _weights(sample, seed)
    )
    if terms.conformal is None:
        return {"risk_coverage": risk, "conformal": [], "abstention": None}
    rule = terms.conformal.deciding(*ABSTAIN)
    alone = np.eye(sample.probabilities.shape[1], dtype=bool)[sample.decisions]
    far = np.zeros(len(sample.labels)) if found.ood_scores is None else found.ood_scores
    return {
        "risk_coverage": risk,
        "conformal": conformal_coverage(
            terms.conformal, sample.probabilities, sample.labels, sample.owner
        ),
        "abstention": abstention(
            sample.labels,
            sample.decisions,
            rule.sets(sample.probabilities) if rule else alone,
            ~(far <= 1),
            sample.positive,
            _weights(sample, seed),
            sample.owner,
        ),
    }


def _weights(sample: Sample, seed: int) -> Iterator[FloatArray]:
    return metrics.bootstrap_weights(sample.owner, REPLICATES, seed)
