"""Measurements on test and validation images: one sentence each, None if not measured."""

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

_CHOSEN_ON = ("validation", "cross_validation")  # images that choices are based on
_SHARES = (
    *("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv"), "within_one",
    "interval_coverage",
)  # fmt: skip
# In the unit of a number.
_IN_UNIT = (
    *("mean_absolute_error", "root_mean_squared_error", "mean_error"),
    *("agreement_low", "agreement_high", "interval_width"),
)
_HEADLINE = (
    *("quadratic_kappa", "within_one", "mean_absolute_error"),  # of grades
    *("root_mean_squared_error", "r2", "interval_coverage"),  # of numbers, with the error above
    *("auroc", "accuracy", "sensitivity", "specificity"),
)


def figure(split: Any, name: str) -> str | None:
    """Return one figure of a split with its interval."""
    in_unit = name in _IN_UNIT and at(split, "metrics", "r2") is not None
    return estimate(at(split, "metrics", name), share=name in _SHARES, in_unit=in_unit)


def performance(documents: Documents, split: str) -> str | None:
    """Return the headline figures of a key of ``evaluation.json`` with their intervals."""
    inside = at(documents.evaluation, split)
    of_images, of_units = _headlines(inside), _headlines(at(inside, "per_unit"))
    n, patients = count(at(inside, "n")), count(at(inside, "groups"))
    if not of_images or n is None:
        return None
    people = f" of {patients} patients" if patients else ""
    return (
        f"{'out of fold' if split == 'cross_validation' else split} ({n} images{people}): "
        + of_images
        + (
            f"; with one answer for each {plain(at(inside, 'per_unit', 'unit'))}: {of_units}"
            if of_units
            else ""
        )
    )


def _headlines(evaluation: Any) -> str:
    known = {name: figure(evaluation, name) for name in _HEADLINE}
    return ", ".join(f"{_named(name)} {found}" for name, found in known.items() if found)


def _named(name: str) -> str:
    short = {
        "brier": "Brier score",
        "ece": "calibration error",
        "lr_plus": "LR+",
        "lr_minus": "LR-",
    }
    capitals = ("auroc", "ppv", "npv", "mcc", "f1", "r2")
    return short.get(name, name.upper() if name in capitals else name.replace("_", " "))


def tested(documents: Documents) -> str | None:
    """Return the headline figures of the test split."""
    return performance(documents, "test")


def selection(documents: Documents) -> tuple[str, str | None]:
    """Return name and headline figures of the images that choices are based on."""
    if folds := performance(documents, "cross_validation"):
        return "Cross-validation (used for calibration)", folds
    return "Validation (used for selection)", performance(documents, "validation")


def all_splits(documents: Documents) -> str | None:
    """Return the headline figures of test, and of validation or out of fold."""
    known = [performance(documents, split) for split in ("test", *_CHOSEN_ON)]
    return "; ".join(each for each in known if each) or None


def _counting(documents: Documents) -> Any:
    """Return the figures that count: of test, else of the images that choices are based on."""
    splits = (at(documents.evaluation, name) for name in ("test", *_CHOSEN_ON))
    return next((split for split in splits if split), None)


def measures(documents: Documents) -> str | None:
    """Return the reported metrics and the methods of their intervals."""
    split = _counting(documents)
    figures = items_of(split, "metrics")
    if not figures:
        return None
    methods = dict.fromkeys(plain(at(value, "method")) for _, value in figures)
    names = ", ".join(_named(plain(name)) for name, _ in figures)
    return f"{names}; 95 % intervals: {'; '.join(methods)}"


def baseline(documents: Documents) -> str | None:
    """Return what always predicting the most frequent class scores."""
    split = _counting(documents)
    mean, error = (number(at(split, "baseline", key)) for key in ("value", "mean_absolute_error"))
    if mean is not None and error is not None:
        return (
            f"always answering {mean:.4g}, the mean of the training numbers, has a mean absolute "
            f"error of {error:.3g}"
        )
    name, score = at(split, "baseline", "class"), number(at(split, "baseline", "accuracy"))
    if name is None or score is None:
        return None
    return f"always predicting {plain(name)} scores {100 * score:.1f} % accuracy"


def calibration(documents: Documents) -> str | None:
    """Return the calibration error beside what chance gives."""
    split = _counting(documents)
    promised = number(at(split, "values", "coverage"))
    if promised is not None:
        held = figure(split, "interval_coverage")
        return held and f"prediction intervals promised {100 * promised:.3g} % hold {held}"
    found = figure(split, "ece")
    low, high = (number(at(split, "calibration", "chance", end)) for end in ("low", "high"))
    if found is None:
        return None
    chance = "" if low is None or high is None else f"; by chance alone {low:.3f} to {high:.3f}"
    return f"calibration error {found}{chance}"


def mistakes(documents: Documents) -> str | None:
    """Return how many test images of each class were misclassified."""
    if at(documents.evaluation, "test", "values"):
        ends = [figure(at(documents.evaluation, "test"), f"agreement_{x}") for x in ("low", "high")]
        return f"limits of agreement: {ends[0]} and {ends[1]}" if all(ends) else None
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
    return f"misclassified in the test split: {', '.join(wrong)}"


def subgroups(documents: Documents) -> str | None:
    """Return the figures of each subgroup of the test split."""
    found = list_of(documents.evaluation, "test", "subgroups")
    return "; ".join(line for each in found[:12] if (line := _subgroup(each))) or None


def _subgroup(each: Mapping[str, Any]) -> str | None:
    n, attribute, value = count(at(each, "n")), at(each, "attribute"), at(each, "value")
    found = [(x, figure(each, x)) for x in ("accuracy", "mean_absolute_error")]
    known = next(((_named(x), text) for x, text in found if text), None)
    if n is None or known is None:
        return None
    return f"{plain(attribute)} {plain(value)} ({n} images): {' '.join(known)}"


def clusters(documents: Documents) -> str | None:
    """Return the figures by hospital, machine or other attribute of a given table."""
    found = list_of(documents.evaluation, "test", "subgroups")
    given = [each for each in found if at(each, "attribute") != "file name"]
    return "; ".join(line for each in given[:12] if (line := _subgroup(each))) or None


def robustness(documents: Documents) -> str | None:
    """Return the corruptions that flip most predictions."""
    rows = [
        (flipped, plain(f"{at(row, 'corruption')} {at(row, 'severity') or ''}"))
        for row in list_of(documents.robustness, "rows")
        if at(row, "corruption") != "none"
        and (flipped := number(at(row, "flipped_predictions"))) is not None
    ]
    n = count(at(documents.robustness, "n"))
    if not rows or n is None:
        return _robustness_of_values(documents)
    worst = sorted(rows, reverse=True)[:3]
    named = ", ".join(f"{name} ({100 * flipped:.1f} %)" for flipped, name in worst)
    return f"{len(rows)} corruptions of {n} images; most predictions were flipped by {named}"


def _robustness_of_values(documents: Documents) -> str | None:
    """Return the corruptions with the largest errors of numbers."""
    found = [
        (error, at(row, "corruption") == "none",
         plain(f"{at(row, 'corruption')} {at(row, 'severity') or ''}"))
        for row in list_of(documents.robustness, "rows")
        if (error := number(at(row, "mean_absolute_error"))) is not None
    ]  # fmt: skip
    n = count(at(documents.robustness, "n"))
    unchanged = next((error for error, is_unchanged, _ in found if is_unchanged), None)
    if n is None or unchanged is None or len(found) < 2:
        return None
    worst = sorted((x for x in found if not x[1]), reverse=True)[:3]
    named = ", ".join(f"{name} ({error:.3g})" for error, _, name in worst)
    return (
        f"{len(found) - 1} corruptions of {n} images; mean absolute error {unchanged:.3g} without "
        f"any, and largest with {named}"
    )


def maps(documents: Documents) -> str | None:
    """Return the result of the tests of the activation maps."""
    sentence = at(documents.classifier, "explanation", "sentence")
    return plain(sentence) if isinstance(sentence, str) else None


def test_evaluations(documents: Documents) -> str | None:
    """Return how often the test set was evaluated."""
    found = list_of(documents.test_evaluations, "evaluations")
    if not found:
        return None
    classifiers = len({plain(at(each, "classifier")) for each in found})
    return f"evaluations of this test set on record: {len(found):,}; classifiers: {classifiers:,}"


def decision_curve(documents: Documents) -> str | None:
    """Return whether net benefit was computed."""
    prevalence = number(at(documents.evaluation, "test", "decision_curve", "prevalence"))
    if prevalence is None:
        return None
    return f"net benefit by threshold at a prevalence of {100 * prevalence:.1f} %"
