"""Compare classifiers on one test set: differences, intervals, significance.

    paired     paired differences with intervals and tests
    result     the result of a comparison
    runs       read run folders and align their predictions
    systems    the figures of systems, and their differences
    labels     the same for several labels
    wording    the conclusions as sentences

Runs that differ only in the seed are repeats of one *system*. Its metrics are means over the seeds;
their standard deviation shows the variation over seeds, the interval that over patients. One
metric, chosen beforehand, decides: the AUROC, of grades the quadratic kappa, of several labels the
mean AUROC, of numbers the mean absolute error. The others are reported with intervals and decide
nothing, so reporting many of them causes no false positives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lucency.comparison import wording
from lucency.comparison.labels import label_pairs, measure_labels
from lucency.comparison.labels import sentences as label_sentences
from lucency.comparison.paired import Difference, holm
from lucency.comparison.result import Comparison, Decisions, LabelPair, Pair, Repeated, System
from lucency.comparison.runs import Run, Truth, read_runs
from lucency.comparison.systems import Measured, decisions_of, differences_of, measure, system_of
from lucency.config import PATIENT, plural_of_unit
from lucency.errors import ConfigError
from lucency.evaluation import OUT_OF_FOLD
from lucency.task import Task

__all__ = [
    "Comparison",
    "Decisions",
    "Difference",
    "LabelPair",
    "Pair",
    "Repeated",
    "System",
    "compare",
]

_CHOSEN_ON = {"val": "validation images", OUT_OF_FOLD: "out-of-fold predictions"}
# A difference within so many standard errors over seeds may be due to the seeds.
_SEED_ERRORS = 2.0


def compare(runs: Sequence[Path], *, split: str = "test", repeats: bool = True) -> Comparison:
    """Compare runs that were evaluated on the same images.

    Args:
        runs: Two or more run folders. The system of the first one is the reference.
        split: "test"; "val" or "out_of_fold" with a warning: choices were based on these.
        repeats: Whether runs that differ only in the seed form one system; else each run is one.

    Returns:
        Metrics of every system, differences with intervals and p-values, and conclusions. The
        deciding p-values are corrected for the number of comparisons (Holm).

    Raises:
        ConfigError: ``split`` is none of these.
        DataError: The runs differ in test images, classes, labels or patients.
        RunError: A file is missing or damaged.
        ClassifierError: A ``classifier.json`` is missing or damaged.
    """
    if split not in ("test", *_CHOSEN_ON):
        known = ", ".join(_CHOSEN_ON)
        raise ConfigError(f"The split to compare on must be test, {known}. Received: {split!r}")
    found, truth = read_runs([Path(run) for run in runs], split)
    by_system: dict[str, list[Run]] = {}
    for run in found:
        by_system.setdefault(run.system if repeats else run.name, []).append(run)
    measured = (measure_labels if truth.task.is_multilabel else measure)(found, truth)
    systems = [system_of(members, measured) for members in by_system.values()]
    pairs = _pairs(systems, measured)
    return Comparison(
        split=split,
        test_set=truth.test_set,
        unit=truth.unit,
        n=len(truth.labels),
        images=truth.images,
        groups=truth.patients if truth.known else None,
        classes=truth.classes,
        positive=None if truth.positive is None else truth.classes[truth.positive],
        systems=tuple(systems),
        pairs=tuple(pairs),
        conclusions=_conclusions(systems, pairs, len(measured.labels)),
        warnings=_warnings(split, systems, truth),
    )


def _pairs(systems: Sequence[System], measured: Measured) -> list[Pair]:
    first, truth = systems[0], measured.truth
    differences = [differences_of(first, other, measured) for other in systems[1:]]
    # Without all classes there is no AUROC: the accuracy decides.
    best = deciding(truth.task)
    defined = all(math.isfinite(each[best].value) for each in differences)
    figure = best if defined else "accuracy"
    corrected = holm([each[figure].p for each in differences])
    of_labels = label_pairs(first, systems[1:], measured) if measured.labels else None
    pairs = []
    for i, (other, each, p) in enumerate(zip(systems[1:], differences, corrected, strict=True)):
        decisions = decisions_of(first, other, measured)
        labels = of_labels[i] if of_labels else None
        sentences = [wording.conclusion(first.name, other.name, figure, each[figure], p)]
        if not p < 0.05:
            sentences += [wording.resolution(figure, each[figure], _images(truth))]
        if decisions:
            only = (decisions.only_first, decisions.only_second)
            p_decided = decisions.by_patient
            names = (first.name, other.name)
            swapped = "patient" if truth.clustered else truth.unit if labels else None
            unit = "label" if labels else truth.unit
            sentences += [wording.decided(*names, only, p_decided, swapped=swapped, unit=unit)]
            if figure == "auroc" and p_decided < 0.05 <= p:
                sentences += [wording.OPERATING_POINT]
        if labels:
            sentences += label_sentences(first.name, other.name, labels)
        sentences += [_seeds(first, other, figure, each[figure])]
        conclusions = tuple(filter(None, sentences))
        pairs.append(Pair(first.name, other.name, each, decisions, figure, p, conclusions, labels))
    return pairs


def deciding(task: Task) -> str:
    """Return the metric that decides which of two classifiers of a task is better."""
    if task.is_regression:
        return "mean_absolute_error"
    return "quadratic_kappa" if task.is_ordinal else "auroc"


def _seeds(first: System, second: System, figure: str, found: Difference) -> str:
    """Return the sentence on seeds: the interval does not cover other seeds."""
    spreads = [x.metrics[figure].sd ** 2 / len(x.runs) for x in (first, second)]
    error = math.sqrt(sum(spreads))
    if not math.isfinite(error):
        return (
            "This compares these trained classifiers. To compare their recipes, train several "
            "seeds of each."
        )
    within = "within" if abs(found.value) <= _SEED_ERRORS * error else "beyond"
    form = wording.form(figure)
    spread = " and ".join(
        f"{form.format(x.metrics[figure].sd)} ({x.name})" for x in (first, second)
    )
    return (
        f"The interval covers other patients, not other seeds: over seeds, {wording.NAMES[figure]} "
        f"has a standard deviation of {spread}; the difference of the means is {within} what this "
        "explains."
    )


def _images(truth: Truth) -> str:
    n = f"{len(truth.labels):,} {plural_of_unit(truth.unit)}"
    return f"{n} of {truth.patients:,} patients" if truth.known and truth.unit != PATIENT else n


def _conclusions(systems: Sequence[System], pairs: Sequence[Pair], labels: int) -> tuple[str, ...]:
    if not pairs:
        name = "auroc" if "auroc" in systems[0].metrics else "mean_absolute_error"
        figure, form = systems[0].metrics[name], wording.form(name)
        numbers = (figure.estimate.value, figure.sd, min(figure.per_run), max(figure.per_run))
        mean, sd, least, most = map(form.format, numbers)
        return (
            f"These are {len(systems[0].runs)} seeds of one system, so there is nothing to "
            f"compare: {wording.NAMES[name]} {mean} on average, standard deviation {sd}, from "
            f"{least} to {most}.",
        )
    sentences = [sentence for pair in pairs for sentence in pair.conclusions]
    if len(pairs) > 1:
        sentences.append(
            f"The deciding p-values are corrected for {len(pairs)} comparisons (Holm); "
            "the intervals are not."
        )
    if labels and pairs:
        sentences.append(
            f"The p-values of labels are corrected for {labels * len(pairs)} comparisons (Holm)."
        )
    return tuple(dict.fromkeys(sentences))


def _warnings(split: str, systems: Sequence[System], truth: Truth) -> tuple[str, ...]:
    found = []
    if split in _CHOSEN_ON:
        found.append(
            f"These are {_CHOSEN_ON[split]}, which choices were based on: a difference may come "
            "from these choices. Compare on a test split."
        )
    if not truth.known:
        found.append(
            "The patients are unknown: if some have several images, the intervals are too narrow "
            "and the p-values too small."
        )
    if len(systems) > 1 and len({len(system.runs) for system in systems}) > 1:
        found.append(
            "The systems have different numbers of seeds: means over few seeds are less certain "
            "than the intervals suggest."
        )
    return tuple(found)
