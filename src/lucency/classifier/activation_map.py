"""Class activation maps: the evidence at each position of an image, in logits, never rescaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier.spec import Spec
from lucency.errors import ClassifierError
from lucency.task import task_of

DEFAULT_SCALE = 5.0  # logits; for classifiers whose maps were not tested
_DECIMALS = 4
_GRADIENT = "gradient-weighted class activation map"
CLASS_ACTIVATION = "class activation map"
NOT_TESTED = "It was not tested whether the maps show what the classifier reacts to."


@dataclass(frozen=True, eq=False)
class ActivationMap:
    """The activation map of one image.

    Attributes:
        of: The class that positive values are evidence for, and negative values against.
        method: How it was computed.
        scale: Value at the end of the colour scale, above 0; the same for all images of a
            classifier.
        values: (h, w) float32 in logits. Their mean is the logit, including the bias and before
            the temperature: each position has the logit that the network would return if the whole
            image were like this position.
    """

    of: str
    method: str
    scale: float
    values: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """Return class, method, scale and the rows of values, rounded to four decimals."""
        rows = [[round(float(value), _DECIMALS) for value in row] for row in self.values]
        return {"class": self.of, "method": self.method, "scale": self.scale, "values": rows}


def method_of(spec: Spec) -> str:
    """Return the name of the method that computes the maps of a network."""
    if spec.explanation:
        return str(spec.explanation["method"])
    return _GRADIENT if spec.architecture == "article" else CLASS_ACTIVATION


def scale_of(spec: Spec) -> float:
    """Return the value at the end of the colour scale of a classifier's maps."""
    return float(spec.explanation["scale"]) if spec.explanation else DEFAULT_SCALE


def trust_of(spec: Spec) -> tuple[bool | None, str]:
    """Return whether the maps are informative, or None if not tested, and a sentence."""
    if not spec.explanation:
        return None, NOT_TESTED
    return bool(spec.explanation["informative"]), str(spec.explanation["sentence"])


def signed(
    units: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    spec: Spec,
    label: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Turn the network's logits at each position into one map for each image.

    Args:
        units: (n, h, w, units): logits at each position, one unit for two classes.
        probabilities: (n, classes).
        spec: Of the classifier.
        label: Number of the label that all maps are of; of several labels only.

    Returns:
        (n, h, w) float32, and the class of each map, (n,), as ``classes_of`` returns it. With more
        than two classes the map is the logit of the class minus the mean logit of the others; of
        several labels it is that of the most probable one.

    Raises:
        ClassifierError: The values are not finite, or their shape is invalid.
    """
    _check(units, spec)
    rows = np.arange(len(units))
    of = classes_of(probabilities, spec, label)
    if is_binary(spec):
        signs = (2 * of - 1).astype(np.float32)
        return units[..., 0] * signs[:, None, None], of
    chosen = units[rows, :, :, of]
    if task_of(spec.task).is_multilabel:
        return chosen, of
    others = (units.sum(axis=-1) - chosen) / (units.shape[-1] - 1)
    return np.asarray(chosen - others, np.float32), of


def classes_of(
    probabilities: NDArray[np.float64], spec: Spec, label: int | None = None
) -> NDArray[np.int64]:
    """Return the class whose evidence the map of each image shows, (n,).

    For two classes it is the positive one, or the second if there is none. For more it is the most
    probable one, for grades the highest, and for a number the highest bin. For several labels it is
    ``label``, or the most probable one.
    """
    if label is not None:
        return np.full(len(probabilities), label, np.int64)
    if is_binary(spec):
        of = spec.classes.index(spec.positive or spec.classes[1])
        return np.full(len(probabilities), of, np.int64)
    return task_of(spec.task).evidence_class(probabilities)


def is_binary(spec: Spec) -> bool:
    """Tell whether the network has one unit, for the second of two classes."""
    return len(spec.classes) == 2 and not task_of(spec.task).is_multilabel


def _check(units: NDArray[np.float32], spec: Spec) -> None:
    expected = 1 if is_binary(spec) else len(spec.classes)
    sides = units.shape[1:3]
    fits = all(1 <= side <= limit for side, limit in zip(sides, spec.size, strict=True))
    if not fits or units.shape[3] != expected or not np.isfinite(units).all():
        raise ClassifierError(
            f"The activation map is invalid: expected finite numbers of shape (n, h, w, {expected})"
            f", no larger than the image. Received: {units.shape}. Train again."
        )
