"""Compare the predictions of corrupted images with those of the same images uncorrupted."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.calibration.values import ValueRule, inside
from lucency.config import Corruptions
from lucency.dataset import Split, evenly
from lucency.errors import DataError
from lucency.evaluation.robustness.corruptions import Corruption, Pixels, pixel_corruptions
from lucency.evaluation.robustness.reencode import (
    FILE_CORRUPTIONS,
    FileCorruption,
    corrupted_files,
)
from lucency.metrics import FloatArray, IntArray
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import FORMAT

_BATCH = 64

# Each kind once, at the severity that flips most predictions on chest radiographs
# (docs/explanation/accuracy.md). Left out: saving as PNG, which flips none, and halving the size,
# which is a milder blur.
STANDARD = frozenset(
    {
        ("rotation", "+20 degrees"),
        ("zoom", "x 1.2"),
        ("stretch", "height x 0.8"),
        ("stretch", "height x 1.2"),
        ("gamma", "0.7"),
        ("brightness", "-40 of 255"),
        ("noise", "sd 20 of 255"),
        ("blur", "sigma 2 pixels"),
        ("inversion", "black for white"),
        ("upside down", ""),
        ("mirrored", "left for right"),
        ("marker", "bright letter at the border"),
        ("decoded whole", ""),  # the baseline of JPEG files
        ("saved as JPEG", "quality 30"),
    }
)


class PixelClassifier(Protocol):
    """The interface of a classifier that robustness is evaluated with."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of the probabilities."""

    @property
    def positive(self) -> str | None:
        """Return the positive class of two; None for any other number of classes."""

    @property
    def value(self) -> ValueRule | None:
        """Return how probabilities become a number; None where a class is the answer."""

    def predict_pixels(self, pixels: Pixels) -> FloatArray:
        """Return (n, classes) probabilities of (n, height, width, channels) uint8."""

    def decide(self, probabilities: FloatArray) -> IntArray:
        """Return the (n,) decided classes."""


class _Predicted(NamedTuple):
    probabilities: FloatArray
    decisions: IntArray


def evaluate_robustness(
    classifier: PixelClassifier,
    split: Split,
    *,
    root: Path,
    corruptions: Corruptions = "standard",
    limit: int = 400,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Corrupt images and compare the predictions with those of the uncorrupted images.

    Args:
        classifier: Predicts from pixels at the size of the split.
        split: The images; n >= 1.
        root: Folder that ``split.files`` are relative to; the files are read again.
        corruptions: "standard" for the 14 of ``STANDARD``, "all" for every kind and severity (36).
        limit: Most images; of more, that many are drawn evenly over the split.
        seed: Of the noise and of the positions of the markers.
        progress: Called after every corruption.

    Returns:
        "format", "split", "n" and "rows". A row has "corruption", "severity", and under that
        corruption "auroc", "accuracy", "sensitivity" and "specificity" (means over the classes
        without a positive one; None where undefined), the "mean_abs_difference" and
        "max_abs_difference" of the probability of the positive class (without one, of the class
        that differs most) and the share of "flipped_predictions". A row of numbers has
        "mean_absolute_error", "root_mean_squared_error", "r2" and "interval_coverage" (None where
        undefined), and the differences of the predicted number. The first row is the
        uncorrupted images. Corruptions of files are compared with the file decoded whole, which
        has a row of its own: the data set decodes large JPEG files at a fraction of their size.

    Raises:
        DataError: The split is empty, the limit is below 1, or a file is missing or has changed.
    """
    if not len(split) or limit < 1:
        raise DataError(
            "Cannot evaluate robustness: expected at least one image. "
            f"Received: {len(split)} images with a limit of {limit}."
        )
    chosen = evenly(len(split), limit)
    pixels = split.pixels_8bit(chosen)  # 8 bits, as the corruptions are
    k = metrics.positive_index(classifier.classes, classifier.positive)
    targets = None if split.targets is None else split.targets[chosen]
    row: Callable[..., dict[str, Any]] = partial(
        _row, labels=split.labels[chosen], positive=k, targets=targets
    )
    if split.values is not None and classifier.value is not None:
        row = partial(_row_of_values, true=split.values[chosen], rule=classifier.value)
    contents = [split.cache.sha256[place] for place in split.rows[chosen]]
    files = [(root / split.files[i], sha256) for i, sha256 in zip(chosen, contents, strict=True)]
    of_pixels, of_files = _chosen(corruptions, seed)
    total = len(of_pixels) + len(of_files)
    with progress.task("Evaluating robustness", total, "corruptions") as task:
        baseline = _predict(classifier, pixels)
        rows = [row("none", "as they are", baseline, baseline)]
        for each in of_pixels:
            corrupted = _predict(classifier, each.apply(pixels))
            rows.append(row(each.name, each.severity, corrupted, baseline))
            task.advance()
        whole = None
        for of_file, inputs in corrupted_files(files, pixels.shape, of_files, split.cache.depth):
            corrupted = _predict(classifier, inputs)
            # The file decoded whole comes first; every other file is compared with it.
            rows.append(row(of_file.name, of_file.severity, corrupted, whole or baseline))
            whole = whole or corrupted
            task.advance()
    return {"format": FORMAT, "split": split.name, "n": len(chosen), "rows": rows}


def _chosen(corruptions: Corruptions, seed: int) -> tuple[list[Corruption], list[FileCorruption]]:
    def wanted(each: Corruption | FileCorruption) -> bool:
        return corruptions == "all" or (each.name, each.severity) in STANDARD

    return [*filter(wanted, pixel_corruptions(seed))], [*filter(wanted, FILE_CORRUPTIONS)]


def _predict(classifier: PixelClassifier, pixels: Pixels) -> _Predicted:
    batches = (pixels[i : i + _BATCH] for i in range(0, len(pixels), _BATCH))
    probabilities = np.concatenate(
        [classifier.predict_pixels(np.ascontiguousarray(batch)) for batch in batches]
    )
    return _Predicted(probabilities, classifier.decide(probabilities))


def _row(
    corruption: str,
    severity: str,
    after: _Predicted,
    before: _Predicted,
    *,
    labels: IntArray,
    positive: int | None,
    targets: NDArray[np.float32] | None = None,
) -> dict[str, Any]:
    differences = np.abs(after.probabilities - before.probabilities)
    difference = differences.max(axis=1) if positive is None else differences[:, positive]
    return {
        "corruption": corruption,
        "severity": severity,
        **(_figures(labels, after, positive) if targets is None else _means(targets, after)),
        "mean_abs_difference": float(difference.mean()),
        "max_abs_difference": float(difference.max()),
        "flipped_predictions": float((after.decisions != before.decisions).mean()),
    }


def _row_of_values(
    corruption: str,
    severity: str,
    after: _Predicted,
    before: _Predicted,
    *,
    true: FloatArray,
    rule: ValueRule,
) -> dict[str, Any]:
    """Return the figures of numbers under a corruption."""
    predicted, unchanged = (rule.predicted(x.probabilities) for x in (after, before))
    found = metrics.value_figures(true, predicted, np.ones(len(true)))
    intervals, difference = rule.intervals(after.probabilities), abs(predicted - unchanged)
    shares = {} if intervals is None else {"interval_coverage": inside(true, intervals).mean()}
    figures = {"interval_coverage": math.nan, **found, **shares}
    names = ("mean_absolute_error", "root_mean_squared_error", "r2", "interval_coverage")
    return {
        "corruption": corruption,
        "severity": severity,
        **{name: float(x) if math.isfinite(x := figures[name]) else None for name in names},
        "mean_abs_difference": float(difference.mean()),
        "max_abs_difference": float(difference.max()),
    }


def _figures(
    labels: IntArray, predicted: _Predicted, positive: int | None
) -> dict[str, float | None]:
    classes = predicted.probabilities.shape[1]
    confusion = metrics.confusion_matrix(labels, predicted.decisions, classes)
    if positive is None:
        area = metrics.macro_auroc(labels, predicted.probabilities)
    else:
        area = float(metrics.auroc(labels == positive, predicted.probabilities[:, positive]))
    wanted = slice(None) if positive is None else slice(positive, positive + 1)
    found = {
        "auroc": area,
        "accuracy": metrics.accuracy(confusion),
        "sensitivity": metrics.sensitivity(confusion)[wanted].mean(),
        "specificity": metrics.specificity(confusion)[wanted].mean(),
    }
    return {name: float(x) if math.isfinite(x) else None for name, x in found.items()}


def _means(targets: NDArray[np.float32], predicted: _Predicted) -> dict[str, float | None]:
    """Return the means over several labels."""
    known, truth = targets >= 0, targets > 0
    right = predicted.decisions == truth
    with np.errstate(invalid="ignore"):
        found = {
            "auroc": metrics.mean_auroc(targets, predicted.probabilities),
            **{
                name: float(np.mean((right & among).sum(axis=0) / among.sum(axis=0)))
                for name, among in (
                    ("accuracy", known), ("sensitivity", known & truth),
                    ("specificity", known & ~truth),
                )
            },
        }  # fmt: skip
    return {name: x if math.isfinite(x) else None for name, x in found.items()}
