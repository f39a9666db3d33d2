"""Evaluate a split: all metrics, curves and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.calibration import reliability, units
from lucency.classifier import ABSTAIN, Spec
from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.evaluation import labels
from lucency.evaluation.attributes import from_names
from lucency.evaluation.figures import (
    FPR,
    RECALL,
    REPLICATES,
    Figures,
    Sample,
    class_metrics,
    curves_and_replicates,
    cut_metrics,
    make_sample,
    overall_metrics,
    proportion,
)
from lucency.evaluation.predictions import (
    Predictions,
    Predictor,
    SplitT,
    decided,
    pooled,
    predict,
)
from lucency.evaluation.result import Conditions, Evaluation
from lucency.evaluation.selective import abstention, conformal_coverage, risk_coverage
from lucency.evaluation.subgroups import subgroups
from lucency.evaluation.utility import PREVALENCES, decision_curve, predictive_values, with_prior
from lucency.evaluation.values import evaluate_values
from lucency.metrics import FloatArray
from lucency.progress import SILENT, Progress
from lucency.task import task_of


def evaluate(
    classifier: Predictor[SplitT], split: SplitT, progress: Progress = SILENT
) -> Evaluation:
    """Evaluate a classifier on a split: ``predict``, then ``evaluate_predictions``.

    Args:
        classifier: Provides the probabilities and the threshold.
        split: The images with their true labels.
        progress: Reports the progress.

    Returns:
        Every metric with its interval.

    Raises:
        DataError: The split is empty.
        ClassifierError: The probabilities are not finite, negative or do not sum to 1.
        ConfigError: The positive class is not one of exactly two, or has no threshold.
    """
    return evaluate_predictions(classifier, predict(classifier, split, progress))


def evaluate_predictions(
    classifier: Predictor[Any],
    predictions: Predictions,
    *,
    prevalence: float | None = None,
    attributes: Mapping[str, Sequence[str]] | None = None,
) -> Evaluation:
    """Evaluate existing predictions at the operating point of their classifier.

    Args:
        classifier: Provides positive class, threshold, class prior and conformal thresholds.
        predictions: Its predictions with the true labels.
        prevalence: Prevalence where the classifier will be used; by default that of the images.
        attributes: Name -> a value for each image, for subgroups; by default those in file names.

    Returns:
        Every metric with its interval.

    Raises:
        DataError: There is no image.
        ClassifierError: The probabilities are not finite, negative or do not sum to 1.
        ConfigError: The positive class is not one of exactly two or has no threshold, or the
            prevalence is not between 0 and 1.
    """
    spec, several = classifier.spec, predictions.targets is not None
    given: Mapping[str, Sequence[str]] = attributes or {}
    if attributes is None and not several:
        given = from_names(predictions.files, predictions.labels)
    found = _evaluate_by(spec, predictions, given, prevalence)
    rule, of_units = spec.unit_rule, spec.per_unit
    if rule is None or of_units is None:
        return found
    first = units.first_of(units.numbered(predictions.answered)[1])
    own = {name: [cells[i] for i in first] for name, cells in given.items()}
    per_unit = _evaluate_by(of_units, decided(pooled(predictions, rule), of_units), own, prevalence)
    return replace(found, per_unit=replace(per_unit, unit=rule.name))


def _evaluate_by(
    spec: Spec,
    predictions: Predictions,
    attributes: Mapping[str, Sequence[str]],
    prevalence: float | None,
) -> Evaluation:
    """Evaluate predictions of images, or of units, by what decides on them."""
    if predictions.targets is not None:
        return _evaluate_labels(spec, predictions, attributes)
    conditions = Conditions(
        positive=spec.positive,
        threshold=spec.threshold,
        rule=spec.rule,
        chosen=spec.validation_rates,
        prior=spec.class_prior,
        prevalence=prevalence,
        conformal=spec.sets,
        attributes=attributes,
        task=task_of(spec.task),
        cut=spec.cut,
        value=spec.value_rule,
    )
    return _evaluate(predictions, conditions)


def _evaluate_labels(
    spec: Spec, predictions: Predictions, attributes: Mapping[str, Sequence[str]]
) -> Evaluation:
    """Evaluate several labels: each on the images where it is known, and their means."""
    evaluations = {}
    predictions = replace(predictions, decisions=spec.decide(predictions.probabilities))
    for k, name in enumerate(spec.classes):
        found, known = labels.of_label(predictions, k)
        conditions = labels.conditions_of(spec, k, attributes, known)
        evaluations[name] = _evaluate(found, conditions)
    groups = predictions.groups
    return Evaluation(
        n=len(predictions.files),
        groups=int(metrics.cluster_numbers(groups).max()) + 1 if any(groups) else None,
        classes=spec.classes,
        positive=None,
        baseline={},
        metrics=labels.mean_metrics(predictions),
        per_class={
            name: {"n": each.per_class[name]["n"], "metrics": each.metrics}
            for name, each in evaluations.items()
        },
        confusion=(),
        curves={},
        calibration={},
        operating_point={"rule": spec.rule, "threshold": None, "validation": None},
        predictive_values=[],
        decision_curve=None,
        selective={},
        subgroups=[],
        labels=evaluations,
    )


def evaluate_arrays(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    groups: Sequence[str] | None,
    *,
    classes: Sequence[str],
    positive: str | None,
    threshold: float | None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate probabilities given as arrays, with 95 % intervals over patients.

    Args:
        labels: (n,) true class indices; n >= 1.
        probabilities: (n, classes), rows sum to 1.
        groups: n patients, "" where unknown; None when none is known.
        classes: Class names in the order of the columns.
        positive: The positive class, one of exactly two; None for means over all classes.
        threshold: Least probability of the positive class; unused without one.
        seed: Of the bootstrap.

    Returns:
        Every metric with its interval. A metric that is undefined (an absent class) is nan.

    Raises:
        DataError: There is no image, or labels or groups do not match classes or images.
        ClassifierError: The probabilities have another shape, are not finite or do not sum to 1.
        ConfigError: The positive class is not one of exactly two, or has no threshold.
    """
    index = metrics.positive_index(classes, positive)
    _check(labels, probabilities, groups, len(classes))
    truth, given = labels.astype(np.int64), probabilities.astype(np.float64)
    predictions = Predictions(
        split="",
        classes=tuple(classes),
        files=("",) * len(truth),
        groups=tuple(groups or [""] * len(truth)),
        labels=truth,
        decisions=metrics.decide(given, index, threshold),
        probabilities=given,
    )
    return _evaluate(predictions, Conditions(positive=positive, threshold=threshold), seed)


def _evaluate(predictions: Predictions, conditions: Conditions, seed: int = 0) -> Evaluation:
    """Evaluate predictions under conditions; decisions are made again at their threshold."""
    classes, truth = predictions.classes, predictions.labels
    index = metrics.positive_index(classes, conditions.positive)
    _check(truth, predictions.probabilities, predictions.groups, len(classes))
    if conditions.value is not None:
        return evaluate_values(predictions, conditions, seed)
    decisions = conditions.task.decide(predictions.probabilities, index, conditions.threshold)
    sample = make_sample(truth, decisions, predictions.probabilities, predictions.groups, index)
    value, replicates = curves_and_replicates(sample, seed)
    counts = np.bincount(truth, minlength=len(classes)).tolist()
    most = counts.index(max(counts))
    estimates = overall_metrics(sample, conditions.task)
    return Evaluation(
        n=len(truth),
        groups=sample.patients if any(predictions.groups) else None,
        classes=tuple(classes),
        positive=conditions.positive,
        baseline={"class": classes[most], "accuracy": counts[most] / len(truth)},
        metrics=estimates,
        per_class={
            name: {"n": counts[k], "metrics": class_metrics(sample, k)}
            for k, name in enumerate(classes)
        },
        confusion=tuple(tuple(int(x) for x in row) for row in sample.confusion),
        curves=_curves(sample, classes, value, replicates),
        calibration=_calibration(sample, estimates["ece"].value),
        operating_point=_operating_point(conditions),
        predictive_values=_predictive_values(sample, conditions),
        decision_curve=_decision_curve(sample, classes, conditions, seed),
        selective=_selective(sample, predictions, conditions, seed),
        subgroups=subgroups(
            conditions.attributes,
            truth,
            decisions,
            predictions.probabilities,
            groups=predictions.groups if any(predictions.groups) else None,
            classes=classes,
            positive=index,
        ),
        grades=_grades(sample, predictions, conditions, seed)
        if conditions.task.is_ordinal
        else None,
    )


def _grades(
    sample: Sample, predictions: Predictions, conditions: Conditions, seed: int
) -> dict[str, Any]:
    """Evaluate the probabilities of each grade or a higher one."""
    classes = predictions.classes
    cuts = [
        {
            "from": classes[k],
            "n": int((sample.labels >= k).sum()),
            "metrics": cut_metrics(sample, k),
        }
        for k in range(1, len(classes))
    ]
    if conditions.cut is None:
        return {"cuts": cuts, "positive": None}
    at_cut = _evaluate(*_binary(predictions, conditions, conditions.cut), seed)
    return {"cuts": cuts, "positive": at_cut}


def _binary(
    predictions: Predictions, conditions: Conditions, cut: Mapping[str, Any]
) -> tuple[Predictions, Conditions]:
    """Return predictions of grades as those of two classes: below a grade, and from it on."""
    k = predictions.classes.index(cut["from"])
    higher = predictions.probabilities[:, k:].sum(axis=1)
    below, above = f"below {cut['from']}", f"{cut['from']} or higher"
    share = float(np.sum(conditions.prior[k:])) if conditions.prior else 0.5
    two = replace(
        predictions,
        classes=(below, above),
        labels=(predictions.labels >= k).astype(np.int64),
        decisions=(higher >= cut["threshold"]).astype(np.int64),
        probabilities=np.stack([1 - higher, higher], axis=1),
    )
    return two, Conditions(
        positive=above,
        threshold=float(cut["threshold"]),
        rule=str(cut["rule"]),
        chosen=cut["validation"],
        prior=(1 - share, share),
        prevalence=conditions.prevalence,
        attributes=conditions.attributes,
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
    # Written as the condition that must hold: every comparison with nan is false.
    valid = (probabilities >= 0).all(axis=1) & (abs(probabilities.sum(axis=1) - 1) < 1e-3)
    if not valid.all():
        raise ClassifierError(
            f"The probabilities of {(~valid).sum()} of {n} images are not finite, negative or do "
            "not sum to 1: training diverged or the weights are damaged. Train again."
        )


def _curves(
    sample: Sample, classes: Sequence[str], value: Figures, replicates: Figures
) -> dict[str, dict[str, dict[str, list[float]]]]:
    curves = {}
    for column, k in enumerate(sample.curve_classes):
        if np.isfinite(value["tpr"][column]).all():
            tpr, precision = (
                _band(value[name][column], replicates[name][:, column])
                for name in ("tpr", "precision")
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
    """Round to what a plot can show."""
    return [round(float(x), 6) for x in points]


def _calibration(sample: Sample, error: float) -> dict[str, Any]:
    bins = []
    for i, found in enumerate(reliability.reliability(sample.event_probability, sample.event)):
        bar = proportion(sample, sample.event, sample.bins == i)
        bins.append({**asdict(found), "low": bar.low, "high": bar.high})
    plain = reliability.expected_calibration_error(
        sample.event_probability, sample.event, bins=sample.bins
    )
    low, high = sample.chance
    return {
        "bins": bins,
        "ece": error,
        "plain": float(plain),
        "chance": {"low": low, "high": high},
    }


def _operating_point(conditions: Conditions) -> dict[str, Any]:
    if conditions.positive is None:
        return {"rule": conditions.task.decision, "threshold": None, "validation": None}
    rule = conditions.rule or f"{conditions.positive} at the threshold or above"
    return {"rule": rule, "threshold": conditions.threshold, "validation": conditions.chosen}


def _predictive_values(sample: Sample, conditions: Conditions) -> list[dict[str, Any]]:
    k = sample.positive
    if k is None:
        return []
    stated = () if conditions.prevalence is None else (conditions.prevalence,)
    return predictive_values(
        sample.labels == k, sample.decisions == k, sample.cluster, (*PREVALENCES, *stated)
    )


def _decision_curve(
    sample: Sample, classes: Sequence[str], conditions: Conditions, seed: int
) -> dict[str, Any] | None:
    """Compute net benefit with the probabilities corrected to the prevalence of use."""
    k = sample.positive
    if k is None:
        return None
    positive = sample.labels == k
    prevalence = float(positive.mean()) if conditions.prevalence is None else conditions.prevalence
    if not 0 < prevalence < 1 or not 0 < positive.mean() < 1:
        return None
    prior = class_prior(prevalence, classes, conditions.positive)
    p = with_prior(sample.probabilities, conditions.prior or (0.5, 0.5), prior)[:, k]
    return decision_curve(p, positive, prevalence, _weights(sample, seed))


def class_prior(
    prevalence: float, classes: Sequence[str], positive: str | None
) -> tuple[float, ...]:
    """Return the class prior at a prevalence of the positive class.

    Raises:
        ConfigError: There is no positive class, or the prevalence is not between 0 and 1.
    """
    k = metrics.positive_index(classes, positive)
    if k is None:
        raise ConfigError(
            "--prevalence needs a positive class, one of exactly two. "
            f"Received: {len(classes)} classes."
        )
    if not 0 < prevalence < 1:
        raise ConfigError(f"--prevalence must lie between 0 and 1. Received: {prevalence}")
    return (prevalence, 1 - prevalence) if k == 0 else (1 - prevalence, prevalence)


def _selective(
    sample: Sample, predictions: Predictions, conditions: Conditions, seed: int
) -> dict[str, Any]:
    risk = risk_coverage(
        sample.probabilities, sample.labels, sample.decisions, _weights(sample, seed)
    )
    if conditions.conformal is None:
        return {"risk_coverage": risk, "conformal": [], "abstention": None}
    rule = conditions.conformal.deciding(*ABSTAIN)
    single = np.eye(sample.probabilities.shape[1], dtype=bool)[sample.decisions]
    n, scores = len(sample.labels), predictions.ood_scores
    return {
        "risk_coverage": risk,
        "conformal": conformal_coverage(
            conditions.conformal, sample.probabilities, sample.labels, sample.cluster
        ),
        "abstention": abstention(
            sample.labels,
            sample.decisions,
            rule.sets(sample.probabilities) if rule else single,
            np.zeros(n, bool) if scores is None else ~(scores <= 1),
            sample.positive,
            _weights(sample, seed),
            sample.cluster,
            task=conditions.task,
        ),
    }


def _weights(sample: Sample, seed: int) -> Iterator[FloatArray]:
    return metrics.bootstrap_weights(sample.cluster, REPLICATES, seed)
