"""The result of a comparison, and its JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lucency.comparison.paired import Difference, plain
from lucency.metrics import Estimate
from lucency.run_folder.files import FORMAT


@dataclass(frozen=True)
class Repeated:
    """A metric of a system: mean over seeds, interval over patients, variation over seeds.

    Attributes:
        estimate: The mean with its 95 % interval over patients.
        per_run: The value of each run.
    """

    estimate: Estimate
    per_run: tuple[float, ...]

    @property
    def sd(self) -> float:
        """Standard deviation over the seeds; nan for one."""
        return float(np.std(self.per_run, ddof=1)) if len(self.per_run) > 1 else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return the estimate, and mean, sd, min and max over the seeds."""
        ends = {"min": min(self.per_run), "max": max(self.per_run), "sd": self.sd}
        return self.estimate.to_json() | {name: plain(x) for name, x in ends.items()}


@dataclass(frozen=True)
class System:
    """Runs that differ only in the seed.

    Attributes:
        name: The run's name, or the first run's with the number of seeds.
        runs: Names of its runs.
        seeds: Their seeds; None where unknown.
        classifiers: sha256 of their weights.
        metrics: By name; of several labels their means.
        labels: Of several labels, the metrics of each by name; else ``None``.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int | None, ...]
    classifiers: tuple[str, ...]
    metrics: Mapping[str, Repeated]
    labels: Mapping[str, Mapping[str, Repeated]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for strict JSON."""
        labels = self.labels and {name: _document(of) for name, of in self.labels.items()}
        return {**vars(self), "metrics": _document(self.metrics), "labels": labels}


def _document(figures: Mapping[str, Repeated] | Mapping[str, Difference]) -> dict[str, Any]:
    return {name: figure.to_json() for name, figure in figures.items()}


@dataclass(frozen=True)
class Decisions:
    """Images on which only one of two classifiers is correct; for one run on each side.

    Of several labels, each known label of each image counts as one.

    Attributes:
        only_first: Images on which only the first is correct.
        only_second: Images on which only the second is correct.
        mcnemar: p-value of McNemar's exact test, which assumes independent images.
        by_patient: Exact p-value of swapping predictions per patient. It decides where patients
            have several images; otherwise it equals ``mcnemar``.
    """

    only_first: int
    only_second: int
    mcnemar: float
    by_patient: float


@dataclass(frozen=True)
class LabelPair:
    """One of several labels of a system against that of another: second minus first.

    Attributes:
        n: Images where the label is known.
        present: How many of these have it.
        differences: By metric. A higher Brier score or log loss is worse.
        decisions: Discordant decisions; None where a system has several seeds.
        figure: The metric of ``p``.
        p: Its p-value, corrected for the number of labels and comparisons (Holm).
    """

    n: int
    present: int
    differences: Mapping[str, Difference]
    decisions: Decisions | None
    figure: str
    p: float

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for strict JSON."""
        return {
            **vars(self),
            "differences": _document(self.differences),
            "decisions": self.decisions and vars(self.decisions),
            "p": plain(self.p),
        }


@dataclass(frozen=True)
class Pair:
    """One system against another: the differences are second minus first.

    Attributes:
        first: Name of the reference.
        second: Name of the compared system.
        differences: By metric. A higher Brier score, log loss or error is worse.
        decisions: Discordant decisions; None where a system has several seeds.
        figure: The metric that decides.
        p: Its p-value, corrected for the number of comparisons (Holm).
        conclusions: Sentences.
        labels: Of several labels, each by itself; else ``None``.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]
    decisions: Decisions | None
    figure: str
    p: float
    conclusions: tuple[str, ...]
    labels: Mapping[str, LabelPair] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for strict JSON."""
        of = self.labels or {}
        labels = {name: each.to_json() for name, each in of.items()} or None
        return {
            **vars(self),
            "differences": _document(self.differences),
            "decisions": self.decisions and vars(self.decisions),
            "p": plain(self.p),
            "labels": labels,
        }


@dataclass(frozen=True)
class Comparison:
    """The comparison of runs on one test set.

    Attributes:
        split: "test", "val" or "out_of_fold".
        test_set: Identity of the test set in the ledger; None where a run has no split.csv.
        unit: What is compared: "image", or "patient" or another unit where all runs have answers
            for it.
        n: How many of these.
        images: Images of the test set; as many as ``n`` where images are compared.
        groups: Patients; None when unknown.
        classes: Class names in order, or those of the labels; empty where numbers are predicted.
        positive: The positive class, or None.
        systems: In the order of their first runs.
        pairs: Each system against the first; none where all runs are repeats of one system.
        conclusions: All sentences.
        warnings: Limits of the comparison.
    """

    split: str
    test_set: str | None
    unit: str
    n: int
    images: int
    groups: int | None
    classes: tuple[str, ...]
    positive: str | None
    systems: tuple[System, ...]
    pairs: tuple[Pair, ...]
    conclusions: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything for strict JSON."""
        systems = [system.to_json() for system in self.systems]
        pairs = [pair.to_json() for pair in self.pairs]
        return {"format": FORMAT, **vars(self), "systems": systems, "pairs": pairs}
