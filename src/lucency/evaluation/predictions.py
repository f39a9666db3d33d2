"""A classifier's answers for a split beside the truth, in memory and as ``predictions.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from lucency.classifier import Outputs, Spec
from lucency.errors import ConfigError, RunError, nearest
from lucency.io import read_table, why, write_text
from lucency.metrics import FloatArray, IntArray, decide
from lucency.progress import SILENT, Progress

_COLUMNS = ["split", "file", "group", "label", "decision", "ood_score"]
_PREFIX = "p_"


class Labelled(Protocol):
    """One split of a data set, as far as evaluating needs it."""

    @property
    def name(self) -> str:
        """Return "train", "val" or "test"."""

    @property
    def files(self) -> tuple[str, ...]:
        """Return n names relative to the data folder."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Return n patients, "" where unknown."""

    @property
    def labels(self) -> IntArray:
        """Return (n,) true class indices."""


SplitT = TypeVar("SplitT", bound=Labelled)
_SplitT_contra = TypeVar("_SplitT_contra", contravariant=True)


class Predictor(Protocol[_SplitT_contra]):
    """A classifier, as far as evaluating needs it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of the probabilities."""

    @property
    def positive(self) -> str | None:
        """Return the class that is looked for, one of two; None for any other number."""

    @property
    def threshold(self) -> float | None:
        """Return the probability from which the positive class is decided."""

    @property
    def spec(self) -> Spec:
        """Return how the threshold was chosen, the prior and the prediction sets."""

    def infer_split(self, split: _SplitT_contra, progress: Progress) -> Outputs:
        """Return the calibrated probabilities, and distances from the training images."""


@dataclass(frozen=True)
class Predictions:
    """What a classifier said about each image of one split, beside the truth.

    Attributes:
        split: "train", "val" or "test".
        classes: Class names in the order of the columns.
        files: n names relative to the data folder.
        groups: n patients, "" where unknown.
        labels: (n,) int64 true class indices.
        decisions: (n,) int64 decided class indices.
        probabilities: (n, classes) float64, rows sum to 1.
        distances: (n,) float64, out of distribution above 1; None without an OOD detector.
    """

    split: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: IntArray
    decisions: IntArray
    probabilities: FloatArray
    ood_scores: FloatArray | None = None


def find_positive(classes: Sequence[str], positive: str | None) -> int | None:
    """Return the index of the positive class.

    Args:
        classes: Class names in order.
        positive: One of exactly two classes, or None.

    Returns:
        Its index, or None.

    Raises:
        ConfigError: It is not one of exactly two classes.
    """
    if positive is None:
        return None
    if positive not in classes or len(classes) != 2:
        raise ConfigError(
            f"The positive class must be one of exactly two classes; there are "
            f"{', '.join(classes)}. Received: {positive!r}.{nearest(positive, classes)}"
        )
    return list(classes).index(positive)


def predict(
    classifier: Predictor[SplitT], split: SplitT, progress: Progress = SILENT
) -> Predictions:
    """Let a classifier answer a whole split.

    Args:
        classifier: Gives the probabilities and the threshold.
        split: The images and their truth.
        progress: Hears how far it is.

    Returns:
        Probabilities and decisions beside the truth.

    Raises:
        ConfigError: The positive class is not one of two, or has no threshold.
    """
    positive = find_positive(classifier.classes, classifier.positive)
    answers = classifier.infer_split(split, progress)
    return Predictions(
        split=split.name,
        classes=classifier.classes,
        files=split.files,
        groups=split.groups,
        labels=split.labels,
        decisions=decide(answers.probabilities, positive, classifier.threshold),
        probabilities=answers.probabilities,
        ood_scores=answers.ood_scores,
    )


def write_predictions(path: Path, splits: Iterable[Predictions]) -> None:
    """Write ``predictions.csv``, one row an image.

    The columns are split, file, group, label, decision, distance (empty without an OOD detector) and
    ``p_<class>`` for each class, with all digits of every number.

    Args:
        path: The file; its folder exists.
        splits: At least one, all with the same classes.

    Raises:
        ConfigError: The splits do not have the same classes.
        RunError: The file cannot be written; what was there stays.
    """
    parts = list(splits)
    if len({part.classes for part in parts}) != 1:
        received = [part.classes for part in parts]
        raise ConfigError(f"Expected splits that share their classes. Received: {received}.")
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # ends lines with \r\n, without which it leaves a lone \r unquoted
    writer.writerow(_COLUMNS + [_PREFIX + name for name in parts[0].classes])
    for part in parts:
        named = (np.array(part.classes, object)[x] for x in (part.labels, part.decisions))
        far = [""] * len(part.files) if part.ood_scores is None else part.ood_scores.tolist()
        rows = zip(part.files, part.groups, *named, far, part.probabilities.tolist(), strict=True)
        writer.writerows([part.split, *row, *given] for *row, given in rows)
    write_text(path, text.getvalue())


def read_predictions(path: Path) -> tuple[Predictions, ...]:
    """Read ``predictions.csv`` back.

    Args:
        path: The file.

    Returns:
        Its splits in the order in which they first appear, bit for bit as they were written.

    Raises:
        RunError: The file is missing or is not one that ``write_predictions`` wrote.
    """
    try:
        text = read_table(path)
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        classes = _classes(header)
        return tuple(
            _part(name, classes, [row for row in rows if row[0] == name])
            for name in dict.fromkeys(row[0] for row in rows)
        )
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a training run.") from error
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise RunError(
            f"Cannot read {path}: {why(error)}. Evaluate the classifier again to make it anew."
        ) from error


def _classes(header: list[str]) -> tuple[str, ...]:
    names = header[len(_COLUMNS) :]
    if header[: len(_COLUMNS)] != _COLUMNS or not all(x.startswith(_PREFIX) for x in names):
        raise ValueError(f"expected columns {', '.join(_COLUMNS)} and {_PREFIX}<class>")
    return tuple(name.removeprefix(_PREFIX) for name in names)


def _part(split: str, classes: tuple[str, ...], rows: list[list[str]]) -> Predictions:
    ragged = [row for row in rows if len(row) != len(_COLUMNS) + len(classes)]
    if ragged:
        raise ValueError(f"expected {len(_COLUMNS) + len(classes)} fields in {ragged[0]}")
    _, files, groups, labels, decided, far, *_ = zip(*rows, strict=True)
    return Predictions(
        split=split,
        classes=classes,
        files=files,
        groups=groups,
        labels=np.array([classes.index(name) for name in labels], np.int64),
        decisions=np.array([classes.index(name) for name in decided], np.int64),
        probabilities=np.array([row[len(_COLUMNS) :] for row in rows], np.float64),
        ood_scores=np.array(far, np.float64) if all(far) else None,
    )
