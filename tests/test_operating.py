"""Operating points: the grammar, a brute-force reference, the margins, and unreachable rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucency.calibration.operating_point import OperatingPoint, Rule, choose, parse
from lucency.errors import ConfigError
from lucency.metrics import BoolArray, FloatArray

RULES = (
    "sensitivity>=0.8",
    "specificity>=0.7",
    "sensitivity>=0.6,specificity>=0.6",
    "youden",
    "cost:FN=5,FP=1",
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("balanced", Rule("balanced")),
        ("Youden ", Rule("youden")),
        ("sensitivity >= 0.95", Rule("bounds", 0.95)),
        ("specificity>=.9", Rule("bounds", None, 0.9)),
        ("specificity>=0.9, sensitivity>=1", Rule("bounds", 1.0, 0.9)),
        ("cost: FP=1, FN=5", Rule("cost", miss=5, alarm=1)),
        ("cost:fn=0.5,fp=2.", Rule("cost", miss=0.5, alarm=2)),
    ],
)
def test_rules_are_parsed(text: str, rule: Rule) -> None:
    assert parse(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        *("", "best", "sensitivity", "sensitivity>0.9", "sensitivity>=95%", "sensitivity>=1.01"),
        *("sensitivity>=0", "specificity>=-1", "sensitivity>=nan", "sensitivity>=0.9,"),
        *("sensitivity>=0.9,sensitivity>=0.8", "cost:FN=5", "cost:FN=5,FP=0", "cost:", "cost"),
        *("cost:FN=5,FN=1", "youden,balanced", "sensitivity>=0.9;specificity>=0.9"),
        "cost:FN=1" + "0" * 400 + ",FP=1",
    ],
)
def test_the_error_of_other_texts_is_one_line_with_the_grammar(text: str) -> None:
    with pytest.raises(ConfigError, match=r"one of balanced, .*Received") as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def rates(probabilities: FloatArray, positive: BoolArray, threshold: float) -> tuple[float, float]:
    predicted = probabilities >= threshold
    return float(predicted[positive].mean()), float((~predicted)[~positive].mean())


def brute_force(rule: Rule, probabilities: FloatArray, positive: BoolArray) -> float | None:
    """Return the best score over every threshold with images on both sides."""
    scores = []
    for threshold in np.unique(probabilities)[1:]:
        sensitivity, specificity = rates(probabilities, positive, threshold)
        if rule.kind == "bounds":
            bounds = rule.sensitivity or 0, rule.specificity or 0
            if sensitivity < bounds[0] or specificity < bounds[1]:
                continue
            if not sensitivity or not specificity:
                continue
        scores.append(score(rule, sensitivity, specificity, positive.mean()))
    return max(scores, default=None)


def score(rule: Rule, sensitivity: float, specificity: float, share: float) -> float:
    if rule.kind == "cost":
        missed, alarmed = share * rule.miss, (1 - share) * rule.alarm
        return -missed * (1 - sensitivity) - alarmed * (1 - specificity)
    if rule.sensitivity is not None and rule.specificity is None:
        return specificity
    if rule.specificity is not None and rule.sensitivity is None:
        return sensitivity
    return sensitivity + specificity


def drawn(seed: int, n: int = 40, digits: int = 2) -> tuple[FloatArray, BoolArray]:
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.5
    positive[:2] = True, False
    raw = 1 / (1 + np.exp(-random.normal(np.where(positive, 1.0, -1.0), 1.2)))
    return raw.round(digits), positive


@pytest.mark.parametrize("text", RULES)
@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_is_better(text: str, seed: int) -> None:
    rule, (probabilities, positive) = parse(text), drawn(seed)
    best = brute_force(rule, probabilities, positive)
    try:
        point = choose(rule, probabilities, positive)
    except ConfigError:
        trivial = -5 if rule.kind != "cost" else -min(5 * positive.mean(), 1 - positive.mean())
        assert best is None or best < trivial
        return
    found = rates(probabilities, positive, point.threshold)
    assert (point.sensitivity, point.specificity) == found
    assert score(rule, *found, positive.mean()) == pytest.approx(best, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30),
    st.sampled_from(RULES),
)
def test_any_probabilities_give_a_margin_or_an_error(
    images: list[tuple[float, bool]], text: str
) -> None:
    probabilities = np.array([p for p, _ in images])
    positive = np.array([y for _, y in images])
    try:
        threshold = choose(parse(text), probabilities, positive).threshold
    except ConfigError:
        return
    assert 0 < threshold <= 1
    assert (probabilities >= threshold).any()
    assert (probabilities < threshold).any()
    below = probabilities[probabilities < threshold].max()
    above = probabilities[probabilities >= threshold].min()
    # Equal to a probability only if no float is between two adjacent ones.
    assert threshold < above or np.nextafter(below, 1) == above


def test_the_threshold_is_midway_in_log_odds() -> None:
    point = choose(parse("youden"), [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert point.threshold == pytest.approx(0.5)
    # odds of 1/4 and 1: midway is 1/2
    assert choose(parse("youden"), [0.2, 0.5], [0, 1]).threshold == pytest.approx(1 / 3)


def test_infinite_gaps_are_bounded() -> None:
    # 1e-12 counts as 0.001: odds of 1/999 and 9 meet at 0.0949 / 1.0949
    point = choose(parse("youden"), [1e-12, 0.9], [0, 1])
    assert point.threshold == pytest.approx(np.sqrt(9 / 999) / (1 + np.sqrt(9 / 999)))
    assert choose(parse("youden"), [0.0, 1.0], [0, 1]).threshold == pytest.approx(0.5)
    beyond = choose(parse("youden"), [1e-9, 1e-8], [0, 1])
    assert 1e-9 < beyond.threshold < 1e-8
    assert choose(parse("youden"), [0.5, np.nextafter(0.5, 1)], [0, 1]).specificity == 1


def test_of_equally_good_gaps_the_widest() -> None:
    # sensitivity 1 and specificity 1/2, or 1/2 and 1: Youden is 0.5 for both
    narrow_low = choose(parse("youden"), [0.1, 0.11, 0.4, 0.9], [0, 1, 0, 1])
    assert 0.4 < narrow_low.threshold < 0.9
    narrow_high = choose(parse("youden"), [0.1, 0.5, 0.89, 0.9], [0, 1, 0, 1])
    assert 0.1 < narrow_high.threshold < 0.5


def test_of_equal_specificity_the_higher_sensitivity() -> None:
    point = choose(parse("sensitivity>=0.5"), [0.1, 0.3, 0.6, 0.9], [0, 1, 1, 1])
    assert (point.sensitivity, point.specificity) == (1.0, 1.0)


def test_a_rate_of_exactly_the_bound_is_enough() -> None:
    probabilities = np.append(np.linspace(0.3, 0.9, 20), 0.31)
    positive = np.append(np.ones(20, bool), False)
    point = choose(parse("sensitivity>=0.95"), probabilities, positive)
    assert (point.sensitivity, point.specificity) == (0.95, 1.0)


def test_costs_are_weighted_by_the_given_prevalence() -> None:
    probabilities, positive = drawn(3, n=200, digits=4)
    rare = choose(parse("cost:FN=1,FP=1"), probabilities, positive, prevalence=0.2)
    usual = choose(parse("cost:FN=1,FP=1"), probabilities, positive)
    assert rare.threshold > usual.threshold


def test_only_the_order_of_probabilities_matters() -> None:
    """An increasing transformation of the probabilities does not change the predictions."""
    probabilities, positive = drawn(5, n=60, digits=6)
    for text in RULES[:3]:
        first, second = (
            choose(parse(text), p, positive) for p in (probabilities, probabilities**3)
        )
        assert first.rates() == second.rates()


@pytest.mark.parametrize("text", ["sensitivity>=0.95", "sensitivity>=0.9,specificity>=0.9"])
def test_the_error_of_an_unreachable_rule_has_the_nearest_point(text: str) -> None:
    # The lowest probability is a positive: only predicting positive for all images finds it.
    probabilities, positive = [0.1, 0.2, 0.6, 0.8], [1, 0, 0, 1]
    with pytest.raises(ConfigError, match=r"sensitivity 0\.500 and specificity 1\.000"):
        choose(parse(text), probabilities, positive)


def test_the_nearest_point_can_be_requested() -> None:
    probabilities, positive = drawn(1, n=90)
    with pytest.raises(ConfigError) as caught:
        choose(parse("sensitivity>=0.999,specificity>=0.999"), probabilities, positive)
    words = str(caught.value).split()
    near = [float(words[words.index(x) + 1].strip(".")) for x in ("sensitivity", "specificity")]
    again = choose(parse(f"sensitivity>={near[0]},specificity>={near[1]}"), probabilities, positive)
    assert again.sensitivity >= near[0]
    assert again.specificity >= near[1]


def test_a_useless_classifier_has_no_operating_point() -> None:
    with pytest.raises(ConfigError, match="No threshold separates any image"):
        choose(parse("sensitivity>=0.5"), [0.5, 0.5], [0, 1])
    with pytest.raises(ConfigError, match="better than guessing"):
        choose(parse("youden"), [0.9, 0.1], [0, 1])
    with pytest.raises(ConfigError, match="calling everything positive"):
        choose(parse("cost:FN=100,FP=1"), [0.1, 0.2, 0.3, 0.4], [1, 0, 0, 1])
    with pytest.raises(ConfigError, match="both classes"):
        choose(parse("youden"), [0.1, 0.2], [1, 1])


def test_balanced_does_not_need_both_classes() -> None:
    point = choose(parse("balanced"), [0.4, 0.6], [1, 1])
    assert isinstance(point, OperatingPoint)
    assert (point.threshold, point.sensitivity) == (0.5, 0.5)
    assert point.rates() is None
    assert choose(parse("balanced"), [0.4, 0.6], [0, 1]).rates() == {
        "sensitivity": 1.0,
        "specificity": 1.0,
    }


def test_every_rule_has_words() -> None:
    words = {parse(text).words for text in ("balanced", *RULES)}
    assert len(words) == 6
    assert "0.8" in parse("sensitivity>=0.8").words
