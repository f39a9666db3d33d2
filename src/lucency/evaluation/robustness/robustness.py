"""Images in, answers before and after every change out."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from lucency import metrics
from lucency.dataset import Split, evenly
from lucency.errors import DataError
from lucency.evaluation.robustness.corruptions import Pixels, changes
from lucency.evaluation.robustness.reencode import FILE_CHANGES, changed_files
from lucency.metrics import FloatArray, IntArray
from lucency.progress import SILENT, Progress

FORMAT = 1
_BATCH = 64


class Answering(Protocol):
    """A classifier, as far as stressing needs it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of the probabilities."""

    @property
    def positive(self) -> str | None:
        """Return the class that is looked for, one of two; None for any other number."""

    def predict_pixels(self, pixels: Pixels) -> FloatArray:
        """Return (n, classes) probabilities of (n, height, width, channels) uint8."""

    def decide(self, probabilities: FloatArray) -> IntArray:
        """Return the (n,) classes decided for."""


class _Answers(NamedTuple):
    probabilities: FloatArray
    decisions: IntArray


def stress(
    classifier: Answering,
    split: Split,
    *,
    root: Path,
    limit: int = 400,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Change images in many ways and compare the answers with those to the unchanged ones.

    Args:
        classifier: Answers at the size of the split's pixels.
        split: The images; n >= 1.
        root: Folder that ``split.files`` are relative to; the files are read again.
        limit: Most images; of more, that many are drawn evenly over the split.
        seed: Of noise and of the markers' places.
        progress: Hears how far it is.

    Returns:
        "format", "split", "n" and "rows": per change its "change", "strength", "auroc",
        "accuracy", "sensitivity" and "specificity" after it (means over the classes without a
        positive one; None where undefined), the "mean_change" and "max_change" of the
        probability of the positive class (without one, of the class that changes most) and the
        share "flipped" of decisions. The first row is the images as they are. Changes of files
        are compared with the file decoded whole, which has a row of its own: the data set
        decodes large JPEG files at a fraction of their size.

    Raises:
        DataError: The split is empty, the limit is below 1, or a file has vanished or changed.
    """
    if not len(split) or limit < 1:
        raise DataError(
            "Nothing to stress: expected at least one image. "
            f"Received: {len(split)} images with a limit of {limit}."
        )
    chosen = evenly(len(split), limit)
    pixels, labels = split.pixels(chosen), split.labels[chosen]
    positive = (
        None if classifier.positive is None else classifier.classes.index(classifier.positive)
    )
    row = partial(_row, labels=labels, positive=positive)
    contents = [split.store.sha256[row] for row in split.rows[chosen]]
    files = [(root / split.files[i], sha256) for i, sha256 in zip(chosen, contents, strict=True)]
    with progress.task("Stressing", len(changes(seed)) + len(FILE_CHANGES), "changes") as task:
        plain = _answer(classifier, pixels)
        rows = [row("none", "as they are", plain, plain)]
        for change in changes(seed):
            changed = _answer(classifier, change.apply(pixels))
            rows.append(row(change.name, change.strength, changed, plain))
            task.advance()
        whole = plain
        for name, strength, seen in changed_files(files, pixels.shape):
            changed = _answer(classifier, seen)
            rows.append(row(name, strength, changed, whole))
            # The first is the file decoded whole, which all others are compared with.
            whole = changed if whole is plain else whole
            task.advance()
    return {"format": FORMAT, "split": split.name, "n": len(chosen), "rows": rows}


def _answer(classifier: Answering, pixels: Pixels) -> _Answers:
    parts = (pixels[i : i + _BATCH] for i in range(0, len(pixels), _BATCH))
    probabilities = np.concatenate(
        [classifier.predict_pixels(np.ascontiguousarray(part)) for part in parts]
    )
    return _Answers(probabilities, classifier.decide(probabilities))


def _row(
    change: str,
    strength: str,
    after: _Answers,
    before: _Answers,
    *,
    labels: IntArray,
    positive: int | None,
) -> dict[str, Any]:
    moved = np.abs(after.probabilities - before.probabilities)
    distance = moved.max(axis=1) if positive is None else moved[:, positive]
    return {
        "change": change,
        "strength": strength,
        **_figures(labels, after, positive),
        "mean_change": float(distance.mean()),
        "max_change": float(distance.max()),
        "flipped": float((after.decisions != before.decisions).mean()),
    }


def _figures(labels: IntArray, answers: _Answers, positive: int | None) -> dict[str, float | None]:
    classes = answers.probabilities.shape[1]
    confusion = metrics.confusion_matrix(labels, answers.decisions, classes)
    if positive is None:
        area = metrics.macro_auroc(labels, answers.probabilities)
    else:
        area = float(metrics.auroc(labels == positive, answers.probabilities[:, positive]))
    wanted = slice(None) if positive is None else slice(positive, positive + 1)
    found = {
        "auroc": area,
        "accuracy": metrics.accuracy(confusion),
        "sensitivity": metrics.sensitivity(confusion)[wanted].mean(),
        "specificity": metrics.specificity(confusion)[wanted].mean(),
    }
    return {name: float(x) if math.isfinite(x) else None for name, x in found.items()}
