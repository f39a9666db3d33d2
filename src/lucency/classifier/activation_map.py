"""Which places of an image speak for a class: signed maps in logits, never rescaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier.spec import Spec
from lucency.errors import ClassifierError

DEFAULT_SCALE = 5.0  # logits; for classifiers that were made before scales were measured
_DECIMALS = 4
_GRADIENT = "gradient-weighted class activation map"
CLASS_ACTIVATION = "class activation map"
NOT_TESTED = "Whether its maps show what the classifier reacts to was not tested."


@dataclass(frozen=True, eq=False)
class ActivationMap:
    """A map of one image.

    Attributes:
        of: The class that positive values speak for; negative ones speak against it.
        method: How it was computed.
        scale: Value at which a colour is full, above 0; the same for all images of a classifier.
        values: (h, w) float32 in logits. Where they are of the network itself, their mean is the
            logit: bias included, before the temperature. So a place holds the logit that the
            network would give if all of the image were to it like this place.
    """

    of: str
    method: str
    scale: float
    values: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """Return class, method, scale and the values as rows, to four decimals."""
        rows = [[round(float(value), _DECIMALS) for value in row] for row in self.values]
        return {"class": self.of, "method": self.method, "scale": self.scale, "values": rows}


def method_of(spec: Spec) -> str:
    """Return how the maps of a network are computed, by name."""
    if spec.explanation:
        return str(spec.explanation["method"])
    return _GRADIENT if spec.architecture == "article" else CLASS_ACTIVATION


def scale_of(spec: Spec) -> float:
    """Return the value at which the colours of a classifier's maps are full."""
    return float(spec.explanation["scale"]) if spec.explanation else DEFAULT_SCALE


def trust_of(spec: Spec) -> tuple[bool | None, str]:
    """Return whether the maps of a classifier say something, where tested, and a sentence on it."""
    if not spec.explanation:
        return None, NOT_TESTED
    return bool(spec.explanation["informative"]), str(spec.explanation["sentence"])


def signed(
    units: NDArray[np.float32], probabilities: NDArray[np.float64], spec: Spec
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Turn what the network gives at each place into one map for each image.

    Args:
        units: (n, h, w, units): logits by place, one unit for two classes.
        probabilities: (n, classes).
        spec: Of the classifier.

    Returns:
        (n, h, w) float32, and the class that each map speaks for, (n,). For two classes that is the
        positive one, or the second where there is none. For more it is the most probable one, and
        the map is its logit less the mean logit of the others.

    Raises:
        ClassifierError: The values are not finite, or of no shape that a map can have.
    """
    _check(units, spec)
    rows = np.arange(len(units))
    if len(spec.classes) == 2:
        of = spec.classes.index(spec.positive or spec.classes[1])
        return units[..., 0] * np.float32(2 * of - 1), np.full(len(units), of, np.int64)
    best = np.asarray(probabilities.argmax(axis=1), np.int64)
    chosen = units[rows, :, :, best]
    others = (units.sum(axis=-1) - chosen) / (units.shape[-1] - 1)
    return np.asarray(chosen - others, np.float32), best


def _check(units: NDArray[np.float32], spec: Spec) -> None:
    wanted = 1 if len(spec.classes) == 2 else len(spec.classes)
    sides = units.shape[1:3]
    fits = all(1 <= side <= most for side, most in zip(sides, spec.size, strict=True))
    if not fits or units.shape[3] != wanted or not np.isfinite(units).all():
        raise ClassifierError(
            f"The activation map is none: expected finite numbers of shape (n, h, w, {wanted}), no "
            f"larger than the image. Received: {units.shape}. Train again."
        )
