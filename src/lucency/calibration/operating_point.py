"""From which probability on the positive class is decided, chosen by a stated rule on validation.

balanced                              0.5 of the calibrated probabilities
sensitivity>=0.95                     as many negatives recognised as that allows
specificity>=0.9                      as many positives found as that allows
sensitivity>=0.95,specificity>=0.9    both, and then as much of their sum as possible
youden                                the largest sum of sensitivity and specificity
cost:FN=5,FP=1                        the lowest cost of misses and false alarms
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
# Beyond 0.001 and 0.999 log odds stretch: a gap from 1e-12 to 0.9 would put its middle at 3e-6.
_MOST_LOG_ODDS = math.log(999)
_NEGLIGIBLE = 1e-12  # rates are ratios of whole numbers: what differs, differs by far more


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen.

    Attributes:
        kind: What is looked for.
        sensitivity: What it must be at least, for "bounds"; or None.
        specificity: What it must be at least, for "bounds"; or None.
        miss: Cost of a positive that is not found, for "cost".
        alarm: Cost of a negative that is called positive, for "cost".
    """

    kind: Literal["balanced", "bounds", "youden", "cost"]
    sensitivity: float | None = None
    specificity: float | None = None
    miss: float = 1.0
    alarm: float = 1.0

    @property
    def words(self) -> str:
        """Return the rule as a report says it."""
        if self.kind == "balanced":
            return "0.5 of the calibrated probabilities, all classes taken as equally frequent"
        if self.kind == "youden":
            return "the largest sum of sensitivity and specificity on validation (Youden)"
        if self.kind == "cost":
            return (
                f"the lowest cost on validation, a miss at {self.miss:g} "
                f"and a false alarm at {self.alarm:g}"
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
    """A threshold, why it is that one, and what it did on the images it was chosen by.

    Attributes:
        threshold: The positive class is decided at this probability or above.
        rule: How it was chosen, in words.
        sensitivity: On validation; nan where it holds no positive.
        specificity: On validation; nan where it holds no negative.
    """

    threshold: float
    rule: str
    sensitivity: float
    specificity: float

    def rates(self) -> dict[str, float] | None:
        """Return sensitivity and specificity on validation, or None where one is unknown."""
        found = {"sensitivity": self.sensitivity, "specificity": self.specificity}
        return found if all(math.isfinite(x) for x in found.values()) else None


@dataclass(frozen=True)
class _Cuts:
    """Every way to divide the images by a threshold, rising, neither end included.

    Attributes:
        low: (cuts,) the highest probability that is not accepted.
        high: (cuts,) the lowest one that is.
        sensitivity: (cuts,).
        specificity: (cuts,).
    """

    low: FloatArray
    high: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray


def parse(text: str) -> Rule:
    """Read a rule.

    Args:
        text: One of the forms that the module's head lists; case and blanks do not matter.

    Returns:
        The rule.

    Raises:
        ConfigError: It is none of them, or a number is out of range.
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
        f"An operating point is one of {_GRAMMAR}; sensitivity and specificity above 0 and up to "
        f"1, costs above 0. Received: {text!r}"
    )


def _pairs(pattern: re.Pattern[str], text: str) -> dict[str, float]:
    """Return the numbers by name; nothing where a part does not fit or a name comes twice."""
    found = [pattern.fullmatch(part) for part in text.split(",")]
    pairs = {match[1]: float(match[2]) for match in found if match}
    return pairs if len(pairs) == len(found) else {}


def choose(
    rule: Rule, probabilities: ArrayLike, positive: ArrayLike, prevalence: float | None = None
) -> OperatingPoint:
    """Choose the threshold on validation; the test part has no say.

    The threshold lies midway, in log odds, between two neighbouring probabilities of validation,
    and of equally good gaps between them in the widest: as far as can be from every image.

    Args:
        rule: What is looked for.
        probabilities: (n,) in [0, 1], of the positive class.
        positive: (n,) true or 1 for images of the positive class.
        prevalence: Share of positives that costs are weighed at; validation's if None.

    Returns:
        The threshold with what it does on these images.

    Raises:
        ConfigError: Validation lacks a class, or reaches the rule only by calling everything
            positive or everything negative, or not at all; the message names the nearest point.
    """
    claimed, truth = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    if rule.kind == "balanced":
        return _point(rule, 0.5, claimed, truth)
    cuts = _cuts(claimed, truth)
    best = _best(rule, cuts, float(truth.mean()) if prevalence is None else prevalence)
    widest = best[np.argmax(_log_odds(cuts.high[best]) - _log_odds(cuts.low[best]))]
    threshold = _between(float(cuts.low[widest]), float(cuts.high[widest]))
    return _point(rule, threshold, claimed, truth)


def _point(rule: Rule, threshold: float, claimed: FloatArray, truth: BoolArray) -> OperatingPoint:
    accepted = claimed >= threshold
    found = ratio((accepted & truth).sum(), truth.sum())
    spared = ratio((~accepted & ~truth).sum(), (~truth).sum())
    return OperatingPoint(threshold, rule.words, float(found), float(spared))


def _cuts(claimed: FloatArray, truth: BoolArray) -> _Cuts:
    if truth.all() or not truth.any():
        raise ConfigError(
            "Validation needs images of both classes to choose an operating point by. "
            "Use operating_point=balanced, or a larger val_fraction."
        )
    levels, level = np.unique(claimed, return_inverse=True)
    below = [
        np.cumsum(np.bincount(level, of, minlength=len(levels)))[:-1] for of in (truth, ~truth)
    ]
    # From whole numbers, so that 19 of 20 is 0.95 to the last bit.
    sensitivity = (truth.sum() - below[0]) / truth.sum()
    return _Cuts(levels[:-1], levels[1:], sensitivity, below[1] / (~truth).sum())


def _best(rule: Rule, cuts: _Cuts, prevalence: float) -> IntArray:
    """Return the places of the equally good cuts that follow the rule best."""
    if rule.kind == "bounds":
        return _within_bounds(rule, cuts)
    if rule.kind == "youden":
        gain = cuts.sensitivity + cuts.specificity - 1
        least, ends = 0.0, "guessing"
    else:
        missed, alarmed = prevalence * rule.miss, (1 - prevalence) * rule.alarm
        gain = -missed * (1 - cuts.sensitivity) - alarmed * (1 - cuts.specificity)
        least = -min(missed, alarmed)
        ends = f"calling everything {'negative' if missed < alarmed else 'positive'}"
    top = gain.max(initial=-math.inf)
    # Youden must beat guessing, which it could always equal; a cost need not beat the trivial.
    if top < least - _NEGLIGIBLE or (rule.kind == "youden" and top <= _NEGLIGIBLE):
        nearest = _described(cuts, gain)
        raise ConfigError(
            f"No threshold is better than {ends} by the rule: {rule.words}. {nearest} Train a "
            "better classifier, or use another operating_point."
        )
    return np.flatnonzero(gain >= top - _NEGLIGIBLE)


def _within_bounds(rule: Rule, cuts: _Cuts) -> IntArray:
    wanted = (rule.sensitivity or 0.0, rule.specificity or 0.0)
    # A rate of 0 is everything called positive, or nothing, though an image more or less is.
    useful = (cuts.sensitivity > 0) & (cuts.specificity > 0)
    short = np.maximum(wanted[0] - cuts.sensitivity, wanted[1] - cuts.specificity)
    total = cuts.sensitivity + cuts.specificity
    if not (useful & (short <= _NEGLIGIBLE)).any():
        nearest = _described(cuts, np.where(useful, -np.maximum(short, 0) + 1e-6 * total, -np.inf))
        raise ConfigError(f"Validation does not reach {_asked(rule)}. {nearest}")
    # Of one bound, the other rate; among equals the higher bounded rate. Of two, their sum.
    first = {(True, False): cuts.specificity, (False, True): cuts.sensitivity}
    asked = (rule.sensitivity is not None, rule.specificity is not None)
    worth = np.where(useful & (short <= _NEGLIGIBLE), first.get(asked, total), -np.inf)
    leading = worth >= worth.max() - _NEGLIGIBLE
    total = np.where(leading, total, -np.inf)
    return np.flatnonzero(total >= total.max() - _NEGLIGIBLE)


def _asked(rule: Rule) -> str:
    given = {"sensitivity": rule.sensitivity, "specificity": rule.specificity}
    return " and ".join(f"{name}>={x:g}" for name, x in given.items() if x is not None)


def _described(cuts: _Cuts, worth: FloatArray) -> str:
    """Name the best point as a sentence; ``worth`` (cuts,) is -inf where a point is useless."""
    if not np.isfinite(worth).any():
        return "No threshold tells any image of one class from the other."
    i = int(worth.argmax())
    # Rounded down, so that asking for the rates that are named works.
    rates = (math.floor(1000 * x[i] + 1e-6) / 1000 for x in (cuts.sensitivity, cuts.specificity))
    return "The nearest point has sensitivity {:.3f} and specificity {:.3f}.".format(*rates)


def _log_odds(probability: ArrayLike) -> FloatArray:
    return np.asarray(np.clip(special.logit(probability), -_MOST_LOG_ODDS, _MOST_LOG_ODDS))


def _between(low: float, high: float) -> float:
    """Return a threshold that accepts ``high`` and not ``low``, midway in bounded log odds."""
    middle = float(special.expit(_log_odds([low, high]).mean()))
    if low < middle < high:
        return middle
    middle = (low + high) / 2  # both lie beyond the bound, on one side
    return middle if low < middle < high else high  # neighbouring floats have nothing between
