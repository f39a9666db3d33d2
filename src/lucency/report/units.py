"""One answer for each unit: its figures beside those of images, and what some answers rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lucency.calibration.units import images_of, numbered, pooling_words
from lucency.classifier import Prediction, Spec
from lucency.classifier.unit_prediction import predict_unit
from lucency.config import column_of_unit
from lucency.evaluation import Predictions
from lucency.evaluation.predictions import pooled
from lucency.report import drawings, labels, utility, values
from lucency.report.files import Run
from lucency.report.wording import (
    UNDEFINED,
    figure_text,
    isolated,
    name_of,
    plural,
    rounded,
    support,
)

_EVIDENCE = 8  # units
_OF_GRADES = ("quadratic_kappa", "within_one", "mean_absolute_error", "accuracy")
_OF_CLASSES = (
    *("auroc", "sensitivity", "specificity", "accuracy", "balanced_accuracy"),
    *("ece", "brier", "log_loss"),
)
_OF_LABELS = (*labels.MEANS, "brier", "log_loss")
_OF_VALUES = (
    *("mean_absolute_error", "root_mean_squared_error", "r2", "mean_error", "agreement_low"),
    *("agreement_high", "interval_coverage", "interval_width"),
    "answered",
)
_BASIS = ("Decisive image", "Change", "Images that agree")
_PROBABILITIES = (*_BASIS, "Probability, image by image")
# Heads of the columns of the evidence, behind the name of the unit, and their kinds.
_OF_NUMBER = ("True", "Predicted", "Interval", *_BASIS, "Predictions, image by image"), "hnnnhnnn"
_OF_LABEL = ("Label", "Truth", "Probability", *_PROBABILITIES), "hhhnhnnn"
_OF_CLASS = ("Truth", "Decision", "Probability", *_PROBABILITIES), "hhhnhnnn"


class Table(NamedTuple):
    """A table: the heads of its columns, their kinds as in ``macros.html``, and its rows."""

    heads: tuple[str, ...]
    kinds: str
    rows: list[list[str]]


def contents(run: Run) -> dict[str, Any] | None:
    """Return what the section on one answer for each unit shows; None without such answers."""
    of = run.per_unit
    if of is run:
        return None
    spec = Spec.from_json(run.classifier) if run.classifier else None
    one_class = not (of.is_regression or of.is_multilabel)
    return {
        "unit": isolated(of.unit) if column_of_unit(of.unit) else of.unit,
        "units": of.units,
        "heads": ["Figure", of.units if column_of_unit(of.unit) else of.units.title(), "Images"],
        "gist": plural(int(of.split["n"]), of.unit, of.units),
        "figures": _figures(run, of),
        "labels": [labels.heads(of), labels.rows(of)] if of.is_multilabel else None,
        "pooling": _pooling(spec),
        "agreement": values.agreement_text(of.split) if of.is_regression else None,
        "point": utility.point(of.at_cut) if one_class else None,
        "evidence": _evidence(run, spec),
        "plots": drawings.confusions(of)[:1]
        if one_class
        else values.agreement(of)[:2]
        if of.is_regression
        else [],
    }


def _pooling(spec: Spec | None) -> list[tuple[str, str, str]]:
    """Return how the logits of a unit's images are pooled and why, by label if there are several.

    Runs of earlier versions have nothing on it, and the mean.
    """
    if spec is None or (rule := spec.unit_rule) is None:
        return []
    of = zip(spec.classes, rule.labels, strict=True) if rule.labels else [("", vars(rule))]
    return [
        (name, pooling_words(each.get("pooling", 0.0)), each.get("pooling_rule", ""))
        for name, each in of
    ]


def _figures(run: Run, other: Run) -> list[list[str]]:
    """Return the headline figures of units beside those of images."""
    if run.is_regression:
        pairs = [_numbers(each) for each in (other, run)]
        return [
            [values.NAMES[key].title, *(values.text_of(key, x.get(key), n) for x, n in pairs)]
            for key in _OF_VALUES
        ]
    keys = _OF_GRADES if run.is_ordinal else _OF_LABELS if run.is_multilabel else _OF_CLASSES
    return [
        [
            name_of(key).title,
            *(
                figure_text(
                    each.split["metrics"].get(key),
                    int(each.split["n"])
                    if run.is_multilabel
                    else support(key, each.split, each.positive),
                    share=name_of(key).share,
                )
                for each in (other, run)
            ),
        ]
        for key in keys
        if key in run.split["metrics"]
    ]


def _numbers(run: Run) -> tuple[dict[str, Any], int]:
    """Return the figures of numbers, with the share that is answered, and on how many they are."""
    answered = run.split["selective"]["abstention"]["metrics"]["answered"]
    return {**run.split["metrics"], "answered": answered}, int(run.split["n"])


def _evidence(run: Run, spec: Spec | None) -> Table | None:
    """Return what the answers for some units rest on: those whose images differ most.

    Only units of several images are among them. ``None`` without any, or without predictions.
    """
    found = run.predictions_of(run.split_name)
    if found is None or spec is None:
        return None
    rows = sorted(_rows(spec, found), key=lambda row: row[:2])[:_EVIDENCE]
    heads, kinds = _OF_NUMBER if spec.value else _OF_LABEL if spec.labels else _OF_CLASS
    return Table(heads, kinds, [cells for *_, cells in rows]) if rows else None


def _rows(spec: Spec, found: Predictions) -> Iterator[tuple[float, str, list[str]]]:
    """Yield how little the images of each unit agree, below 0, its name and its cells."""
    rule = spec.unit_rule
    if rule is None:
        return
    names, unit = numbered(found.answered)
    truths = pooled(found, rule)
    for number, own in enumerate(images_of(unit)):
        if len(own) < 2:
            continue
        images = [Prediction(found.files[i], "", tuple(found.probabilities[i])) for i in own]
        answer = predict_unit(spec, names[number], images)
        for evidence, cells in _answers(spec, truths, number, answer):
            yield evidence["lowest"] - evidence["highest"], names[number], [names[number], *cells]


def _answers(
    spec: Spec, truths: Predictions, number: int, answer: Prediction
) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """Yield the evidence of each answer for a unit, and its cells: one for each label, else one."""
    evidence = answer.evidence or {}
    if answer.value and truths.values is not None:
        yield evidence, _of_number(spec, float(truths.values[number]), answer.value, evidence)
    elif answer.labels and truths.targets is not None:
        for name, each in evidence["labels"].items():
            state = truths.targets[number, spec.classes.index(name)]
            truth = "unknown" if state < 0 else "present" if state > 0 else "absent"
            yield each, [name, truth, _share(answer.labels[name]["probability"]), *_basis(each)]
    else:
        decided, truth = evidence["class"], spec.classes[truths.labels[number]]
        p = answer.probabilities[spec.classes.index(decided)]
        yield evidence, [truth, decided, _share(p), *_basis(evidence)]


def _of_number(
    spec: Spec, true: float, value: Mapping[str, Any], evidence: Mapping[str, Any]
) -> list[str]:
    like = max(map(abs, (spec.value or {})["edges"]))
    low, high = (values.of_number(evidence[key], like) for key in ("lowest", "highest"))
    ends, change = value["interval"], evidence["change"]
    return [
        values.of_number(true, like),
        values.of_number(value["predicted"], like),
        " to ".join(values.of_number(end, like) for end in ends) if ends else "none",
        evidence["image"],
        ("+" if change > 0 else "") + values.of_number(change, like),
        _agree(evidence),
        f"{low} to {high}",
    ]


def _basis(evidence: Mapping[str, Any]) -> list[str]:
    """Return the decisive image, its change of the log odds, and how the images agree."""
    return [
        evidence["image"],
        f"{evidence['change']:+.2f}".replace("-", "−"),
        _agree(evidence),
        f"{_share(evidence['lowest'])} to {_share(evidence['highest'])}",
    ]


def _agree(evidence: Mapping[str, Any]) -> str:
    agree = evidence["agree"]
    return UNDEFINED if agree is None else f"{agree} of {evidence['images']}"


def _share(probability: float) -> str:
    return rounded(float(probability), 100, share=True)
