"""The report of a run and the page of a data check, each drawn from the files of one folder.

    files          read a run folder, recompute nothing
    wording        figures and names as text
    images         images as data inside the page
    trust          the first screen: task, checks, warnings
    performance    headline figures, all figures, mistakes
    folds          cross-validation
    labels         several labels: figures of each, curves, wrong ones
    values         numbers: errors, agreement, intervals
    units          one answer for each unit: its figures, and what some answers rest on
    drawings       drawings of curves and figures
    utility        operating point, predictive values, net benefit, subgroups
    uncertainty    calibration, abstention, prediction sets
    maps           activation maps and the tests of them
    shortcuts      probes, shift, outliers
    data           counts, exclusions, leaks, near duplicates
    record         robustness, training, test-set evaluations, checklists, plan
    content        everything, for the templates
    glossary       one short page per concept
    model_card     the model card and the reporting checklists

The templates and the style sheet lie in ``pages/``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from lucency.errors import RunError
from lucency.io import write_text
from lucency.plots.html import draw
from lucency.report import content
from lucency.report.files import read_check, read_run
from lucency.run_folder.files import CHECK_PAGE, REPORT

__all__ = ["render", "write_check", "write_report"]

_PAGES = Path(__file__).parent / "pages"
# Raised by files of another structure than ours.
_UNFIT = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, OverflowError),
    *(csv.Error, UndefinedError),
)


def render(run: Path) -> str:
    """Return the report of a run as one page of HTML.

    The page is self-contained: no script, no network, images inside. The same files give the same
    bytes. A missing file is replaced by a sentence that names it.

    Args:
        run: the folder; ``plan.json`` and ``evaluation.json`` must be there.

    Raises:
        RunError: the folder is no finished run, or its files are damaged.
    """
    return _drawn(run, REPORT.name, lambda: content.of_run(read_run(run)))


def write_report(run: Path) -> Path:
    """Write ``report.html``, as ``render`` returns it, into a run folder.

    Args:
        run: the folder; ``plan.json`` and ``evaluation.json`` must be there.

    Returns:
        The path of the page, which is replaced atomically.

    Raises:
        RunError: the folder is no finished run, its files are damaged, or it cannot be written.
    """
    page = render(run)
    write_text(run / REPORT, page)
    return run / REPORT


def write_check(folder_out: Path) -> Path:
    """Write ``check.html``, the page of a data check, from ``audit.json`` in the same folder.

    Shows the images in ``images/`` of the kinds sample, leak, duplicate and outlier.

    Args:
        folder_out: holds ``audit.json``; the page is written into it.

    Returns:
        The path of the page, which is replaced atomically.

    Raises:
        RunError: ``audit.json`` is missing or damaged, or the page cannot be written.
    """
    page = _drawn(folder_out, CHECK_PAGE.name, lambda: content.of_check(read_check(folder_out)))
    write_text(folder_out / CHECK_PAGE, page)
    return folder_out / CHECK_PAGE


def _drawn(folder: Path, template: str, read: Callable[[], dict[str, Any]]) -> str:
    try:
        return draw(_PAGES, template, **read())
    except _UNFIT as error:
        raise RunError(
            f"The files in {folder} do not fit together ({type(error).__name__}: {error}). A page "
            "needs the unchanged files of one run; run `lucency evaluate` or train again."
        ) from error
