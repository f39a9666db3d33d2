"""What a comparison holds, and the JSON of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lucency.comparison.paired import Difference, plain
from lucency.metrics import Estimate

FORMAT = 1


@dataclass(frozen=True)
class Repeated:
    """A figure of a system: mean over its seeds, interval over patients, and spread over seeds.

    Attributes:
        estimate: The mean, with the 95 % interval that other patients may give.
        per_run: The figure of each run.
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
    """Runs that differ in the seed alone, as one.

    Attributes:
        name: The run's name, or the first run's with the number of seeds.
        runs: Names of its runs.
        seeds: Their seeds; None where unknown.
        classifiers: sha256 of their weights.
        metrics: Figures by name.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int | None, ...]
    classifiers: tuple[str, ...]
    metrics: Mapping[str, Repeated]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for strict JSON."""
        figures = {name: figure.to_json() for name, figure in self.metrics.items()}
        return {**vars(self), "metrics": figures}


@dataclass(frozen=True)
class Decisions:
    """Images on which only one of two classifiers is right; needs one run on each side.

    Attributes:
        only_first: Images that the first alone decided right.
        only_second: Images that the second alone decided right.
        mcnemar: p-value of McNemar's exact test, which takes images as independent.
        by_patient: p-value of swapping answers per patient, exact. It is the one that counts where
            patients have several images, and equals ``mcnemar`` where none has.
    """

    only_first: int
    only_second: int
    mcnemar: float
    by_patient: float


@dataclass(frozen=True)
class Pair:
    """One system against another: the differences are second minus first.

    Attributes:
        first: Name of the system that is compared with.
        second: Name of the system that is compared.
        differences: By figure. A Brier score or log loss that is higher is worse.
        decisions: Who is right where; None where a system has several seeds.
        figure: The figure that decides.
        p: Its p-value, corrected after Holm where there are several comparisons.
        verdict: Sentences.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]
    decisions: Decisions | None
    figure: str
    p: float
    verdict: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for strict JSON."""
        return {
            **vars(self),
            "differences": {name: each.to_json() for name, each in self.differences.items()},
            "decisions": self.decisions and vars(self.decisions),
            "p": plain(self.p),
        }


@dataclass(frozen=True)
class Comparison:
    """Runs compared on one test set.

    Attributes:
        split: "test" or "val".
        test_set: What the ledger knows the images by; None where a run has no split.csv.
        n: Images.
        groups: Patients; None when unknown.
        classes: Class names in order.
        positive: The class that is looked for, or None.
        systems: In the order in which their first runs were given.
        pairs: Each system against the first; none where all runs are repeats of one system.
        verdict: All sentences.
        warnings: What speaks against the comparison.
    """

    split: str
    test_set: str | None
    n: int
    groups: int | None
    classes: tuple[str, ...]
    positive: str | None
    systems: tuple[System, ...]
    pairs: tuple[Pair, ...]
    verdict: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything for strict JSON."""
        systems = [system.to_json() for system in self.systems]
        pairs = [pair.to_json() for pair in self.pairs]
        return {"format": FORMAT, **vars(self), "systems": systems, "pairs": pairs}
