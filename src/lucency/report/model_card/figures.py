"""What was measured: each fact in one sentence, None where it was not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lucency.report.model_card.documents import (
    Documents,
    at,
    count,
    estimate,
    items_of,
    list_of,
    number,
    plain,
)

_WORDS = {"test": "test", "validation": "validation"}
_SHARES = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv")
_HEADLINE = ("auroc", "accuracy", "sensitivity", "specificity")


def figure(part: Any, name: str) -> str | None:
    """Return one figure of a part with its interval."""
    return estimate(at(part, "metrics", name), share=name in _SHARES)


def performance(documents: Documents, part: str) -> str | None:
    """Return the headline figures of "test" or "validation" with their intervals."""
    inside = at(documents.evaluation, part)
    known = [f"{_named(name)} {found}" for name in _HEADLINE if (found := figure(inside, name))]
    n, patients = count(at(inside, "n")), count(at(inside, "groups"))
    if not known or n is None:
        return None
    people = f" of {patients} patients" if patients else ""
    return f"{_WORDS[part]} ({n} images{people}): " + ", ".join(known)


def _named(name: str) -> str:
    short = {
        "brier": "Brier score",
        "ece": "calibration error",
        "lr_plus": "LR+",
        "lr_minus": "LR-",
    }
    capitals = ("auroc", "ppv", "npv", "mcc", "f1")
    return short.get(name, name.upper() if name in capitals else name.replace("_", " "))


def tested(documents: Documents) -> str | None:
    """Return the headline figures of the test part."""
    return performance(documents, "test")


def all_parts(documents: Documents) -> str | None:
    """Return the headline figures of test and validation."""
    known = [performance(documents, part) for part in ("test", "validation")]
    return "; ".join(each for each in known if each) or None


def measures(documents: Documents) -> str | None:
    """Return which figures are reported and how their intervals are found."""
    part = at(documents.evaluation, "test") or at(documents.evaluation, "validation")
    figures = items_of(part, "metrics")
    if not figures:
        return None
    methods = dict.fromkeys(plain(at(value, "method")) for _, value in figures)
    names = ", ".join(_named(plain(name)) for name, _ in figures)
    return f"{names}; 95 % intervals: {'; '.join(methods)}"


def baseline(documents: Documents) -> str | None:
    """Return what always giving the same answer would score."""
    part = at(documents.evaluation, "test") or at(documents.evaluation, "validation")
    name, score = at(part, "baseline", "class"), number(at(part, "baseline", "accuracy"))
    if name is None or score is None:
        return None
    return f"always answering {plain(name)} would be right in {100 * score:.1f} %"


def calibration(documents: Documents) -> str | None:
    """Return how well probabilities mean what they say on the test part."""
    part = at(documents.evaluation, "test") or at(documents.evaluation, "validation")
    found = figure(part, "ece")
    low, high = (number(at(part, "calibration", "chance", end)) for end in ("low", "high"))
    if found is None:
        return None
    chance = "" if low is None or high is None else f"; by chance alone {low:.3f} to {high:.3f}"
    return f"calibration error {found}{chance}"


def failures(documents: Documents) -> str | None:
    """Return how many images of each class were decided wrongly on the test part."""
    rows = list_of(documents.evaluation, "test", "confusion")
    classes = list_of(documents.evaluation, "classes")
    if not rows or len(rows) != len(classes):
        return None
    wrong = []
    for k, (name, row) in enumerate(zip(classes, rows, strict=True)):
        counts = [number(x) for x in row] if isinstance(row, list) else [None]
        if None in counts or len(counts) != len(classes):
            return None
        total = sum(x or 0.0 for x in counts)
        wrong.append(f"{total - (counts[k] or 0.0):,.0f} of {total:,.0f} {plain(name)}")
    return f"decided wrongly in the test part: {', '.join(wrong)}"


def subgroups(documents: Documents) -> str | None:
    """Return the figures of each subgroup of the test part."""
    found = list_of(documents.evaluation, "test", "subgroups")
    return "; ".join(line for each in found[:12] if (line := _subgroup(each))) or None


def _subgroup(each: Mapping[str, Any]) -> str | None:
    n, attribute, value = count(at(each, "n")), at(each, "attribute"), at(each, "value")
    accuracy = figure(each, "accuracy")
    if n is None or accuracy is None:
        return None
    return f"{plain(attribute)} {plain(value)} ({n} images): accuracy {accuracy}"


def clusters(documents: Documents) -> str | None:
    """Return the figures by hospital, machine or place, where a table of such was given."""
    found = list_of(documents.evaluation, "test", "subgroups")
    given = [each for each in found if at(each, "attribute") != "file name"]
    return "; ".join(line for each in given[:12] if (line := _subgroup(each))) or None


def robustness(documents: Documents) -> str | None:
    """Return which small changes of images change most decisions."""
    rows = [
        (flipped, plain(f"{at(row, 'corruption')} {at(row, 'severity') or ''}"))
        for row in list_of(documents.robustness, "rows")
        if at(row, "corruption") != "none"
        and (flipped := number(at(row, "flipped_predictions"))) is not None
    ]
    n = count(at(documents.robustness, "n"))
    if not rows or n is None:
        return None
    worst = sorted(rows, reverse=True)[:3]
    named = ", ".join(f"{name} ({100 * flipped:.1f} %)" for flipped, name in worst)
    return f"{len(rows)} changes of {n} images; most decisions were changed by {named}"


def maps(documents: Documents) -> str | None:
    """Return what tests of the activation maps came to."""
    sentence = at(documents.classifier, "explanation", "sentence")
    return plain(sentence) if isinstance(sentence, str) else None


def test_evaluations(documents: Documents) -> str | None:
    """Return how often the test set was looked at."""
    found = list_of(documents.test_evaluations, "evaluations")
    if not found:
        return None
    classifiers = len({plain(at(each, "classifier")) for each in found})
    return (
        f"looks at this test set on record: {len(found):,}; different classifiers: {classifiers:,}"
    )


def decision_curve(documents: Documents) -> str | None:
    """Return whether the use was weighed at several thresholds."""
    prevalence = number(at(documents.evaluation, "test", "decision_curve", "prevalence"))
    if prevalence is None:
        return None
    return f"net benefit by threshold at a prevalence of {100 * prevalence:.1f} %"
