"""Compare classifiers on one test set: differences, intervals, significance.

    paired     paired differences with intervals and tests
    result     the result of a comparison
    runs       read run folders and align their predictions
    wording    the conclusions as sentences

Runs that differ only in the seed are repeats of one *system*. Its metrics are means over the seeds;
their standard deviation shows the variation over seeds, the interval that over patients. One
metric, chosen beforehand, decides: the AUROC. The others are reported with intervals and decide
nothing, so reporting many of them causes no false positives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lucency.comparison import wording
from lucency.comparison.paired import (
    Difference,
    Figures,
    Outputs,
    auroc_difference,
    bootstrapped,
    holm,
    mcnemar,
    patient_test,
    replicated,
)
from lucency.comparison.result import Comparison, Decisions, Pair, Repeated, System
from lucency.comparison.runs import Run, Truth, read_runs
from lucency.config import PATIENT, plural_of_unit
from lucency.errors import ConfigError
from lucency.evaluation import OUT_OF_FOLD
from lucency.metrics import Estimate, delong, percentiles

__all__ = ["Comparison", "Decisions", "Difference", "Pair", "Repeated", "System", "compare"]

_CHOSEN_ON = {"val": "validation images", OUT_OF_FOLD: "out-of-fold predictions"}
# A difference within so many standard errors over seeds may be due to the seeds.
_SEED_ERRORS = 2.0

_Replicated = Mapping[str, tuple[Figures, Figures]]


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
    outputs = {run.name: run.outputs for run in found}
    drawn = replicated(truth.labels, outputs, truth.positive, truth.cluster, truth.task)
    systems = [_system(members, truth, drawn) for members in by_system.values()]
    pairs = _pairs(systems, truth, outputs, drawn)
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
        conclusions=_conclusions(systems, pairs),
        warnings=_warnings(split, systems, truth),
    )


def _system(members: Sequence[Run], truth: Truth, drawn: _Replicated) -> System:
    names = tuple(run.name for run in members)
    name = names[0] if len(names) == 1 else f"{names[0]} ({len(names)} seeds)"
    figures = {}
    for figure in drawn[names[0]][0]:
        per_run = tuple(float(drawn[run][0][figure][0]) for run in names)
        spread = np.mean([drawn[run][1][figure] for run in names], axis=0)
        low, high = (float(end) for end in percentiles(spread))
        method = "patient bootstrap" if truth.clustered else "bootstrap"
        figures[figure] = Repeated(Estimate(float(np.mean(per_run)), low, high, method), per_run)
    if len(names) == 1 and truth.positive is not None:
        # Exactly as in evaluation.json.
        scores = members[0].predictions.probabilities[:, truth.positive]
        area = delong(truth.labels == truth.positive, scores, truth.cluster)
        figures["auroc"] = Repeated(area, figures["auroc"].per_run)
    return System(
        name=name,
        runs=names,
        seeds=tuple(run.seed for run in members),
        classifiers=tuple(run.classifier for run in members),
        metrics=figures,
    )


def _pairs(
    systems: Sequence[System], truth: Truth, outputs: Mapping[str, Outputs], drawn: _Replicated
) -> list[Pair]:
    first = systems[0]
    differences = [_differences(first, other, truth, outputs, drawn) for other in systems[1:]]
    # Without all classes there is no AUROC: the accuracy decides.
    best = "quadratic_kappa" if truth.task.is_ordinal else "auroc"
    defined = all(math.isfinite(each[best].value) for each in differences)
    figure = best if defined else "accuracy"
    corrected = holm([each[figure].p for each in differences])
    pairs = []
    for other, each, p in zip(systems[1:], differences, corrected, strict=True):
        decisions = _decisions(first, other, truth, outputs)
        sentences = [wording.conclusion(first.name, other.name, figure, each[figure], p)]
        if not p < 0.05:
            sentences += [wording.resolution(figure, each[figure], _images(truth))]
        if decisions:
            only = (decisions.only_first, decisions.only_second)
            p_decided = decisions.by_patient
            names = (first.name, other.name)
            sentences += [
                wording.decided(*names, only, p_decided, clustered=truth.clustered, unit=truth.unit)
            ]
            if figure == "auroc" and p_decided < 0.05 <= p:
                sentences += [wording.OPERATING_POINT]
        sentences += [_seeds(first, other, figure, each[figure])]
        conclusions = tuple(filter(None, sentences))
        pairs.append(Pair(first.name, other.name, each, decisions, figure, p, conclusions))
    return pairs


def _differences(
    first: System,
    second: System,
    truth: Truth,
    outputs: Mapping[str, Outputs],
    drawn: _Replicated,
) -> dict[str, Difference]:
    found = {}
    for figure in first.metrics:
        value = second.metrics[figure].estimate.value - first.metrics[figure].estimate.value
        spread = [
            np.mean([drawn[run][1][figure] for run in system.runs], axis=0)
            for system in (first, second)
        ]
        found[figure] = bootstrapped(value, spread[1] - spread[0], truth.cluster)
    if truth.positive is not None:
        one, other = (
            np.stack([outputs[run].probabilities[:, truth.positive] for run in system.runs])
            for system in (first, second)
        )
        found["auroc"] = auroc_difference(truth.labels == truth.positive, one, other, truth.cluster)
    return found


def _decisions(
    first: System, second: System, truth: Truth, outputs: Mapping[str, Outputs]
) -> Decisions | None:
    if len(first.runs) > 1 or len(second.runs) > 1:
        return None
    one, other = (outputs[x.runs[0]].decisions == truth.labels for x in (first, second))
    return Decisions(
        only_first=int((one & ~other).sum()),
        only_second=int((other & ~one).sum()),
        mcnemar=mcnemar(one, other),
        by_patient=patient_test(one, other, truth.cluster),
    )


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
    spread = " and ".join(f"{x.metrics[figure].sd:.3f} ({x.name})" for x in (first, second))
    return (
        f"The interval covers other patients, not other seeds: over seeds, {wording.NAMES[figure]} "
        f"has a standard deviation of {spread}; the difference of the means is {within} what this "
        "explains."
    )


def _images(truth: Truth) -> str:
    n = f"{len(truth.labels):,} {plural_of_unit(truth.unit)}"
    return f"{n} of {truth.patients:,} patients" if truth.known and truth.unit != PATIENT else n


def _conclusions(systems: Sequence[System], pairs: Sequence[Pair]) -> tuple[str, ...]:
    if not pairs:
        figure = systems[0].metrics["auroc"]
        return (
            f"These are {len(systems[0].runs)} seeds of one system, so there is nothing to "
            f"compare: AUROC {figure.estimate.value:.3f} on average, standard deviation "
            f"{figure.sd:.3f}, from {min(figure.per_run):.3f} to {max(figure.per_run):.3f}.",
        )
    sentences = [sentence for pair in pairs for sentence in pair.conclusions]
    if len(pairs) > 1:
        sentences.append(
            f"The deciding p-values are corrected for {len(pairs)} comparisons (Holm); "
            "the intervals are not."
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
