"""The threshold on the probability of the positive class, chosen by a rule on validation.

balanced                              the more probable class, both weighted as in training
sensitivity>=0.95                     the highest specificity with that sensitivity
specificity>=0.9                      the highest sensitivity with that specificity
sensitivity>=0.95,specificity>=0.9    both, with the largest sum
youden                                the largest sum of sensitivity and specificity
cost:FN=5,FP=1                        the lowest cost of false negatives and false positives
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from lucency.errors import ConfigError
from lucency.metrics import BoolArray, FloatArray, IntArray, ratio

_GRAMMAR = (
    "balanced, sensitivity>=0.95, specificity>=0.9, both of these with a comma between them, "
    "youden, or cost:FN=5,FP=1"
)
_NUMBER = r"(\d+\.?\d*|\.\d+)"
_BOUND = re.compile(rf"(sensitivity|specificity)>={_NUMBER}")
_COST = re.compile(rf"(fn|fp)={_NUMBER}")
# Log odds diverge near 0 and 1: the middle between 1e-12 and 0.9 would be 3e-6.
_MAX_LOG_ODDS = math.log(999)
_NEGLIGIBLE = 1e-12  # rates are ratios of integers: different ones differ by far more


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen.

    Attributes:
        kind: The criterion.
        sensitivity: Lower bound, for "bounds"; or None.
        specificity: Lower bound, for "bounds"; or None.
        miss: Cost of a false negative, for "cost".
        alarm: Cost of a false positive, for "cost".
    """

    kind: Literal["balanced", "bounds", "youden", "cost"]
    sensitivity: float | None = None
    specificity: float | None = None
    miss: float = 1.0
    alarm: float = 1.0

    @property
    def words(self) -> str:
        """The rule in words."""
        if self.kind == "balanced":
            return "the more probable class, both weighted as in training"
        if self.kind == "youden":
            return "the largest sum of sensitivity and specificity on validation (Youden)"
        if self.kind == "cost":
            return (
                f"the lowest cost on validation, {self.miss:g} for a false negative and "
                f"{self.alarm:g} for a false positive"
            )
        if self.specificity is None:
            return f"the highest specificity with a sensitivity of at least {self.sensitivity:g}"
        if self.sensitivity is None:
            return f"the highest sensitivity with a specificity of at least {self.specificity:g}"
        return (
            f"a sensitivity of at least {self.sensitivity:g} and a specificity of at least "
            f"{self.specificity:g}, with the largest sum of both"
        )


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, its rule, and its rates on validation.

    Attributes:
        threshold: The positive class is predicted at this probability or above.
        rule: How it was chosen, in words.
        sensitivity: On validation; nan if it has no positives.
        specificity: On validation; nan if it has no negatives.
    """

    threshold: float
    rule: str
    sensitivity: float
    specificity: float

    def rates(self) -> dict[str, float] | None:
        """Return sensitivity and specificity on validation, or None if one is undefined."""
        found = {"sensitivity": self.sensitivity, "specificity": self.specificity}
        return found if all(math.isfinite(x) for x in found.values()) else None


@dataclass(frozen=True)
class _Cuts:
    """Every split of the images by a threshold, in increasing order, without the trivial ones.

    Attributes:
        low: (cuts,) the highest probability below the threshold.
        high: (cuts,) the lowest probability above it.
        sensitivity: (cuts,).
        specificity: (cuts,).
    """

    low: FloatArray
    high: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray


def parse(text: str) -> Rule:
    """Parse a rule.

    Args:
        text: One of the forms in the docstring of this module; case and spaces are ignored.

    Returns:
        The rule.

    Raises:
        ConfigError: It has another form, or a number is out of range.
    """
    plain = re.sub(r"\s", "", text).lower()
    if plain == "balanced":
        return Rule("balanced")
    if plain == "youden":
        return Rule("youden")
    if plain.startswith("cost:"):
        costs = _pairs(_COST, plain.removeprefix("cost:"))
        if costs.keys() == {"fn", "fp"} and all(0 < x < math.inf for x in costs.values()):
            return Rule("cost", miss=costs["fn"], alarm=costs["fp"])
    else:
        bounds = _pairs(_BOUND, plain)
        if bounds and all(0 < x <= 1 for x in bounds.values()):
            return Rule("bounds", bounds.get("sensitivity"), bounds.get("specificity"))
    raise ConfigError(
        f"The operating point must be one of {_GRAMMAR}; sensitivity and specificity above 0 and "
        f"up to 1, costs above 0. Received: {text!r}"
    )


def _pairs(pattern: re.Pattern[str], text: str) -> dict[str, float]:
    """Return the numbers by name; empty if an item does not match or a name occurs twice."""
    found = [pattern.fullmatch(item) for item in text.split(",")]
    pairs = {match[1]: float(match[2]) for match in found if match}
    return pairs if len(pairs) == len(found) else {}


def choose(
    rule: Rule,
    probabilities: ArrayLike,
    positive: ArrayLike,
    *,
    even: float = 0.5,
    prevalence: float | None = None,
) -> OperatingPoint:
    """Choose the threshold on validation, never on the test split.

    The threshold is midway, in log odds, between two adjacent probabilities of validation; of
    equally good gaps the widest is used, so that the threshold is as far as possible from every
    image.

    Args:
        rule: The criterion.
        probabilities: (n,) in [0, 1], of the positive class.
        positive: (n,) true or 1 for images of the positive class.
        even: The threshold where the rule is ``balanced``: the probability at which the network
            prefers neither class. The share of positives where it was trained with equal weights
            and probabilities assume that share; 0.5 where every image counted the same.
        prevalence: Share of positives for the cost; that of validation if None.

    Returns:
        The threshold with its rates on these images.

    Raises:
        ConfigError: Validation lacks a class, or does not reach the rule except by predicting a
            single class for all images; the message has the nearest point.
    """
    p, truth = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    if rule.kind == "balanced":
        return _point(rule, even, p, truth)
    cuts = _cuts(p, truth)
    best = _best(rule, cuts, float(truth.mean()) if prevalence is None else prevalence)
    widest = best[np.argmax(_log_odds(cuts.high[best]) - _log_odds(cuts.low[best]))]
    threshold = _between(float(cuts.low[widest]), float(cuts.high[widest]))
    return _point(rule, threshold, p, truth)


def _point(rule: Rule, threshold: float, p: FloatArray, truth: BoolArray) -> OperatingPoint:
    predicted = p >= threshold
    sensitivity = ratio((predicted & truth).sum(), truth.sum())
    specificity = ratio((~predicted & ~truth).sum(), (~truth).sum())
    return OperatingPoint(threshold, rule.words, float(sensitivity), float(specificity))


def _cuts(p: FloatArray, truth: BoolArray) -> _Cuts:
    if truth.all() or not truth.any():
        raise ConfigError(
            "Validation needs images of both classes to choose an operating point. "
            "Use operating_point=balanced, or a larger val_fraction."
        )
    levels, level = np.unique(p, return_inverse=True)
    below = [
        np.cumsum(np.bincount(level, of, minlength=len(levels)))[:-1] for of in (truth, ~truth)
    ]
    # From integers, so that 19 of 20 is 0.95 to the last bit.
    sensitivity = (truth.sum() - below[0]) / truth.sum()
    return _Cuts(levels[:-1], levels[1:], sensitivity, below[1] / (~truth).sum())


def _best(rule: Rule, cuts: _Cuts, prevalence: float) -> IntArray:
    """Return the indices of the equally good cuts that meet the rule best."""
    if rule.kind == "bounds":
        return _within_bounds(rule, cuts)
    if rule.kind == "youden":
        gain = cuts.sensitivity + cuts.specificity - 1
        baseline, trivial = 0.0, "guessing"
    else:
        missed, alarmed = prevalence * rule.miss, (1 - prevalence) * rule.alarm
        gain = -missed * (1 - cuts.sensitivity) - alarmed * (1 - cuts.specificity)
        baseline = -min(missed, alarmed)
        trivial = f"calling everything {'negative' if missed < alarmed else 'positive'}"
    top = gain.max(initial=-math.inf)
    # Youden must exceed guessing, which it can always equal; a cost may equal the trivial one.
    if top < baseline - _NEGLIGIBLE or (rule.kind == "youden" and top <= _NEGLIGIBLE):
        nearest = _described(cuts, gain)
        raise ConfigError(
            f"No threshold is better than {trivial} by the rule: {rule.words}. {nearest} Train a "
            "better classifier, or use another operating_point."
        )
    return np.flatnonzero(gain >= top - _NEGLIGIBLE)


def _within_bounds(rule: Rule, cuts: _Cuts) -> IntArray:
    bounds = (rule.sensitivity or 0.0, rule.specificity or 0.0)
    # A rate of 0 means that all images of a class are wrong, however many there are.
    useful = (cuts.sensitivity > 0) & (cuts.specificity > 0)
    short = np.maximum(bounds[0] - cuts.sensitivity, bounds[1] - cuts.specificity)
    total = cuts.sensitivity + cuts.specificity
    if not (useful & (short <= _NEGLIGIBLE)).any():
        nearest = _described(cuts, np.where(useful, -np.maximum(short, 0) + 1e-6 * total, -np.inf))
        raise ConfigError(f"Validation does not reach {_bounds(rule)}. {nearest}")
    # With one bound, the other rate, then the bounded rate; with two bounds, their sum.
    first = {(True, False): cuts.specificity, (False, True): cuts.sensitivity}
    bounded = (rule.sensitivity is not None, rule.specificity is not None)
    score = np.where(useful & (short <= _NEGLIGIBLE), first.get(bounded, total), -np.inf)
    best = score >= score.max() - _NEGLIGIBLE
    total = np.where(best, total, -np.inf)
    return np.flatnonzero(total >= total.max() - _NEGLIGIBLE)


def _bounds(rule: Rule) -> str:
    rates = {"sensitivity": rule.sensitivity, "specificity": rule.specificity}
    return " and ".join(f"{name}>={x:g}" for name, x in rates.items() if x is not None)


def _described(cuts: _Cuts, score: FloatArray) -> str:
    """Describe the best point in a sentence; ``score`` (cuts,) is -inf for useless points."""
    if not np.isfinite(score).any():
        return "No threshold separates any image of one class from the other."
    i = int(score.argmax())
    # Rounded down, so that these rates can be requested.
    rates = (math.floor(1000 * x[i] + 1e-6) / 1000 for x in (cuts.sensitivity, cuts.specificity))
    return "The nearest point has sensitivity {:.3f} and specificity {:.3f}.".format(*rates)


def _log_odds(probability: ArrayLike) -> FloatArray:
    return np.asarray(np.clip(special.logit(probability), -_MAX_LOG_ODDS, _MAX_LOG_ODDS))


def _between(low: float, high: float) -> float:
    """Return a threshold above ``low`` and at most ``high``, midway in bounded log odds."""
    middle = float(special.expit(_log_odds([low, high]).mean()))
    if low < middle < high:
        return middle
    middle = (low + high) / 2  # both are beyond the bound, on one side
    return middle if low < middle < high else high  # no float is between adjacent floats
