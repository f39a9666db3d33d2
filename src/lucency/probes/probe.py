"""All probes of a data set together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from lucency.dataset import Dataset
from lucency.probes.findings import Finding, findings
from lucency.probes.odd import Odd, odd
from lucency.probes.sample import drawn
from lucency.probes.shift import Shift, shift
from lucency.probes.shortcuts import KINDS, Shortcut, name_shortcut, shortcut
from lucency.progress import SILENT, Progress


@dataclass(frozen=True)
class Probes:
    """What the probes found.

    Attributes:
        shortcuts: How well the classes are told apart without the content, the file name last.
        shift: How the test part differs; None without one.
        odd: Images that are unlike the rest.
        findings: What it comes to, alarms first.
    """

    shortcuts: tuple[Shortcut, ...]
    shift: Shift | None
    odd: Odd
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return "probes", "shift", "odd" and "findings" of ``audit.json``."""
        return {
            "probes": [each.to_json() for each in self.shortcuts],
            "shift": self.shift and self.shift.to_json(),
            "odd": self.odd.to_json(),
            "findings": [each._asdict() for each in self.findings],
        }


def probe(data: Dataset, *, seed: int = 0, workers: int = 0, progress: Progress = SILENT) -> Probes:
    """Look for shortcuts, for shift between the parts, and for odd images.

    No label of the test part is used to choose anything: probes learn on train and validation, and
    what they score on test is told beside.

    Args:
        data: A decoded and divided data set.
        seed: Of samples, folds and bootstraps.
        workers: Threads that read files; 0 for one per processor.
        progress: Hears how far it is.
    """
    import sklearn.ensemble  # noqa: F401 - limits hold only for libraries that are loaded
    from threadpoolctl import threadpool_limits

    threads = workers or os.cpu_count() or 1
    # So little work is only slowed down by sharing it, above all beside other processes.
    with (
        threadpool_limits(1),
        progress.task("Probing for shortcuts", len(KINDS) + 4, "probes") as task,
    ):
        learn = drawn([data.train, data.val], data.root, seed, threads)
        test = drawn([data.test], data.root, seed, threads) if data.test else None
        task.advance()
        found = []
        for kind in KINDS:
            found.append(shortcut(kind, learn, test, seed))
            task.advance()
        name = name_shortcut(learn, test, data.classes, seed)
        task.advance()
        moved = shift(data, learn, test, seed) if test else None
        task.advance()
        strange = odd(data, threads)
        task.advance()
    return Probes((*found, name), moved, strange, findings(found, name, moved, strange))
