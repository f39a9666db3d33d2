"""Figures of parts of a split that share something: a sex, a machine, a kind of illness."""

from __future__ import annotations

import math
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
    """Measure each value of each attribute on its own, with 95 % intervals.

    Args:
        attributes: By name the value of each of n images; those with "" are in no subgroup.
        labels: (n,) true class indices.
        decisions: (n,) decided class indices.
        probabilities: (n, classes).
        groups: n patients, "" for an image that stands alone; None when no patient is known.
        classes: Class names in order.
        positive: Index of the positive class; without one only the accuracy is defined.

    Returns:
        Per subgroup, in the order of attributes and values: "attribute", "value", "n" images,
        "groups" patients (None when unknown), "counts" of images by class, "metrics" (Estimates
        of accuracy, sensitivity, specificity, auroc; nan where undefined) and "auroc_against":
        "subgroup", or "all others" where it holds one class only: its images are then ranked
        against those of the other class in all of the split.

    Raises:
        DataError: An attribute does not have one value for each image.
    """
    owner = _owners(groups, len(labels))
    right = labels == decisions
    true = None if positive is None else labels == positive
    scores = probabilities[:, positive or 0]
    result = []
    for attribute, value, inside in _parts(attributes, len(labels)):
        area, against = _auroc(true, scores, owner, inside)
        result.append(
            {
                "attribute": attribute,
                "value": value,
                "n": int(inside.sum()),
                "groups": len(np.unique(owner[inside])) if any(groups or ()) else None,
                "counts": {
                    name: int((inside & (labels == k)).sum()) for k, name in enumerate(classes)
                },
                "metrics": {**_shares(right, true, owner, inside), "auroc": area},
                "auroc_against": against,
            }
        )
    return result


def _owners(groups: Sequence[str] | None, n: int) -> IntArray:
    """Return the (n,) number of each image's patient."""
    names = [name or i for i, name in enumerate(groups or [""] * n)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _parts(attributes: Mapping[str, Sequence[str]], n: int) -> Iterator[tuple[str, str, BoolArray]]:
    """Yield attribute and value of each subgroup, and (n,) which images are in it."""
    for attribute, values in attributes.items():
        if len(values) != n:
            raise DataError(
                f"Expected a value of {attribute!r} for each of {n} images. "
                f"Received: {len(values)}."
            )
        for value in sorted(set(values) - {""}):
            yield attribute, value, np.array([each == value for each in values], bool)


def _shares(
    right: BoolArray, true: BoolArray | None, owner: IntArray, inside: BoolArray
) -> dict[str, Estimate]:
    nobody = np.zeros_like(inside)
    among = {
        "accuracy": inside,
        "sensitivity": nobody if true is None else inside & true,
        "specificity": nobody if true is None else inside & ~true,
    }
    return {name: metrics.proportion(right[of], owner[of]) for name, of in among.items()}


def _auroc(
    true: BoolArray | None, scores: FloatArray, owner: IntArray, inside: BoolArray
) -> tuple[Estimate, str]:
    if true is None:
        return Estimate(math.nan, math.nan, math.nan, "undefined"), "subgroup"
    one_class = bool(true[inside].all() or not true[inside].any())
    # A subgroup of one class has no ranking of its own: it is put against all of the other class.
    ranked = inside | (true != true[inside][0]) if one_class else inside
    area = metrics.delong(true[ranked], scores[ranked], owner[ranked])
    return area, "all others" if one_class else "subgroup"
