"""The result of an evaluation, and the conditions that it is made under."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lucency.calibration.conformal import Conformal
from lucency.calibration.values import ValueRule
from lucency.metrics import Estimate
from lucency.task import CLASSES, Task


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions that predictions are evaluated under.

    Attributes:
        positive: The positive class, one of exactly two, or None.
        threshold: Least probability of the positive class; unused without one.
        rule: How the threshold was chosen, as a sentence.
        chosen: Sensitivity and specificity on validation at this threshold, where known.
        prior: Class prior of the probabilities; uniform if empty.
        prevalence: Prevalence where the classifier will be used; that of the images if None.
        conformal: The conformal thresholds, if any.
        attributes: Name -> a value for each image, for subgroups.
        task: What the classifier answers.
        cut: Of grades, ``Spec.cut``.
        value: How probabilities of bins become a number, where that is the answer.
    """

    positive: str | None
    threshold: float | None
    rule: str = ""
    chosen: Mapping[str, float] | None = None
    prior: tuple[float, ...] = ()
    prevalence: float | None = None
    conformal: Conformal | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    task: Task = CLASSES
    cut: Mapping[str, Any] | None = None
    value: ValueRule | None = None


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one split; each attribute is a key of ``evaluation.json``.

    Attributes:
        n: Images.
        groups: Number of patients; None when unknown.
        classes: Class names in order.
        positive: The positive class, one of exactly two, or None.
        baseline: The most frequent class, and the accuracy of always predicting it.
        metrics: Estimates by name: of the positive class, or means over all classes.
        per_class: Number of images and metrics of each class against the rest.
        confusion: Images by true class (rows) and decided class (columns).
        curves: ROC and precision-recall curves with 95 % bands, of the positive class or of each.
            A class that is absent, or the only one present, has none.
        calibration: Equal-mass bins of the probability of the positive class (of the decided
            class without one) with the fraction of positives, the calibration error "ece", and its
            95 % range "chance" under perfect calibration.
        operating_point: The decision rule, its threshold, and the sensitivity and specificity on
            validation.
        predictive_values: PPV and NPV at several prevalences; empty without a positive class.
        decision_curve: Net benefit by threshold; None without a positive class.
        selective: Risk over coverage, conformal coverage and metrics with abstention.
        subgroups: Metrics of the images with each value of each attribute.
        grades: For grades, "cuts" (for each grade but the lowest "from", "n" and the "metrics" of
            the probability of this grade or a higher one) and "positive" (the ``Evaluation`` at
            the chosen cut; None without one). None for other tasks.
        labels: Of several labels, the evaluation of each on the images where it is known;
            ``metrics`` are then their means. None for other tasks.
        values: Of numbers, what stands beside ``metrics``: "name", "points" (true and predicted
            numbers of at most 500 images), "quantiles" (the share of true numbers "below" each
            predicted one), "coverage" (promised), "offset" and "tolerance" of the intervals, and
            "thirds" (metrics of the images with low, middle and high numbers). ``baseline`` is
            then the mean of the training numbers, and ``classes`` are bins. None for other tasks.
        per_unit: The evaluation of one answer for each patient or other unit, where there is one;
            what it counts are units. ``groups`` are still patients.
        unit: Of ``per_unit``, what has an answer: patient, study, series, or a column of labels.
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
    grades: Mapping[str, Any] | None = None
    labels: Mapping[str, Evaluation] | None = None
    values: Mapping[str, Any] | None = None
    per_unit: Evaluation | None = None
    unit: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists and finite numbers, nan as None.

        What only some have, ``values``, ``per_unit`` and ``unit``, is omitted from the others.
        """
        document = {name: plain(value) for name, value in vars(self).items()}
        some = ("values", "per_unit", "unit")
        return {
            name: value for name, value in document.items() if value is not None or name not in some
        }


def plain(value: Any) -> Any:
    """Return a value as dictionaries, lists and finite numbers, nan as None."""
    if isinstance(value, Estimate):
        return value.to_json()
    if isinstance(value, Evaluation):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
