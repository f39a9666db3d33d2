"""Measure systems, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lucency.comparison.paired import (
    Difference,
    Figures,
    Outputs,
    auroc_difference,
    bootstrapped,
    mcnemar,
    mean_auroc_difference,
    patient_test,
    replicated,
)
from lucency.comparison.result import Decisions, Repeated, System
from lucency.comparison.runs import Run, Truth
from lucency.evaluation.labels import mean_metrics
from lucency.metrics import Estimate, delong, percentiles


@dataclass(frozen=True)
class Measured:
    """The figures of all compared runs.

    Attributes:
        truth: The test images.
        outputs: Of each run, by its name.
        drawn: Of each run the figures (1,), and their replicates under the same bootstrap samples.
        labels: Of several labels, each by itself on the images where it is known; else empty.
    """

    truth: Truth
    outputs: Mapping[str, Outputs]
    drawn: Mapping[str, tuple[Figures, Figures]]
    labels: Mapping[str, Measured]


def measure(runs: Sequence[Run], truth: Truth) -> Measured:
    """Measure runs that answer with one class, a grade or a number."""
    outputs = {run.name: run.outputs for run in runs}
    drawn = replicated(
        truth.labels, outputs, truth.positive, truth.cluster, truth.task, truth.values
    )
    return Measured(truth, outputs, drawn, {})


def system_of(members: Sequence[Run], measured: Measured) -> System:
    """Average the figures of a system over its runs."""
    names = tuple(run.name for run in members)
    figures = _means(names, measured)
    if len(names) == 1 and measured.labels:
        # Exactly as in evaluation.json.
        area = mean_metrics(members[0].predictions)["auroc"]
        figures["auroc"] = Repeated(area, figures["auroc"].per_run)
    return System(
        name=names[0] if len(names) == 1 else f"{names[0]} ({len(names)} seeds)",
        runs=names,
        seeds=tuple(run.seed for run in members),
        classifiers=tuple(run.classifier for run in members),
        metrics=figures,
        labels={name: _means(names, each) for name, each in measured.labels.items()} or None,
    )


def _means(names: Sequence[str], measured: Measured) -> dict[str, Repeated]:
    """Return each figure of a system as a mean over its runs."""
    truth, drawn, figures = measured.truth, measured.drawn, {}
    for figure in drawn[names[0]][0]:
        per_run = tuple(float(drawn[run][0][figure][0]) for run in names)
        spread = np.mean([drawn[run][1][figure] for run in names], axis=0)
        low, high = (float(end) for end in percentiles(spread))
        method = "patient bootstrap" if truth.clustered else "bootstrap"
        figures[figure] = Repeated(Estimate(float(np.mean(per_run)), low, high, method), per_run)
    if len(names) == 1 and truth.positive is not None:
        # Exactly as in evaluation.json.
        scores = measured.outputs[names[0]].probabilities[:, truth.positive]
        area = delong(truth.labels == truth.positive, scores, truth.cluster)
        figures["auroc"] = Repeated(area, figures["auroc"].per_run)
    return figures


def differences_of(first: System, second: System, measured: Measured) -> dict[str, Difference]:
    """Return the difference of each figure of two systems, the second minus the first."""
    truth, drawn, found = measured.truth, measured.drawn, {}
    for figure in drawn[first.runs[0]][0]:
        # Each system's mean (1,) and its replicates.
        values, spreads = (
            [np.mean([drawn[run][i][figure] for run in x.runs], axis=0) for x in (first, second)]
            for i in (0, 1)
        )
        value = float(values[1][0] - values[0][0])
        found[figure] = bootstrapped(value, spreads[1] - spreads[0], truth.cluster)
    one, other = (
        np.stack([measured.outputs[run].probabilities for run in x.runs]) for x in (first, second)
    )
    if truth.targets is not None:
        found["auroc"] = mean_auroc_difference(truth.targets, one, other, truth.cluster)
    elif truth.positive is not None:
        k = truth.positive
        found["auroc"] = auroc_difference(
            truth.labels == k, one[..., k], other[..., k], truth.cluster
        )
    return found


def decisions_of(first: System, second: System, measured: Measured) -> Decisions | None:
    """Compare the decisions of two systems of one run each; else, and of numbers, ``None``."""
    if len(first.runs) > 1 or len(second.runs) > 1 or measured.truth.values is not None:
        return None
    truth = measured.truth
    given = [measured.outputs[x.runs[0]].decisions for x in (first, second)]
    if truth.targets is None:
        one, other, cluster = *(x == truth.labels for x in given), truth.cluster
    else:  # each known label of each image
        known = truth.targets >= 0
        one, other = ((x == (truth.targets > 0))[known] for x in given)
        cluster = np.broadcast_to(truth.cluster[:, None], known.shape)[known]
    return Decisions(
        only_first=int((one & ~other).sum()),
        only_second=int((other & ~one).sum()),
        mcnemar=mcnemar(one, other),
        by_patient=patient_test(one, other, cluster),
    )
