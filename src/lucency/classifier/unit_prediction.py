"""The prediction for a unit of several images, such as a patient, and what it rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.calibration.units import Evidence, UnitRule, evidence, two_classes
from lucency.calibration.values import value_evidence
from lucency.classifier.prediction import Outputs, Prediction, predictions
from lucency.classifier.spec import Spec
from lucency.errors import ClassifierError


def predict_unit(spec: Spec, name: str, images: Sequence[Prediction]) -> Prediction:
    """Return the answer for a unit, such as a patient, from the predictions for its images.

    Args:
        spec: Of the classifier.
        name: Of the unit.
        images: Predictions; those of unreadable files are not used.

    Returns:
        A prediction whose ``file`` is the name. It abstains as that of an image does: if half of
        the images are out of distribution, or if the answer is ambiguous.

    Raises:
        ClassifierError: The classifier has answers for images only.
    """
    rule, of_units = spec.unit_rule, spec.per_unit
    if rule is None or of_units is None:
        raise ClassifierError(
            "This classifier has answers for images only. Train with --unit patient."
        )
    used = [each for each in images if each.probabilities]
    if not used:
        return Prediction(name, "", (), f"no image of the {rule.name} can be read")
    of_images = np.array([each.probabilities for each in used])
    p = rule.probabilities(of_images, np.zeros(len(used), np.int64))
    scores = [each.ood_score for each in used if each.ood_score is not None]
    outputs = Outputs(p, np.array([np.median(scores)]) if scores else None)
    (found,) = predictions(of_units, outputs, [name])
    # Of equal images the decisive one must not depend on their order.
    order = sorted(range(len(used)), key=lambda i: used[i].file)
    files = [used[i].file for i in order]
    return dataclasses.replace(
        found,
        notes=tuple(dict.fromkeys(note for each in used for note in each.notes)),
        evidence=_evidence(spec, of_units, rule, of_images[order], p, files),
    )


def _evidence(
    spec: Spec,
    of_units: Spec,
    rule: UnitRule,
    images: NDArray[np.float64],
    unit: NDArray[np.float64],
    files: Sequence[str],
) -> dict[str, Any]:
    """Return ``Prediction.evidence`` of a unit with these probabilities."""
    if value := of_units.value_rule:
        return _written(value_evidence(value, rule, images), files)
    own, (decided,) = spec.decide(images), of_units.decide(unit)
    if not spec.labels:
        found = evidence(rule, images, int(decided), own)
        return {"class": spec.classes[decided], **_written(found, files)}
    labels = {
        name: evidence(rule.of_label(k), two_classes(images[:, k]), 1, own[:, k])
        for k, name in enumerate(spec.classes)
        if decided[k]
    }
    return {
        "images": len(files),
        "labels": {name: _written(found, files) for name, found in labels.items()},
    }


def _written(found: Evidence, files: Sequence[str]) -> dict[str, Any]:
    return {
        "image": files[found.decisive],
        "change": found.changes[found.decisive] if found.changes else None,
        "images": len(files),
        "agree": found.agree,
        "lowest": found.lowest,
        "highest": found.highest,
    }
