"""All figures of one split together, and ``evaluation.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import calibration, metrics
from lucency.errors import ClassifierError, DataError, RunError
from lucency.evaluation.figures import (
    FPR,
    RECALL,
    Figures,
    Sample,
    of_class,
    overall,
    proportion,
    sample_of,
    value_and_spread,
)
from lucency.evaluation.predictions import (
    Predictions,
    Predictor,
    SplitT,
    find_positive,
    predict,
)
from lucency.files import write_text
from lucency.metrics import Estimate
from lucency.progress import SILENT, Progress

FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """The figures of one split; each attribute is a key of its part of ``evaluation.json``.

    Attributes:
        n: Images.
        groups: Patients; None when unknown.
        classes: Class names in order.
        positive: The class that is looked for, one of two, or None.
        baseline: The split's most frequent class, and the accuracy of always answering it.
        metrics: Each figure by name: of the positive class, or the mean over all classes.
        per_class: Images and figures of each class against the rest.
        confusion: Images by truth (rows) and decision (columns).
        curves: ROC and precision-recall points with 95 % bands, of the positive class or of each.
            A class that is absent, or the only one present, has none.
        calibration: Equal-mass bins of the probability of the positive class (of the decided
            class without one) and how often it came true, their mean distance "ece", and the 95 %
            range "chance" of that distance if every probability were exactly right.
        operating_point: The rule that turns probabilities into decisions, and its threshold.
    """

    n: int
    groups: int | None
    classes: tuple[str, ...]
    positive: str | None
    baseline: Mapping[str, Any]
    metrics: Mapping[str, Estimate]
    per_class: Mapping[str, Mapping[str, Any]]
    confusion: tuple[tuple[int, ...], ...]
    curves: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    calibration: Mapping[str, Any]
    operating_point: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists and finite numbers, nan as None."""
        return {name: _plain(value) for name, value in vars(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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


def evaluate_found(classifier: Predictor[Any], found: Predictions) -> Evaluation:
    """Measure predictions that were made before, at the operating point of their classifier.

    Args:
        classifier: Gives the positive class and the threshold.
        found: Its predictions beside the truth.

    Returns:
        Every figure with its interval.

    Raises:
        DataError: There is no image.
        ClassifierError: The probabilities are not probabilities.
        ConfigError: The positive class is not one of two, or has no threshold.
    """
    return evaluate_predictions(
        found.labels,
        found.probabilities,
        found.groups,
        classes=found.classes,
        positive=classifier.positive,
        threshold=classifier.threshold,
    )


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

    The intervals of AUROCs are DeLong's, those of proportions Clopper and Pearson's; where
    patients have several images, DeLong's by patient and a bootstrap of patients. All else is
    bootstrapped.

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
    sample = sample_of(truth, metrics.decide(given, index, threshold), given, groups, index)
    value, spread = value_and_spread(sample, seed)
    counts = np.bincount(truth, minlength=len(classes)).tolist()
    most = counts.index(max(counts))
    confusion = metrics.confusion_matrix(truth, sample.decisions, len(classes))
    estimates = overall(sample, value, spread)
    return Evaluation(
        n=len(truth),
        groups=sample.patients if any(groups or ()) else None,
        classes=tuple(classes),
        positive=positive,
        baseline={"class": classes[most], "accuracy": counts[most] / len(truth)},
        metrics=estimates,
        per_class={
            name: {"n": counts[k], "metrics": of_class(sample, k, value, spread)}
            for k, name in enumerate(classes)
        },
        confusion=tuple(tuple(int(x) for x in row) for row in confusion),
        curves=_curves(sample, classes, value, spread),
        calibration=_calibration(sample, estimates["ece"].value, spread),
        operating_point=_operating_point(positive, threshold),
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


def _calibration(sample: Sample, error: float, spread: Figures) -> dict[str, Any]:
    bins = []
    for i, found in enumerate(calibration.reliability(sample.claimed, sample.came_true)):
        bar = proportion(sample, sample.came_true, sample.bins == i, spread["fraction"][:, i])
        bins.append({**asdict(found), "low": bar.low, "high": bar.high})
    low, high = sample.chance
    return {"bins": bins, "ece": error, "chance": {"low": low, "high": high}}


def _operating_point(positive: str | None, threshold: float | None) -> dict[str, Any]:
    if positive is None:
        return {"rule": "the most probable class", "threshold": None}
    return {"rule": f"{positive} at the threshold or above", "threshold": threshold}


def write_evaluation(
    path: Path, validation: Evaluation | None = None, test: Evaluation | None = None
) -> None:
    """Write ``evaluation.json``.

    Args:
        path: The file; its folder exists.
        validation: The figures that choices were made by.
        test: The figures of images that were never used for a choice.

    Raises:
        RunError: The file cannot be written; what was there stays.
        DataError: Neither split is given.
    """
    parts = {"validation": validation, "test": test}
    given = [part for part in parts.values() if part is not None]
    if not given:
        raise DataError("Nothing to write: neither validation nor test was evaluated.")
    document = {
        "format": FORMAT,
        "classes": list(given[0].classes),
        "positive": given[0].positive,
        **{name: part and part.to_json() for name, part in parts.items()},
    }
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read ``evaluation.json`` as the plain document that it is.

    Args:
        path: The file.

    Returns:
        "format", "classes", "positive", "validation" and "test", the last two a part or None.

    Raises:
        RunError: The file is missing, damaged or of another format.
    """
    again = "Evaluate the classifier again to make it anew."
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a training run.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}. {again}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT or not {"classes", "positive", "validation", "test"} <= document.keys():
        raise RunError(
            f"{path} is not an evaluation of format {FORMAT}. Received: format {found}. {again}"
        )
    return dict(document)
