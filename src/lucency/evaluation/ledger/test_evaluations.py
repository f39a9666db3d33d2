"""The evaluations of one test set, and how much the best of them may owe to chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lucency.run_folder.files import FORMAT

What = Literal["train", "evaluate", "compare"]


@dataclass(frozen=True)
class LedgerEntry:
    """One evaluation of a test set.

    Attributes:
        when: UTC, ISO 8601, to the second.
        test_set: From ``test_set_id``.
        n: Images in it.
        what: The command: "train", "evaluate" or "compare".
        classifier: sha256 of the weights of the evaluated classifier.
        run: Name of its run.
        lucency: Version of the program.
    """

    when: str
    test_set: str
    n: int
    what: str
    classifier: str
    run: str
    lucency: str


@dataclass(frozen=True)
class LedgerEntries:
    """All evaluations of one test set, the newest last.

    Attributes:
        test_set: From ``test_set_id``.
        evaluations: In order of time.
        recorded: Whether the newest is recorded; false where the ledger could not be written.
        damaged: Lines of the ledger that could not be read; they are kept.
    """

    test_set: str
    evaluations: tuple[LedgerEntry, ...]
    recorded: bool = True
    damaged: int = 0

    @property
    def number(self) -> int:
        """How often the test set has been evaluated, including the newest evaluation."""
        return len(self.evaluations)

    @property
    def classifiers(self) -> int:
        """How many different classifiers were evaluated."""
        return len({entry.classifier for entry in self.evaluations})

    @property
    def sentence(self) -> str:
        """The count as a sentence, for the report and the console."""
        if not self.evaluations:
            return "No evaluation of this test set is recorded."
        if self.number == 1:
            text = "This test set has been evaluated once: this is its first recorded evaluation."
        else:
            text = (
                f"This test set has been evaluated {self.number:,} times, with {self._classifiers}"
            )
            if self.classifiers > 1:
                text += ": the more evaluations, the more the best result owes to chance"
            text += "."
        if not self.recorded:
            text += " This evaluation is not recorded, because the ledger could not be written."
        if self.damaged:
            lines = "1 line" if self.damaged == 1 else f"{self.damaged:,} lines"
            text += f" There may be more: {lines} of the ledger cannot be read."
        return text

    @property
    def _classifiers(self) -> str:
        return "1 classifier" if self.classifiers == 1 else f"{self.classifiers:,} classifiers"

    def chance_gain(self, standard_error: float) -> str:
        """Describe how far the best of as many equally good classifiers exceeds its true value.

        Args:
            standard_error: Of the accuracy (a share) on this test set: the width of its 95 %
                interval divided by 3.92.

        Returns:
            One sentence; empty with fewer than two classifiers.
        """
        if self.classifiers < 2 or not standard_error > 0:
            return ""
        gain = 100 * expected_chance_gain(self.classifiers, standard_error)
        return (
            f"Of {self.classifiers:,} equally good classifiers on this test set, the best exceeds "
            f"its true accuracy by chance by up to about {gain:.1f} percentage points."
        )

    def to_json(self) -> dict[str, Any]:
        """Return what ``test_evaluations.json`` holds."""
        shown = ("when", "what", "classifier", "run")
        return {
            "format": FORMAT,
            "test_set": self.test_set,
            "n": self.evaluations[-1].n if self.evaluations else None,
            "evaluations": [
                {name: getattr(entry, name) for name in shown} for entry in self.evaluations
            ],
            "recorded": self.recorded,
            "damaged_lines": self.damaged,
        }


def expected_chance_gain(classifiers: int, standard_error: float) -> float:
    """Return by how much the best of equally good classifiers is expected to exceed its true value.

    The expected maximum of k independent normal errors (David & Nagaraja, Order Statistics,
    section 3.2): 0 for one, 0.56 standard errors for two, 1.87 for twenty. The errors of
    classifiers on the same images are correlated, so this is an upper bound of the gain from
    choosing among k; it is less where some of them are clearly worse.

    Args:
        classifiers: How many were evaluated; at least 1.
        standard_error: Of the metric on this test set.

    Returns:
        In the unit of ``standard_error``, at least 0.
    """
    from scipy import integrate, stats

    def density(x: float) -> float:
        return x * classifiers * float(stats.norm.pdf(x) * stats.norm.cdf(x) ** (classifiers - 1))

    return max(0.0, float(integrate.quad(density, -9.0, 9.0, limit=200)[0])) * standard_error
