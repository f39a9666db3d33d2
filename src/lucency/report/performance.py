"""How good the classifier is: headline figures, all figures, figures per class, mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from lucency.calibration.units import UnitRule, images_of, numbered
from lucency.calibration.units import evidence as rest_on
from lucency.evaluation.predictions import pooled
from lucency.report import labels, values
from lucency.report.files import Json, Run
from lucency.report.images import Album
from lucency.report.wording import (
    GLOSSARY,
    NAMES,
    class_name,
    figure_text,
    interval_text,
    meaning,
    name_of,
    plural,
    rounded,
    support,
    trivial,
    value_text,
)
from lucency.task import CLASSES, ORDINAL, task_of

_MISTAKES = 10
_EVIDENCE = 8  # units
_OF_GRADES = ("quadratic_kappa", "within_one", "mean_absolute_error", "accuracy")
_OF_UNITS = (
    *("auroc", "sensitivity", "specificity", "accuracy", "balanced_accuracy"),
    *("ece", "brier", "log_loss"),
)
_PER_CLASS = ("sensitivity", "specificity", "ppv", "f1", "auroc")


@dataclass(frozen=True)
class Headline:
    """One figure of the first screen: its value, interval and trivial baseline."""

    title: str
    page: str
    value: str
    interval: str
    baseline: Markup


def headlines(run: Run) -> list[Headline]:
    """Return the figures that say how good the classifier is."""
    names = ["auroc", "sensitivity", "specificity", "accuracy"]
    if run.is_regression:
        return [
            Headline(values.NAMES[key].title, values.GLOSSARY[key], *values.headline(key, run))
            for key in values.HEADLINES
        ]
    if run.is_multilabel:
        return [_mean(key, run) for key in labels.MEANS]
    if run.is_ordinal:
        names = [*_OF_GRADES]
    elif not run.positive:
        names = ["auroc", "balanced_accuracy", "accuracy", "f1"]
    baselines = trivial(run.split, run.positive)
    return [_headline(key, run, baselines[key]) for key in names]


def _headline(key: str, run: Run, baseline: float) -> Headline:
    entry, n, name = (
        run.split["metrics"].get(key),
        support(key, run.split, run.positive),
        name_of(key),
    )
    always = Markup("always {}").format(class_name(run.split["baseline"]["class"]))
    return Headline(
        name.title,
        GLOSSARY[key],
        value_text(entry, n, share=name.share),
        interval_text(entry, n, share=name.share),
        Markup("{}: {}").format(
            "guessing" if key == "auroc" else always,
            rounded(baseline, n, share=name.share, largest=baseline),
        ),
    )


def _mean(key: str, run: Run) -> Headline:
    """Return the mean of a figure over several labels."""
    entry, n, name = run.split["metrics"].get(key), int(run.split["n"]), name_of(key)
    return Headline(
        name.title,
        GLOSSARY[key],
        value_text(entry, n, share=name.share),
        interval_text(entry, n, share=name.share),
        Markup("mean over {}").format(plural(len(run.split["labels"]), "label")),
    )


def means(run: Run) -> list[list[str]]:
    """Return the means of all figures over several labels, of every split."""
    keys = dict.fromkeys(key for split in run.splits.values() for key in split["metrics"])
    return [
        [
            name_of(key).title,
            *(
                figure_text(split["metrics"].get(key), split["n"], share=name_of(key).share)
                for split in run.splits.values()
            ),
        ]
        for key in keys
    ]


def sentences(run: Run) -> list[Markup]:
    """Return what the headline means: in images of a hundred, and beside the baseline."""
    if run.is_regression:
        return values.sentences(run)
    if run.is_multilabel:
        return labels.sentences(run)
    split, name = run.split, run.split_name
    frequent = split["baseline"]["class"]
    count = int(split["per_class"][frequent]["n"])
    beside = Markup(
        "Always predicting {} scores {} accuracy ({:,} of {:,} {} {}); this classifier scores {}."
    )
    return [
        meaning(split, run.positive, run.unit),
        beside.format(
            class_name(frequent),
            rounded(split["baseline"]["accuracy"], split["n"], share=True),
            count,
            split["n"],
            name,
            run.units,
            figure_text(split["metrics"]["accuracy"], split["n"], share=True),
        ),
    ]


def metrics(run: Run) -> list[dict[str, Any]]:
    """Return every figure of every split with its interval, baseline and page of the glossary."""
    found = [split["metrics"] for split in run.splits.values()]
    baselines = trivial(run.split, run.positive)
    rows = []
    for key in dict.fromkeys([*NAMES, *(key for entries in found for key in entries)]):
        if not any(entries.get(key) for entries in found):
            continue
        name, baseline = name_of(key), baselines.get(key)
        texts = [
            figure_text(
                each["metrics"].get(key), support(key, each, run.positive), share=name.share
            )
            for each in run.splits.values()
        ]
        texts.append("" if baseline is None else rounded(baseline, 100, share=name.share))
        rows.append({"title": name.title, "page": GLOSSARY.get(key, ""), "texts": texts})
    return rows


def methods(run: Run) -> list[tuple[str, str]]:
    """Return each method of an interval with the figures whose intervals it gives."""
    found: dict[str, list[str]] = {}
    for key, entry in run.split["metrics"].items():
        if entry and entry.get("method") and entry.get("low") is not None:
            found.setdefault(str(entry["method"]), []).append(name_of(key).title)
    return [(method, ", ".join(titles)) for method, titles in found.items()]


def per_class(run: Run) -> dict[str, Any] | None:
    """Return the heads and the rows of each class against the rest; None for two classes."""
    if len(run.classes) < 3:
        return None
    rows = [
        [name, f"{entry['n']:,}"]
        + [
            figure_text(entry["metrics"].get(key), entry["n"], share=name_of(key).share)
            for key in _PER_CLASS
        ]
        for name, entry in run.split["per_class"].items()
    ]
    heads = ["PPV" if key == "ppv" else name_of(key).title for key in _PER_CLASS]
    return {"heads": ["Class", "Images", *heads], "rows": rows}


def grades(run: Run) -> list[list[str]]:
    """Return the rows of each grade or a higher one, with its figures; empty for other tasks."""
    cuts = (run.split.get("grades") or {}).get("cuts") or []
    return [
        [
            f"{each['from']} or higher",
            f"{each['n']:,}",
            *(
                figure_text(each["metrics"].get(key), min(each["n"], run.split["n"] - each["n"]),
                            share=False)
                for key in ("auroc", "calibration_slope", "calibration_intercept")
            ),
        ]
        for each in cuts
    ]  # fmt: skip


def units(run: Run) -> list[list[str]]:
    """Return the headline figures of units beside those of images; empty without the former."""
    other = run.per_unit
    if other is run:
        return []
    keys = [*(_OF_GRADES if run.is_ordinal else _OF_UNITS)]
    return [
        [
            name_of(key).title,
            *(
                figure_text(
                    each.split["metrics"].get(key), support(key, each.split, each.positive),
                    share=name_of(key).share,
                )
                for each in (other, run)
            ),
        ]
        for key in keys
        if key in run.split["metrics"]
    ]  # fmt: skip


def pooling(run: Run) -> dict[str, str]:
    """Return how the logits of a unit's images are pooled, and why."""
    document = (run.classifier or {}).get("unit")
    if not document:
        return {"pooling": "mean", "pooling_rule": ""}
    rule = UnitRule.from_json(document, run.classes)
    return {"pooling": rule.pooling_words, "pooling_rule": rule.pooling_rule}


def evidence(run: Run) -> list[list[Any]]:
    """Return what the answers for some units rest on: those whose images differ most.

    Only units of several images are among them.
    """
    found, document = run.predictions_of(run.split_name), (run.classifier or {}).get("unit")
    if found is None or not document:
        return []
    rule, classes = UnitRule.from_json(document, found.classes), found.classes
    names, unit = numbered(found.answered)
    answers = pooled(found, rule)
    positive = None if run.positive is None else classes.index(run.positive)
    task = task_of(ORDINAL) if run.is_ordinal else CLASSES
    decisions = task.decide(answers.probabilities, positive, rule.threshold)
    rows = []
    for number, own in enumerate(images_of(unit)):
        k = int(decisions[number])
        if len(own) > 1:
            of = rest_on(rule, found.probabilities[own], k, found.decisions[own])
            rows.append((of.lowest - of.highest, names[number], number, own, of))
    return [
        [
            name,
            classes[answers.labels[number]],
            classes[decisions[number]],
            rounded(float(answers.probabilities[number, decisions[number]]), 100, share=True),
            found.files[own[of.decisive]],
            f"{of.changes[of.decisive]:+.2f}".replace("-", "−"),
            f"{of.agree} of {len(own)}",
            f"{rounded(of.lowest, 100, share=True)} to {rounded(of.highest, 100, share=True)}",
        ]
        for _, name, number, own, of in sorted(rows, key=lambda row: row[:2])[:_EVIDENCE]
    ]


@dataclass(frozen=True)
class Mistake:
    """A wrong decision, with the probabilities of the truth and of the decision."""

    file: str
    label: str
    decision: str
    p_label: str
    p_decision: str
    image: str | None


def mistakes(run: Run, album: Album) -> tuple[int, list[Mistake]] | None:
    """Return how many decisions were wrong, and the worst of them.

    Returns:
        The number of mistakes in the split that counts and the worst of them, those that gave
        the truth the least probability first; None without predictions of that split.
    """
    found = run.predictions_of(run.split_name)
    if found is None:
        return None
    rows = np.arange(len(found.files))
    true, decided = (found.probabilities[rows, x] for x in (found.labels, found.decisions))
    wrong = [*np.flatnonzero(found.labels != found.decisions)]
    wrong.sort(key=lambda i: (true[i], found.files[i]))
    return len(wrong), [
        Mistake(
            found.files[i],
            found.classes[found.labels[i]],
            found.classes[found.decisions[i]],
            rounded(float(true[i]), 100, share=True),
            rounded(float(decided[i]), 100, share=True),
            album.image("mistake", found.files[i]),
        )
        for i in wrong[:_MISTAKES]
    ]


def most_confused(split: Json) -> Markup:
    """Return the most frequent mistake in words."""
    table = np.array(split["confusion"])
    np.fill_diagonal(table, 0)
    if not table.sum():
        return Markup("No image was classified wrongly.")
    i, j = (int(k) for k in np.unravel_index(int(table.argmax()), table.shape))
    truth, decided = (class_name(split["classes"][k]) for k in (i, j))
    sentence = Markup("The most frequent mistake: truth {}, decision {} ({}).")
    return sentence.format(truth, decided, plural(int(table[i, j]), "image"))
