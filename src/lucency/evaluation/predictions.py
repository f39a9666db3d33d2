"""Predictions of a split with the true labels, in memory and as ``predictions.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lucency.calibration import units
from lucency.calibration.units import UnitRule
from lucency.classifier import Outputs, Spec
from lucency.dataset.multilabel import read_written, written
from lucency.dataset.values import Bins
from lucency.errors import ConfigError, RunError
from lucency.io import from_text, read_table, why
from lucency.metrics import FloatArray, IntArray
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import PREDICTIONS

_COLUMNS = [*PREDICTIONS.columns]
_PREFIX = "p_"
_UNIT = "unit"


class Labelled(Protocol):
    """The interface of a split that can be evaluated."""

    @property
    def name(self) -> str:
        """Return "train", "val", "test" or "out_of_fold"."""

    @property
    def files(self) -> tuple[str, ...]:
        """Return n names relative to the data folder."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Return n patients, "" where unknown."""

    @property
    def units(self) -> tuple[str, ...]:
        """Return n studies or other units, "" where unknown; nothing where there are none."""

    @property
    def labels(self) -> IntArray:
        """Return (n,) true class indices."""

    @property
    def targets(self) -> NDArray[np.float32] | None:
        """Return (n, labels) which labels are present, where there may be several."""

    @property
    def values(self) -> FloatArray | None:
        """Return (n,) numbers, where these are to be predicted."""


SplitT = TypeVar("SplitT", bound=Labelled)
_SplitT_contra = TypeVar("_SplitT_contra", contravariant=True)


class Predictor(Protocol[_SplitT_contra]):
    """The interface of a classifier that can be evaluated."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of the probabilities."""

    @property
    def spec(self) -> Spec:
        """Return what decides: positive class, threshold, class prior and prediction sets."""

    def infer_split(self, split: _SplitT_contra, progress: Progress) -> Outputs:
        """Return calibrated probabilities and OOD scores."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for each image of one split, with the true labels.

    Attributes:
        split: "train", "val", "test" or, with folds, "out_of_fold".
        classes: Class names in the order of the columns.
        files: n names relative to the data folder.
        groups: n patients, "" where unknown.
        labels: (n,) int64 true class indices.
        decisions: (n,) int64 decided class indices.
        probabilities: (n, classes) float64, rows sum to 1.
        ood_scores: (n,) float64, out of distribution above 1; None without an OOD detector.
        targets: Where an image may have several labels, (n, labels) float32: 1 present, 0 absent,
            below 0 unknown. ``labels`` are then zeros, ``decisions`` (n, labels) 1 or 0, and
            ``classes`` the names of the labels.
        values: Where the answer is a number, (n,) float64 true numbers; ``classes`` are then bins
            of it, and ``labels`` and ``decisions`` the bins of the true and predicted numbers.
        predicted: (n,) float64 predicted numbers, if there are ``values``.
        units: n studies or other units, "" where an image stands alone; empty where each image or
            each patient has an answer.
    """

    split: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: IntArray
    decisions: IntArray
    probabilities: FloatArray
    ood_scores: FloatArray | None = None
    targets: NDArray[np.float32] | None = None
    values: FloatArray | None = None
    predicted: FloatArray | None = None
    units: tuple[str, ...] = ()

    @property
    def answered(self) -> tuple[str, ...]:
        """What has one answer: the n units, or the patients where there are none."""
        return self.units or self.groups


def predict(
    classifier: Predictor[SplitT], split: SplitT, progress: Progress = SILENT
) -> Predictions:
    """Predict a whole split.

    Args:
        classifier: Provides the probabilities and the threshold.
        split: The images with their true labels.
        progress: Reports the progress.

    Returns:
        Probabilities and decisions with the true labels.

    Raises:
        ConfigError: The positive class is not one of exactly two, or has no threshold.
    """
    return of_outputs(classifier, split, classifier.infer_split(split, progress))


def of_outputs(classifier: Predictor[Any], split: Labelled, outputs: Outputs) -> Predictions:
    """Return the predictions for the images of a split whose outputs are known.

    Args:
        classifier: Provides the threshold.
        split: The images with their true labels.
        outputs: For them.

    Raises:
        ConfigError: The positive class is not one of exactly two, or has no threshold.
    """
    found = Predictions(
        split=split.name,
        classes=classifier.classes,
        files=split.files,
        groups=split.groups,
        labels=split.labels,
        decisions=np.zeros(len(split.labels), np.int64),
        probabilities=outputs.probabilities,
        ood_scores=outputs.ood_scores,
        targets=split.targets,
        values=split.values,
        units=split.units,
    )
    return decided(found, classifier.spec)


def decided(found: Predictions, spec: Spec) -> Predictions:
    """Return predictions with the decisions that follow from their probabilities.

    Args:
        found: Of images, or of units; ``decisions`` and ``predicted`` are not used.
        spec: Of the classifier; for units its ``per_unit``.

    Raises:
        ConfigError: The positive class is not one of exactly two, or has no threshold.
    """
    decisions = spec.decide(found.probabilities)
    if found.targets is not None:
        return replace(found, labels=np.zeros(len(decisions), np.int64), decisions=decisions)
    if found.values is None:
        return replace(found, decisions=decisions)
    if (rule := spec.value_rule) is None:
        raise ValueError("this is a classifier without numbers")
    return replace(
        found,
        labels=Bins(rule.edges).numbers(found.values),
        decisions=decisions,
        predicted=rule.predicted(found.probabilities),
    )


def worst_of_labels(predictions: Predictions) -> IntArray:
    """Return the images with a wrong known label, the least probable truth first."""
    targets, p = predictions.targets, predictions.probabilities
    if targets is None:
        raise ValueError("these are predictions of one class per image")
    truth = targets > 0
    wrong = (targets >= 0) & (predictions.decisions != truth)
    of_truth = np.where(wrong, np.where(truth, p, 1 - p), 1).min(axis=1)
    places = np.flatnonzero(wrong.any(axis=1))
    return np.asarray(places[np.argsort(of_truth[places], kind="stable")], np.int64)


def pooled(predictions: Predictions, rule: UnitRule) -> Predictions:
    """Return one prediction for each unit, such as a patient, from all of its images.

    Args:
        predictions: Of images. The images of a unit have one class or number, labels that do not
            contradict each other, and one patient.
        rule: How they become one.

    Returns:
        Predictions of units in order of their first image, whose file and patient they have. The
        OOD score is the median of the images; the decision is the most probable class, to be made
        again by ``decided``.
    """
    names, unit = units.numbered(predictions.answered)
    first = units.first_of(unit)
    probabilities = rule.probabilities(predictions.probabilities, unit)
    scores, targets, values = predictions.ood_scores, predictions.targets, predictions.values
    return Predictions(
        split=predictions.split,
        classes=predictions.classes,
        files=tuple(predictions.files[i] for i in first),
        groups=tuple(predictions.groups[i] for i in first),
        labels=predictions.labels[first],
        decisions=np.asarray(probabilities.argmax(axis=1), np.int64),
        probabilities=probabilities,
        ood_scores=None
        if scores is None
        else np.array([np.median(scores[own]) for own in units.images_of(unit)]),
        targets=None if targets is None else units.pooled_targets(targets, unit),
        values=None if values is None else values[first],
        units=names if predictions.units else (),
    )


def write_predictions(path: Path, splits: Iterable[Predictions]) -> None:
    """Write ``predictions.csv``, one row per image.

    The columns are split, file, group, label, decision, ood_score (empty without an OOD detector)
    and ``p_<class>`` for each class, with all digits of every number; behind them unit, where these
    are not images or patients.

    Args:
        path: The file; its folder exists.
        splits: At least one, all with the same classes.

    Raises:
        ConfigError: The splits do not have the same classes.
        RunError: The file cannot be written; an existing file is kept.
    """
    given = list(splits)
    if len({predictions.classes for predictions in given}) != 1:
        received = [predictions.classes for predictions in given]
        raise ConfigError(f"Expected splits that share their classes. Received: {received}.")
    named = [_PREFIX + name for name in given[0].classes]
    if any(predictions.units for predictions in given):
        named.append(_UNIT)
    PREDICTIONS.write(
        path, (row for predictions in given for row in _rows(predictions)), *named, end="\r\n"
    )


def _rows(predictions: Predictions) -> Iterator[list[object]]:
    classes, targets = predictions.classes, predictions.targets
    named: Iterable[Iterable[object]] = (
        np.array(classes, object)[x] for x in (predictions.labels, predictions.decisions)
    )
    if targets is not None:
        named = ([written(classes, x) for x in rows] for rows in (targets, predictions.decisions))
    if predictions.values is not None and predictions.predicted is not None:
        named = (predictions.values.tolist(), predictions.predicted.tolist())
    scores = (
        [""] * len(predictions.files)
        if predictions.ood_scores is None
        else predictions.ood_scores.tolist()
    )
    rows = zip(
        predictions.files,
        predictions.groups,
        *named,
        scores,
        predictions.probabilities.tolist(),
        strict=True,
    )
    of = [[name] for name in predictions.units] or [[]] * len(predictions.files)
    for (*row, probabilities), unit in zip(rows, of, strict=True):
        yield [predictions.split, *row, *probabilities, *unit]


def read_predictions(path: Path) -> tuple[Predictions, ...]:
    """Read ``predictions.csv``.

    Args:
        path: The file.

    Returns:
        Its splits in order of appearance, bit for bit as they were written.

    Raises:
        RunError: The file is missing or is not one that ``write_predictions`` wrote.
    """
    try:
        text = read_table(path)
        cells = csv.reader(io.StringIO(text, newline=""), strict=True)
        header, *rows = ([*map(from_text, row)] for row in cells)
        has_units = header[-1:] == [_UNIT]
        classes = _classes(header[:-1] if has_units else header)
        return tuple(
            _part(name, classes, [row for row in rows if row[0] == name], has_units)
            for name in dict.fromkeys(row[0] for row in rows)
        )
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a training run.") from error
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise RunError(
            f"Cannot read {path}: {why(error)}. Restore it from the training run, or train again."
        ) from error


def _classes(header: list[str]) -> tuple[str, ...]:
    names = header[len(_COLUMNS) :]
    if header[: len(_COLUMNS)] != _COLUMNS or not all(x.startswith(_PREFIX) for x in names):
        raise ValueError(f"expected columns {', '.join(_COLUMNS)} and {_PREFIX}<class>")
    return tuple(name.removeprefix(_PREFIX) for name in names)


def _part(
    split: str, classes: tuple[str, ...], rows: list[list[str]], has_units: bool
) -> Predictions:
    end = len(_COLUMNS) + len(classes)
    if ragged := [row for row in rows if len(row) != end + has_units]:
        raise ValueError(f"expected {end + has_units} fields in {ragged[0]}")
    _, files, groups, labels, decided, far, *_ = zip(*rows, strict=True)
    zeros = np.zeros(len(files), np.int64)
    found = Predictions(
        split=split,
        classes=classes,
        files=files,
        groups=groups,
        labels=zeros,
        decisions=zeros,
        probabilities=np.array([row[len(_COLUMNS) : end] for row in rows], np.float64),
        ood_scores=np.array(far, np.float64) if all(far) else None,
        units=tuple(row[end] for row in rows) if has_units else (),
    )
    if all(label.startswith("|") for label in labels):
        present, decisions = ([read_written(x, classes) for x in xs] for xs in (labels, decided))
        return replace(
            found,
            decisions=np.array(decisions, np.int64),
            targets=np.array(present, np.float32),
        )
    if not {*labels} <= {*classes}:
        bins = Bins.of_names(classes)
        values, predicted = (np.array(texts, np.float64) for texts in (labels, decided))
        return replace(
            found,
            labels=bins.numbers(values),
            decisions=bins.numbers(predicted),
            values=values,
            predicted=predicted,
        )
    return replace(
        found,
        labels=np.array([classes.index(name) for name in labels], np.int64),
        decisions=np.array([classes.index(name) for name in decided], np.int64),
    )
