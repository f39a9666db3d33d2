"""What an evaluation holds, and on what terms it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lucency.calibration.conformal import Conformal
from lucency.metrics import Estimate


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms predictions are measured.

    Attributes:
        positive: The class that is looked for, one of two, or None.
        threshold: It is decided at this probability or above; unused without one.
        rule: How the threshold was chosen, in words.
        chosen: Sensitivity and specificity that it had on validation, where known.
        prior: Class shares that the probabilities assume; all alike if empty.
        prevalence: Share of the positive class where it will be used; the images' own if None.
        conformal: The prediction sets, where there are any.
        attributes: By name, a value for each image, to report figures by.
    """

    positive: str | None
    threshold: float | None
    rule: str = ""
    chosen: Mapping[str, float] | None = None
    prior: tuple[float, ...] = ()
    prevalence: float | None = None
    conformal: Conformal | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The figures of one split; each attribute is a key of its part of ``evaluation.json``.

    Attributes:
        n: Images.
        groups: Patients; None when unknown.
        classes: Class names in order.
        positive: The class that is looked for, one of two, or None.
        baseline: The split's most frequent class, and the accuracy of always answering it.
        metrics: Each figure by name: of the positive class, or the mean over all classes.
        per_class: Images and figures of each class against the rest.
        confusion: Images by truth (rows) and decision (columns).
        curves: ROC and precision-recall points with 95 % bands, of the positive class or of each.
            A class that is absent, or the only one present, has none.
        calibration: Equal-mass bins of the probability of the positive class (of the decided
            class without one) and how often it came true, their mean distance "ece", and the 95 %
            range "chance" of that distance if every probability were exactly right.
        operating_point: The rule that turns probabilities into decisions, its threshold, and the
            sensitivity and specificity that it had on the validation it was chosen by.
        predictive_values: PPV and NPV at several shares of the positive class; empty without one.
        decision_curve: Net benefit by threshold; None without a positive class.
        selective: What becomes of the figures when the classifier may abstain.
        subgroups: Figures of parts of the images, by attribute and value.
    """

    n: int
    groups: int | None
    classes: tuple[str, ...]
    positive: str | None
    baseline: Mapping[str, Any]
    metrics: Mapping[str, Estimate]
    per_class: Mapping[str, Mapping[str, Any]]
    confusion: tuple[tuple[int, ...], ...]
    curves: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    calibration: Mapping[str, Any]
    operating_point: Mapping[str, Any]
    predictive_values: Sequence[Mapping[str, Any]]
    decision_curve: Mapping[str, Any] | None
    selective: Mapping[str, Any]
    subgroups: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists and finite numbers, nan as None."""
        return {name: _plain(value) for name, value in vars(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
