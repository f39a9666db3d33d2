"""The pages of Lucency, each drawn from the files in one folder and from nothing else.

    files           read a run folder, recompute nothing
    words           figures as a person reads them
    album           images as data inside the page
    drawings        the drawings of curves and figures
    tables          tables and sentences
    data            counts, and what was left out
    integrity       the leak check and near duplicates
    shortcuts       probes, shift and odd images
    utility         threshold, prevalence, benefit, subgroups
    selective       abstention and prediction sets
    maps            activation maps, and whether they mean something
    record          robustness, looks and checklists
    reproduce       the plan and its facts
    explanations    links to short pages, and these pages
    content         all of it, for the templates

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
# What reading a file of another shape than ours raises.
_UNFIT = (
    *(KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, OverflowError),
    *(csv.Error, UndefinedError),
)


def render(run: Path) -> str:
    """Return the report of a run as one page of HTML.

    The page stands alone: no script, no network, images inside. The same files give the same
    bytes. Parts whose files are missing are replaced by a sentence that says so.

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
        The path of the page; an older one is replaced when the new one is complete.

    Raises:
        RunError: the folder is no finished run, its files are damaged, or it cannot be written.
    """
    page = render(run)
    write_text(run / REPORT, page)
    return run / REPORT


def write_check(folder_out: Path) -> Path:
    """Draw ``check.html``, what is known of the data alone, from ``audit.json`` beside it.

    Images in ``images/`` of the kinds sample, leak, duplicate and odd are shown where they are.

    Args:
        folder_out: holds ``audit.json``; the page is written into it.

    Returns:
        The path of the page; an older one is replaced when the new one is complete.

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
            "needs the files of one run, unchanged; run `lucency evaluate` or train again."
        ) from error
