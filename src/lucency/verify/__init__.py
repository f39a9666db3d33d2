"""Verify a run folder: its files match each other, and its figures follow from them.

    mismatch    the error of a failed check
    files       checks of the files against each other
    values      check of every figure by computing it again
    pixels      checks of the images and of the probabilities

The checks are

    files            every file has the checksum of checksums.json
    checksums        the files of the classifier have the checksums of classifier.json
    split            predictions.csv and split.csv list the same images, classes and patients, and
                     no patient is in two folds
    fingerprint      split.csv is the one that the classifier was trained with
    decisions        decisions follow from the probabilities and the operating point
    figures          evaluation.json follows from predictions.csv
    maps             the summary of the maps in classifier.json follows from explanation.json
    report           report.html is drawn from the files
    images           the images have the content of split.csv
    probabilities    the classifier reproduces the probabilities from the pixels

The last two need the images. A change of a single value in any file is detected; a run that was
made entirely from other images is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucency.errors import LucencyError
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import EXPLANATION, FORMAT
from lucency.verify import files
from lucency.verify.mismatch import Mismatch
from lucency.verify.pixels import images, probabilities
from lucency.verify.values import figures

__all__ = ["Check", "Verification", "verify"]

# Errors from reading a file with unexpected content.
_UNFIT = (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, OSError)


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: Of the check.
        passed: Whether it passed.
        detail: The result, with the largest difference where it failed.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """The checks of a run, in order."""

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
    """Check a run folder, and with a data folder also its images and probabilities.

    Args:
        run: The run folder.
        folder: The data folder of the run. Its test images (validation images without a test
            split) are read and decoded again, without a cache.
        progress: Reports the progress.
        render: Draws the report of a run folder; without it, the report is not checked.

    Returns:
        Every check. A missing or damaged file is a failed check; no error is raised.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("files", lambda: files.unchanged(run)),
        ("checksums", lambda: files.checksums(run)),
        ("split", lambda: files.split(run)),
        ("fingerprint", lambda: files.fingerprint(run)),
        ("decisions", lambda: files.decisions(run)),
        ("figures", lambda: figures(run)),
    ]
    if (run / EXPLANATION).exists():  # optional
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
    except (Mismatch, LucencyError) as error:
        return Check(name, False, str(error))
    except _UNFIT as error:
        reason = f"a file is damaged or has unexpected content ({type(error).__name__}: {error})"
        return Check(name, False, f"Cannot check: {reason}.")
