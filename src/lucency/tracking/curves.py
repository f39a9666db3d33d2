"""Curves for TensorBoard: counts by threshold, and images of ROC curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

THRESHOLDS = 101
_SIDE, _EDGE = 360, 24  # pixels of an image, and of the margin around its axes
IMAGE = {"height": _SIDE, "width": _SIDE, "colorspace": 3}  # of TensorBoard's summary
_INK, _BAND, _GREY = (31, 119, 180), (205, 226, 242), (150, 150, 150)


def counts(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the data of a precision-recall curve in TensorBoard.

    Args:
        truth: (n,) whether each image is of the class.
        scores: (n,) probability of the class.

    Returns:
        (6, 101) float32: true and false positives, true and false negatives, precision and recall
        at 101 thresholds from 0 to 1; without positive decisions, the precision is 0.
    """
    decided = scores[None, :] >= np.linspace(0, 1, THRESHOLDS)[:, None]
    true, false = (decided & truth).sum(axis=1), (decided & ~truth).sum(axis=1)
    missed, negatives = truth.sum() - true, (~truth).sum() - false
    precision, recall = true / np.maximum(true + false, 1), true / max(1, truth.sum())
    return np.stack([true, false, negatives, missed, precision, recall]).astype(np.float32)


def roc_image(roc: Mapping[str, Sequence[float]]) -> bytes:
    """Return a PNG file of 360 x 360 pixels: the ROC curve with its 95 % band.

    Args:
        roc: ``curves.<class>.roc`` of ``evaluation.json``: fpr, tpr, low and high.
    """
    image = Image.new("RGB", (_SIDE, _SIDE), "white")
    draw = ImageDraw.Draw(image)
    band = [*zip(roc["fpr"], roc["high"], strict=True)]
    band += reversed([*zip(roc["fpr"], roc["low"], strict=True)])
    draw.polygon(_placed(band), fill=_BAND)
    draw.line(_placed([(0, 0), (1, 1)]), fill=_GREY)
    draw.rectangle([*_placed([(0, 1)])[0], *_placed([(1, 0)])[0]], outline=_GREY)
    draw.line(_placed([*zip(roc["fpr"], roc["tpr"], strict=True)]), fill=_INK, width=2)
    draw.text((_EDGE, _SIDE - _EDGE + 6), "1 - specificity, 0 to 1", fill="black")
    draw.text((_EDGE, 6), "sensitivity, 0 to 1, with 95 % band", fill="black")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _placed(points: Sequence[tuple[float, float]]) -> list[Any]:
    room = _SIDE - 2 * _EDGE
    return [(_EDGE + x * room, _SIDE - _EDGE - y * room) for x, y in points]
