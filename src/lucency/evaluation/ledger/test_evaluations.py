"""The looks at one test set, and what they mean for its best figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FORMAT = 1
What = Literal["train", "evaluate", "compare"]


@dataclass(frozen=True)
class LedgerEntry:
    """One evaluation of a test set.

    Attributes:
        when: UTC, ISO 8601, to the second.
        test_set: What was looked at, as ``test_set_id`` gives it.
        n: Images in it.
        what: The command: "train", "evaluate" or "compare".
        classifier: sha256 of the weights of the classifier that was measured.
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
    """All looks at one test set, the newest last.

    Attributes:
        test_set: What was looked at.
        looks: In the order in which they were made.
        recorded: Whether the newest is on record; false where the ledger could not be written.
        damaged: Lines of the ledger that could not be read. They stay in the file.
    """

    test_set: str
    evaluations: tuple[LedgerEntry, ...]
    recorded: bool = True
    damaged: int = 0

    @property
    def number(self) -> int:
        """How often the test set has been looked at, the newest look included."""
        return len(self.evaluations)

    @property
    def classifiers(self) -> int:
        """By how many different classifiers."""
        return len({look.classifier for look in self.evaluations})

    @property
    def sentence(self) -> str:
        """The same in words, for the report and the screen."""
        if not self.evaluations:
            return "No look at this test set is on record."
        if self.number == 1:
            text = "This test set has been looked at once: this is the first look on record."
        else:
            text = f"This test set has been looked at {self.number:,} times, by {self._who}"
            if self.classifiers > 1:
                text += ": the more often, the likelier that the best figure is luck"
            text += "."
        if not self.recorded:
            text += " This look is not on record, because the ledger could not be written."
        if self.damaged:
            lines = "1 line" if self.damaged == 1 else f"{self.damaged:,} lines"
            text += f" There may be more: {lines} of the ledger cannot be read."
        return text

    @property
    def _who(self) -> str:
        return "1 classifier" if self.classifiers == 1 else f"{self.classifiers:,} classifiers"

    def luck(self, standard_error: float) -> str:
        """Say how much better than it is the best of as many equally good classifiers would look.

        Args:
            standard_error: Of the accuracy (a share) on this test set; for an interval of 95 %, its
                width divided by 3.92.

        Returns:
            One sentence; empty with fewer than two classifiers, where nothing was chosen.
        """
        if self.classifiers < 2 or not standard_error > 0:
            return ""
        gain = 100 * expected_luck(self.classifiers, standard_error)
        return (
            f"If {self.classifiers:,} equally good classifiers are tested here, the best of them "
            f"scores by luck up to about {gain:.1f} percentage points more than it is worth."
        )

    def to_json(self) -> dict[str, Any]:
        """Return what ``test_evaluations.json`` holds."""
        shown = ("when", "what", "classifier", "run")
        return {
            "format": FORMAT,
            "test_set": self.test_set,
            "n": self.evaluations[-1].n if self.evaluations else None,
            "evaluations": [
                {name: getattr(look, name) for name in shown} for look in self.evaluations
            ],
            "on_record": self.recorded,
            "damaged_lines": self.damaged,
        }


def expected_luck(classifiers: int, standard_error: float) -> float:
    """Return by how much the best of equally good classifiers is expected to exceed its worth.

    The expected maximum of k independent normal errors (David & Nagaraja, Order Statistics,
    section 3.2): 0 for one, 0.56 standard errors for two, 1.87 for twenty. Classifiers that are
    tested on the same images err together, so it is the most that choosing among k can bring; it
    is less where some of them are plainly worse.

    Args:
        classifiers: How many were tested; at least 1.
        standard_error: Of the figure on this test set.

    Returns:
        In the unit of ``standard_error``, at least 0.
    """
    from scipy import integrate, stats

    def density(x: float) -> float:
        return x * classifiers * float(stats.norm.pdf(x) * stats.norm.cdf(x) ** (classifiers - 1))

    return max(0.0, float(integrate.quad(density, -9.0, 9.0, limit=200)[0])) * standard_error
