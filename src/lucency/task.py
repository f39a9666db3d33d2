"""The task: what a classifier answers, and how its probabilities become decisions.

``classification`` answers with one of several classes, none of which is nearer to one than to
another. ``ordinal`` answers with a grade: its classes have an order, the lowest first.
``multilabel`` answers with any number of labels. ``regression`` answers with a number: its classes
are bins of the axis. Everything between the split and the page that differs asks the task.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.errors import ConfigError, DataError
from lucency.metrics import BoolArray, FloatArray, IntArray

CLASSIFICATION: Final = "classification"
ORDINAL: Final = "ordinal"
MULTILABEL: Final = "multilabel"
REGRESSION: Final = "regression"
_FEWEST_GRADES = 3  # two are the same with and without an order
_GRADE = re.compile(r"\D*?(?P<number>\d+)\D*")


class Task:
    """What differs between tasks; this one is ``classification``.

    Attributes:
        name: As in the configuration and in ``classifier.json``.
        is_ordinal: Whether the classes are grades.
        is_ordered: Whether the classes have an order: grades, or bins of a number.
        is_regression: Whether the classes are bins of a number, which is the answer.
        is_multilabel: Whether each class is a label that an image may have beside others.
        decision: How a decision is made without a positive class, in words.
        rule: What decides, in words.
        pooled: What of the images of a unit is pooled, in words.
        calibrated: What is chosen on held-out units beside a temperature, in words.
    """

    name: ClassVar[str] = CLASSIFICATION
    is_ordinal: ClassVar[bool] = False
    is_ordered: ClassVar[bool] = False
    is_regression: ClassVar[bool] = False
    is_multilabel: ClassVar[bool] = False
    decision: ClassVar[str] = "the most probable class"
    rule: ClassVar[str] = "the threshold"
    pooled: ClassVar[str] = "the logits"
    calibrated: ClassVar[str] = "a threshold and prediction sets"

    def decide(
        self, probabilities: FloatArray, positive: int | None, threshold: float | None
    ) -> IntArray:
        """Decide on one class for each image.

        Args:
            probabilities: (n, classes), rows sum to 1.
            positive: Index of the positive class of two, or None.
            threshold: Least probability of the positive class; unused without one.

        Returns:
            (n,) class indices; of equally probable classes the first.

        Raises:
            ConfigError: There is a positive class and no threshold.
        """
        return metrics.decide(probabilities, positive, threshold)

    def is_clear(self, sets: BoolArray, decisions: IntArray) -> BoolArray:
        """Return for which images the prediction set allows a decision.

        Args:
            sets: (n, classes) which classes each set contains.
            decisions: (n,) decided class indices.

        Returns:
            (n,) whether the set is the decided class alone.
        """
        return np.asarray(sets.sum(axis=1) == 1) & _contains(sets, decisions)

    def evidence_class(self, probabilities: NDArray[np.floating[Any]]) -> IntArray:
        """Return the class that positive values of each activation map are evidence for, (n,)."""
        return np.asarray(probabilities.argmax(axis=1), np.int64)

    def evidence_side(self, probabilities: NDArray[np.floating[Any]]) -> IntArray:
        """Return the class that the evidence in each image speaks for, (n,)."""
        return np.asarray(probabilities.argmax(axis=1), np.int64)


class _Ordered(Task):
    """Classes with an order, the lowest first."""

    is_ordered = True
    rule = "the median"

    def decide(
        self,
        probabilities: FloatArray,
        positive: int | None,  # noqa: ARG002
        threshold: float | None,  # noqa: ARG002
    ) -> IntArray:
        """Decide on the median class, which has the least expected absolute error.

        Args:
            probabilities: (n, classes), rows sum to 1.
            positive: None; ordered classes have no positive one.
            threshold: Unused.
        """
        return np.asarray((np.cumsum(probabilities, axis=1)[:, :-1] < 0.5).sum(axis=1), np.int64)

    def is_clear(self, sets: BoolArray, decisions: IntArray) -> BoolArray:
        """Return for which images the prediction set allows a decision.

        Args:
            sets: (n, classes) which classes each set contains.
            decisions: (n,) decided class indices.

        Returns:
            (n,) whether the set has one class or two neighbouring ones, the decided one among them.
            Experts, too, often differ by one grade.
        """
        lowest = sets.argmax(axis=1)
        highest = sets.shape[1] - 1 - sets[:, ::-1].argmax(axis=1)
        return np.asarray(highest - lowest <= 1) & _contains(sets, decisions)

    def evidence_class(self, probabilities: NDArray[np.floating[Any]]) -> IntArray:
        """Return the highest class for each image, (n,): maps show evidence for higher ones."""
        return np.full(len(probabilities), probabilities.shape[1] - 1, np.int64)

    def evidence_side(self, probabilities: NDArray[np.floating[Any]]) -> IntArray:
        """Return the highest or the lowest class, whichever is more probable, (n,)."""
        higher = probabilities[:, -1] >= probabilities[:, 0]
        return np.where(higher, probabilities.shape[1] - 1, 0).astype(np.int64)


class Ordinal(_Ordered):
    """Grades, the lowest first."""

    name = ORDINAL
    is_ordinal = True
    decision = "the median grade: it and the grades below have a probability of 50 % or more"


class Multilabel(Task):
    """Several labels for each image: each is present or absent, whatever the others are."""

    name = MULTILABEL
    is_multilabel = True
    decision = "each label at its own threshold"
    calibrated = "thresholds and prediction sets"


class Regression(_Ordered):
    """A number, whose axis is cut into bins, the lowest first."""

    name = REGRESSION
    is_regression = True
    decision = "the mean of the predicted distribution"
    pooled = "the log probabilities"
    calibrated = "a prediction interval"


def _contains(sets: BoolArray, decisions: IntArray) -> BoolArray:
    return np.asarray(np.take_along_axis(sets, decisions[:, None], axis=1)[:, 0])


CLASSES = Task()
_TASKS = {task.name: task for task in (CLASSES, Ordinal(), Multilabel(), Regression())}


def task_of(name: str) -> Task:
    """Return the task of a name.

    Raises:
        ConfigError: There is no such task.
    """
    if name not in _TASKS:
        raise ConfigError(f"task must be one of {', '.join(_TASKS)}. Received: {name!r}")
    return _TASKS[name]


def in_order(classes: Sequence[str], order: str) -> tuple[str, ...]:
    """Return the class names in an order given by the user.

    Args:
        classes: All class names.
        order: The same, lowest first, separated by commas; empty to leave them as they are.

    Raises:
        DataError: The order does not name each class once.
    """
    if not order:
        return tuple(classes)
    named = tuple(each.strip() for each in order.split(","))
    if sorted(named) != sorted(classes):
        raise DataError(
            f"--order must name each class once, lowest first: {', '.join(classes)}. "
            f"Received: {order}"
        )
    return named


def check_grades(classes: Sequence[str]) -> None:
    """Raise ``ConfigError`` where there are too few classes for an order to matter."""
    if len(classes) < _FEWEST_GRADES:
        raise ConfigError(
            f"--task {ORDINAL} and --order need {_FEWEST_GRADES} classes or more. Received: "
            f"{', '.join(classes)}. Leave them out: two classes are the same with an order."
        )


def counts_up(classes: Sequence[str]) -> bool:
    """Tell whether class names count, as ``0`` to ``4`` or ``grade1`` to ``grade3`` do."""
    found = [_GRADE.fullmatch(name) for name in classes]
    numbers = [int(each["number"]) for each in found if each]
    if not len(numbers) == len(classes) >= _FEWEST_GRADES:
        return False
    forms = {re.sub(r"\d+", "#", name) for name in classes}
    return len(forms) == 1 and numbers == [*range(numbers[0], numbers[0] + len(numbers))]
