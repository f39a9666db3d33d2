"""All probes of a data set together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from lucency.dataset import Dataset
from lucency.probes.findings import Finding, make_findings, sample_findings
from lucency.probes.outliers import Outliers, find_outliers
from lucency.probes.sample import draw_sample, probed
from lucency.probes.shift import Shift, shift
from lucency.probes.shortcuts import SHORTCUT_PROBES, Shortcut, name_shortcut, shortcut
from lucency.progress import SILENT, Progress


@dataclass(frozen=True)
class Probes:
    """The results of the probes.

    Attributes:
        shortcuts: How well each probe separates the classes without the content, file names last.
        shift: How test differs from train; ``None`` without a test split.
        outliers: Images that differ from the rest.
        findings: The results in sentences, alarms first.
    """

    shortcuts: tuple[Shortcut, ...]
    shift: Shift | None
    outliers: Outliers
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return "probes", "shift", "outliers" and "findings" of ``audit.json``."""
        return {
            "probes": [each.to_json() for each in self.shortcuts],
            "shift": self.shift and self.shift.to_json(),
            "outliers": self.outliers.to_json(),
            "findings": [each._asdict() for each in self.findings],
        }


def probe(data: Dataset, *, seed: int = 0, workers: int = 0, progress: Progress = SILENT) -> Probes:
    """Search for shortcuts, for shift between train and test, and for outliers.

    Of splits of more than 200,000 images, a sample of the patients is used, and a finding says so.
    Test labels are never used to choose anything: probes train on train and validation, and their
    score on test is only reported.

    Args:
        data: A decoded and split data set.
        seed: Of samples, folds and bootstraps.
        workers: Threads that read files; 0 for one per processor.
        progress: Called after every probe.
    """
    import sklearn.ensemble  # noqa: F401 - threadpool_limits affects imported libraries only
    from threadpoolctl import threadpool_limits

    threads = workers or os.cpu_count() or 1
    whole, data = data, probed(data, seed)
    # Several threads would only slow down so little work, above all next to other processes.
    with (
        threadpool_limits(1),
        progress.task("Probing for shortcuts", len(SHORTCUT_PROBES) + 4, "probes") as task,
    ):
        train = draw_sample([data.train, data.val], data.root, seed, threads)
        test = draw_sample([data.test], data.root, seed, threads) if data.test else None
        task.advance()
        shortcuts = []
        for each in SHORTCUT_PROBES:
            shortcuts.append(shortcut(each, train, test, seed))
            task.advance()
        name = name_shortcut(train, test, data.classes, seed)
        task.advance()
        shifted = shift(data, train, test, seed) if test else None
        task.advance()
        outliers = find_outliers(data, threads)
        task.advance()
    findings = (
        *make_findings(shortcuts, name, shifted, outliers),
        *sample_findings(_count(data), _count(whole)),
    )
    return Probes((*shortcuts, name), shifted, outliers, findings)


def _count(data: Dataset) -> int:
    return sum(len(split) for split in (data.train, data.val, data.test) if split)
