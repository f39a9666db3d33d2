"""The conclusions of a comparison as sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lucency.comparison.paired import Difference
from lucency.config import plural_of_unit

NAMES: Mapping[str, str] = {
    "quadratic_kappa": "quadratic weighted kappa",
    "mean_absolute_error": "mean absolute error",
    "root_mean_squared_error": "root mean squared error",
    "r2": "R2",
    "concordance": "Lin's concordance",
    "interval_coverage": "coverage of the intervals",
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "average_precision": "average precision",
    "brier": "Brier score",
    "log_loss": "log loss",
}


_LOWER = ("mean_absolute_error", "root_mean_squared_error")  # in a unit; lower is better


def form(figure: str) -> str:
    """Return how a metric is written: three decimals, or three digits where it has a unit."""
    return "{:.3g}" if figure in _LOWER else "{:.3f}"


def p_text(p: float) -> str:
    """Return ``p = 0.008``, ``p < 0.001`` or ``p unknown``."""
    if not math.isfinite(p):
        return "p unknown"
    if p < 0.001:
        return "p < 0.001"
    text = f"{p:.2f}" if p >= 0.095 else f"{p:.1g}"
    return "p = 1" if text == "1.00" else f"p = {text}"


def conclusion(first: str, second: str, figure: str, found: Difference, p: float) -> str:
    """Return the sentence on which system is better.

    Args:
        first: Name of the reference.
        second: Name of the compared system.
        figure: The metric that decides; higher is better, but for an error.
        found: Second minus first.
        p: The deciding p-value, corrected where there are several comparisons.
    """
    if found.value == 0 and p == 1 and not math.isfinite(found.low):
        return (
            f"No difference between {first} and {second} is shown: {NAMES[figure]} is the "
            "same, and so is the contribution of every image."
        )
    if not math.isfinite(found.low):
        return (
            f"No conclusion on {second} against {first}: on this test set, the difference in "
            f"{NAMES[figure]} has no interval ({found.method})."
        )
    text = f"{form(figure).format(abs(found.value))} ({_range(found, form(figure))})"
    if p < 0.05:
        better = "better" if (found.value > 0) != (figure in _LOWER) else "worse"
        higher = "higher" if found.value > 0 else "lower"
        return (
            f"{second} is {better} than {first}: {NAMES[figure]} {higher} by {text}, {p_text(p)}."
        )
    higher = second if found.value >= 0 else first
    return (
        f"No difference between {first} and {second} is shown: {NAMES[figure]} {text} higher with "
        f"{higher}, {p_text(p)}."
    )


def _range(found: Difference, written: str) -> str:
    """Return the interval of the absolute difference."""
    low, high = (found.low, found.high) if found.value >= 0 else (-found.high, -found.low)
    return f"95 % interval {written} to {written}".format(low, high).replace("-", "−")


def resolution(figure: str, found: Difference, images: str) -> str:
    """Return the sentence on the minimum detectable difference; may be empty."""
    if not math.isfinite(found.detectable):
        return ""
    return (
        f"With {images}, a true difference in {NAMES[figure]} below about {found.detectable:.2g} "
        "is easily missed: one of that size is detected in four of five such test sets."
    )


def decided(
    first: str,
    second: str,
    only: tuple[int, int],
    p: float,
    *,
    swapped: str | None,
    unit: str = "image",
) -> str:
    """Return the sentence on discordant decisions.

    Args:
        first: Name of the reference.
        second: Name of the compared system.
        only: Images on which only the first, and only the second, is correct.
        p: The deciding p-value.
        swapped: Whose predictions the test swaps together: "patient", where some patient has
            several images, or "image", of several labels; ``None`` for McNemar's test.
        unit: What is decided on: "image", "patient", "label" or another unit.
    """
    exact = "McNemar's exact test"
    test = f"predictions swapped {swapped} by {swapped}" if swapped else exact
    return (
        f"Decisions: only {second} is correct on {only[1]:,} {plural_of_unit(unit)}, only {first} "
        f"on {only[0]:,} ({test}: {p_text(p)})."
    )


OPERATING_POINT = (
    "The decisions differ, but no difference of the rankings is shown: choose other operating "
    "points rather than another classifier."
)
