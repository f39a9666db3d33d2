"""What a classifier says: of pixels as arrays, and of one file for people, with when to abstain."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier.activation_map import ActivationMap
from lucency.imaging.dicom import Note, in_words


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the network says of n images.

    Attributes:
        probabilities: (n, classes) float64, calibrated, rows sum to 1.
        distances: (n,) float64, how unlike the training images: out of distribution above 1;
            ``None`` for a classifier without an OOD detector.
        maps: (n, h, w) float32, signed and in logits: what each place says for or against the class
            in ``map_classes``; ``None`` where they were not asked for or there are none. The mean
            of a map is the logit (less that of the other classes, where there are more than two),
            bias included and before the temperature.
        map_classes: (n,) int64, places in the classes; ``None`` where there are no maps.
        embeddings: (n, d) float32, what the last layer sees; ``None`` where it was not asked for.
    """

    probabilities: NDArray[np.float64]
    ood_scores: NDArray[np.float64] | None = None
    maps: NDArray[np.float32] | None = None
    map_classes: NDArray[np.int64] | None = None
    embeddings: NDArray[np.float32] | None = None


def joined(parts: Sequence[Outputs], count: int | None = None) -> Outputs:
    """Return several batches' answers as one, up to ``count`` images, without embeddings."""
    probabilities = np.concatenate([part.probabilities for part in parts])[:count]
    others = [
        [found for part in parts if (found := getattr(part, name)) is not None]
        for name in ("distances", "maps", "map_classes")
    ]
    return Outputs(
        probabilities, *(np.concatenate(each)[:count] if each else None for each in others)
    )


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the classifier says of one file.

    Attributes:
        file: The file as it was given.
        decision: A class name; empty where the classifier abstains.
        probabilities: Probability of each class, in the order of ``Classifier.classes``; empty
            where the file could not be read.
        reason: Why it abstains: unreadable, out of distribution or ambiguous; empty where not.
        prediction_set: The classes that validation does not rule out; empty where there are none.
        distance: How unlike the training images: out of distribution above 1.
        activation_map: Which places speak for and against a class, where that was asked for and the
            classifier can tell.
        notes: What a DICOM file says of itself that its reader should know, in words.
    """

    file: str
    decision: str
    probabilities: tuple[float, ...]
    reason: str = ""
    prediction_set: tuple[str, ...] = ()
    ood_score: float | None = None
    activation_map: ActivationMap | None = None
    notes: tuple[str, ...] = ()

    def noted(self, notes: Note) -> Prediction:
        """Return the prediction with what its file says of itself."""
        return dataclasses.replace(self, notes=in_words(notes)) if notes else self

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return all but the file's name: the same keys wherever a prediction is given as JSON.

        Args:
            classes: Class names, in the order of the probabilities.
        """
        document = {
            "decision": self.decision or None,
            "probabilities": dict(zip(classes, self.probabilities, strict=False)) or None,
            "reason": self.reason or None,
            "prediction_set": list(self.prediction_set),
            "ood_score": self.ood_score,
            "notes": list(self.notes),
        }
        if self.activation_map is not None:
            document["activation_map"] = self.activation_map.to_json()
        return document


def judged(
    file: str,
    classes: tuple[str, ...],
    row: NDArray[np.float64],
    decision: int,
    candidates: NDArray[np.bool_] | None,
    ood_score: float | None,
    activation_map: ActivationMap | None = None,
) -> Prediction:
    """Turn numbers into a prediction that abstains rather than guesses.

    It abstains where the image is unlike the training images, and where the prediction set is
    not just the decided class.
    """
    names = () if candidates is None else tuple(np.array(classes, object)[candidates])
    reason = ""
    if ood_score is not None and not ood_score <= 1:
        reason = f"out of distribution: unlike the training images ({ood_score:.3g}; limit 1)"
    elif candidates is not None and names != (classes[decision],):
        reason = f"ambiguous: {' or '.join(names)}" if names else "ambiguous: no class fits well"
        if len(names) == 1:
            reason = f"ambiguous: {classes[decision]} by the threshold, {names[0]} by validation"
    return Prediction(
        file=file,
        decision="" if reason else classes[decision],
        probabilities=tuple(map(float, row)),
        reason=reason,
        prediction_set=names,
        ood_score=ood_score,
        activation_map=activation_map,
    )
