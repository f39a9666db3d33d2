"""A run checked against itself: do its files belong together, and do the figures follow from them?

    finding    what a check finds
    files      checks of the files against each other
    values     every figure computed again
    pixels     the images and their probabilities again

The checks are

    checksums       the classifier's files are those that classifier.json names
    split           predictions.csv and split.csv name the same images, classes and patients
    fingerprint     split.csv is the one that the classifier was trained with
    decisions       they follow from the probabilities and the operating point
    figures         evaluation.json follows from predictions.csv
    maps            what classifier.json says of its maps follows from explanation.json
    report          report.html is what the files give
    images        the images have the content that split.csv names
    probabilities   the classifier gives them again from the pixels

The last two need the images. Whoever changes one file is found out; whoever makes all of them
anew, from other images, is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucency.errors import LucencyError
from lucency.progress import SILENT, Progress
from lucency.verify import files
from lucency.verify.files import EXPLANATION
from lucency.verify.finding import Differs
from lucency.verify.pixels import images, probabilities
from lucency.verify.values import figures

__all__ = ["Check", "Verification", "verify"]

FORMAT = 1
# What a file of another shape than ours makes the code that reads it raise.
_UNFIT = (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, OSError)


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: What.
        passed: Whether it is as it should be.
        detail: What was found, with the worst difference where it is not.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """All that was checked of a run, in order."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the checks, and whether all passed."""
        checks = [asdict(check) for check in self.checks]
        return {"format": FORMAT, "passed": self.passed, "checks": checks}


def verify(
    run: Path,
    folder: Path | None = None,
    progress: Progress = SILENT,
    *,
    render: Callable[[Path], str] | None = None,
) -> Verification:
    """Check a run folder against itself, and against the images where they are at hand.

    Args:
        run: The run folder.
        folder: The data folder that the run was made from. Its test images (validation, where
            there is no test part) are read and decoded anew; no cache is believed.
        progress: Hears how far it is.
        render: Draws the report of a run folder; without it the report is not checked.

    Returns:
        Every check. A file that is missing or damaged is a check that failed; nothing is raised
        for it.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("checksums", lambda: files.checksums(run)),
        ("split", lambda: files.split(run)),
        ("fingerprint", lambda: files.fingerprint(run)),
        ("decisions", lambda: files.decisions(run)),
        ("figures", lambda: figures(run)),
    ]
    if (run / EXPLANATION).exists():  # older runs have none
        checks.append(("maps", lambda: files.maps(run)))
    if render is not None:
        checks.append(("report", lambda: files.report(run, render)))
    if folder is not None:
        checks.append(("images", lambda: images(run, folder, progress)))
        checks.append(("probabilities", lambda: probabilities(run, folder, progress)))
    return Verification(tuple(_checked(name, check) for name, check in checks))


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except (Differs, LucencyError) as found:
        return Check(name, False, str(found))
    except _UNFIT as error:
        reason = f"a file is damaged or of another shape ({type(error).__name__}: {error})"
        return Check(name, False, f"It could not be checked: {reason}.")
