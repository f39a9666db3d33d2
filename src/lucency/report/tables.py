"""The tables and sentences of a report, as plain values for the page to lay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from lucency.plots import percent
from lucency.report.drawings import split_names
from lucency.report.files import Json, Run, number
from lucency.report.images import Album
from lucency.report.wording import (
    EXPLAINED,
    NAMES,
    figure_text,
    interval_text,
    isolated,
    listed,
    meaning,
    name_of,
    plural,
    rounded,
    support,
    trivial,
    value_text,
)

_MISTAKES = 10
_PER_CLASS = ("sensitivity", "specificity", "ppv", "f1", "auroc")


@dataclass(frozen=True)
class Headline:
    """One figure of the answer: its value, interval and what the trivial answer scores."""

    title: str
    value: str
    interval: str
    trivially: str
    baseline: str
    says: str


def headlines(run: Run) -> list[Headline]:
    """Return the figures that answer how good the classifier is."""
    part = next(iter(run.parts.values()))
    names = ["auroc", "sensitivity", "specificity", "accuracy"]
    if not run.positive:
        names = ["auroc", "balanced_accuracy", "accuracy", "f1"]
    baselines = trivial(part, run.positive)
    return [_headline(key, part, run.positive, baselines[key]) for key in names]


def _headline(key: str, part: Json, positive: str | None, baseline: float) -> Headline:
    entry, n, name = part["metrics"].get(key), support(key, part, positive), name_of(key)
    trivially = isolated(part["baseline"]["class"])
    return Headline(
        name.title,
        value_text(entry, n, share=name.share),
        interval_text(entry, n, share=name.share),
        Markup("guessing") if key == "auroc" else Markup("always {}").format(trivially),
        rounded(baseline, n, share=name.share),
        name.says,
    )


def answer(run: Run) -> list[Markup]:
    """Return what the headline means, in plain sentences."""
    part = next(iter(run.parts.values()))
    baseline = part["baseline"]
    accuracy = figure_text(part["metrics"]["accuracy"], part["n"], share=True)
    trivially = rounded(baseline["accuracy"], part["n"], share=True)
    sentence = Markup("Always answering {} would score {} accuracy; this classifier scores {}.")
    return [
        meaning(part, run.positive),
        sentence.format(isolated(baseline["class"]), trivially, accuracy),
    ]


def baseline(run: Run) -> Markup:
    """Return what the trivial answer's accuracy means, counted in images."""
    name, part = next(iter(run.parts.items()))
    frequent = part["baseline"]["class"]
    sentence = Markup(
        "{} of the {} {} are {}, the most frequent class: whoever always answers {} is right "
        "that often ({}) without looking at any image. Only what lies above this baseline is "
        "the classifier's doing."
    )
    shown = isolated(frequent)
    count = int(part["per_class"][frequent]["n"])
    share = rounded(part["baseline"]["accuracy"], part["n"], share=True)
    images = plural(part["n"], f"{name} image").split(" ", 1)
    return sentence.format(f"{count:,}", images[0], images[1], shown, shown, share)


def scope(run: Run) -> str:
    """Return on what the headline was measured."""
    name, part = next(iter(run.parts.items()))
    count = plural(part["n"], "image")
    groups = part.get("groups")
    if groups and groups != part["n"]:
        count += f" of {plural(groups, 'patient')}"
    if name == "test":
        return f"Measured on {count} of the test part, which took no part in training or choosing."
    return (
        f"Measured on {count} of the validation part, because there is no test part. These "
        "images also helped to choose, so new images will probably do worse."
    )


def alarms(audit: Json | None) -> list[str]:
    """Return the findings about the data that nobody may overlook."""
    found = (audit or {}).get("findings") or []
    return [str(finding["text"]) for finding in found if finding.get("level") == "alarm"]


def warnings(run: Run) -> list[str]:
    """Return what a reader must know before believing the figures."""
    name, part = next(iter(run.parts.items()))
    found = [str(line) for line in (run.audit or {}).get("warnings", [])]
    if name != "test":
        found.insert(0, "There is no test part: no figure here is an independent test.")
    found += alarms(run.audit)
    low, trivially = number(part["metrics"]["accuracy"].get("low")), part["baseline"]["accuracy"]
    if low is not None and low <= trivially:
        found.append(
            Markup(
                "Its accuracy is not shown to be better than always answering {}: "
                "the interval reaches down to {}."
            ).format(isolated(part["baseline"]["class"]), percent(low, part["n"]))
        )
    few = [
        Markup("{} ({})").format(isolated(key), entry["n"])
        for key, entry in part["per_class"].items()
        if entry["n"] < 30
    ]
    if few:
        sentence = Markup("Fewer than 30 {} images: {}. The intervals are wide.")
        found.append(sentence.format(name, listed(few)))
    if run.shared_groups:
        found.append(
            f"{plural(run.shared_groups, 'patient')} found in more than one part of the data: "
            "the figures may be too good."
        )
    parity = ((run.classifier or {}).get("onnx") or {}).get("parity") or {}
    if parity.get("passed") is False:
        found.append("The exported ONNX model does not reproduce the trained network.")
    return list(dict.fromkeys(found))


def metrics(run: Run) -> list[dict[str, Any]]:
    """Return every figure of every split with its interval, method and explanation."""
    found = [part["metrics"] for part in run.parts.values()]
    keys = dict.fromkeys([*NAMES, *(key for entries in found for key in entries)])
    rows = []
    for key in keys:
        entries = [entries.get(key) for entries in found]
        if not any(entries):
            continue
        name = name_of(key)
        texts = [
            figure_text(entry, support(key, part, run.positive), share=name.share)
            for entry, part in zip(entries, run.parts.values(), strict=True)
        ]
        method = next((entry["method"] for entry in entries if entry and entry.get("method")), "")
        baseline = trivial(next(iter(run.parts.values())), run.positive).get(key)
        rows.append({
            "title": name.title,
            "texts": texts,
            "baseline": "" if baseline is None else rounded(baseline, 100, share=name.share),
            "method": method,
            "says": name.says,
            "explained": EXPLAINED.get(key, ""),
        })  # fmt: skip
    return rows


def per_class(run: Run) -> tuple[list[str], list[tuple[str, int, list[str]]]]:
    """Return the heading and the rows (class, images, figures) of the first split."""
    part = next(iter(run.parts.values()))
    rows = []
    for target, entry in part["per_class"].items():
        texts = [
            figure_text(entry["metrics"].get(key), entry["n"], share=name_of(key).share)
            for key in _PER_CLASS
        ]
        rows.append((target, entry["n"], texts))
    return ["PPV" if key == "ppv" else name_of(key).title for key in _PER_CLASS], rows


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
        The number of mistakes in the split that counts and the worst of them, those that left
        the least probability to the truth first; None without predictions of that split.
    """
    seen, wanted = run.predictions, split_names(next(iter(run.parts)))
    if seen is None or not any(split in wanted for split in seen.split):
        return None
    place = {name: i for i, name in enumerate(run.classes)}
    wrong = [
        i
        for i, split in enumerate(seen.split)
        if split in wanted and seen.decision[i] != seen.label[i]
    ]
    wrong.sort(key=lambda i: (seen.p[i, place[seen.label[i]]], seen.file[i]))
    return len(wrong), [
        Mistake(
            seen.file[i],
            seen.label[i],
            seen.decision[i],
            rounded(float(seen.p[i, place[seen.label[i]]]), 100, share=True),
            rounded(float(seen.p[i, place[seen.decision[i]]]), 100, share=True),
            album.image("mistake", seen.file[i]),
        )
        for i in wrong[:_MISTAKES]
    ]


def confusable(part: Json) -> Markup:
    """Return the most frequent mistake in words."""
    table = np.array(part["confusion"])
    np.fill_diagonal(table, 0)
    if not table.sum():
        return Markup("No image was decided wrongly.")
    i, j = (int(k) for k in np.unravel_index(int(table.argmax()), table.shape))
    truth, decided = (isolated(part["classes"][k]) for k in (i, j))
    sentence = Markup("The most frequent mistake: truth {}, decision {} ({}).")
    return sentence.format(truth, decided, plural(int(table[i, j]), "image"))
