"""Metrics of subgroups of a split: images of one sex, machine or kind of disease."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lucency import metrics
from lucency.errors import DataError
from lucency.metrics import BoolArray, Estimate, FloatArray, IntArray


def subgroups(
    attributes: Mapping[str, Sequence[str]],
    labels: IntArray,
    decisions: IntArray,
    probabilities: FloatArray,
    *,
    groups: Sequence[str] | None,
    classes: Sequence[str],
    positive: int | None,
) -> list[dict[str, Any]]:
    """Evaluate each value of each attribute separately, with 95 % intervals.

    Args:
        attributes: Name -> the value of each of n images; images with "" are in no subgroup.
        labels: (n,) true class indices.
        decisions: (n,) decided class indices.
        probabilities: (n, classes).
        groups: n patients, "" where unknown; None when none is known.
        classes: Class names in order.
        positive: Index of the positive class; without one, only the accuracy is defined.

    Returns:
        Per subgroup, in the order of attributes and values: "attribute", "value", "n" images,
        "groups" patients (None when unknown), "counts" of images by class, "metrics" (Estimates
        of accuracy, sensitivity, specificity, auroc; nan where undefined) and "auroc_against":
        "subgroup", or "all others" where the subgroup has one class only: its images are then
        ranked against all images of the other class in the split.

    Raises:
        DataError: An attribute does not have one value for each image.
    """
    cluster = metrics.cluster_numbers(groups or [""] * len(labels))
    correct = labels == decisions
    true = None if positive is None else labels == positive
    scores = probabilities[:, positive or 0]
    result = []
    for attribute, value, inside in parts(attributes, len(labels)):
        area, against = _auroc(true, scores, cluster, inside)
        result.append(
            {
                "attribute": attribute,
                "value": value,
                "n": int(inside.sum()),
                "groups": len(np.unique(cluster[inside])) if any(groups or ()) else None,
                "counts": {
                    name: int((inside & (labels == k)).sum()) for k, name in enumerate(classes)
                },
                "metrics": {**_shares(correct, true, cluster, inside), "auroc": area},
                "auroc_against": against,
            }
        )
    return result


def parts(attributes: Mapping[str, Sequence[str]], n: int) -> Iterator[tuple[str, str, BoolArray]]:
    """Yield the attribute and value of each subgroup, and a (n,) mask of its images.

    Raises:
        DataError: An attribute does not have one value for each of n images.
    """
    for attribute, values in attributes.items():
        if len(values) != n:
            raise DataError(
                f"Expected a value of {attribute!r} for each of {n} images. "
                f"Received: {len(values)}."
            )
        for value in sorted(set(values) - {""}):
            yield attribute, value, np.array([each == value for each in values], bool)


def _shares(
    correct: BoolArray, true: BoolArray | None, cluster: IntArray, inside: BoolArray
) -> dict[str, Estimate]:
    none = np.zeros_like(inside)
    among = {
        "accuracy": inside,
        "sensitivity": none if true is None else inside & true,
        "specificity": none if true is None else inside & ~true,
    }
    return {name: metrics.proportion(correct[of], cluster[of]) for name, of in among.items()}


def _auroc(
    true: BoolArray | None, scores: FloatArray, cluster: IntArray, inside: BoolArray
) -> tuple[Estimate, str]:
    if true is None:
        return metrics.UNDEFINED, "subgroup"
    one_class = bool(true[inside].all() or not true[inside].any())
    # A subgroup of one class has no AUROC of its own: rank it against all of the other class.
    ranked = inside | (true != true[inside][0]) if one_class else inside
    area = metrics.delong(true[ranked], scores[ranked], cluster[ranked])
    return area, "all others" if one_class else "subgroup"
