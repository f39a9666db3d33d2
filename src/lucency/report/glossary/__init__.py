"""The glossary: one short page per concept of a report.

The pages are the Markdown files beside this one: `# Term: what it is` in the first line, then the
text.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

from lucency.errors import ConfigError, nearest

# In the reading order for a beginner.
_NAMES = (
    "baseline",
    "confusion-matrix",
    "sensitivity-specificity",
    "predictive-values",
    "likelihood-ratios",
    "roc-auroc",
    "average-precision",
    "f1-mcc",
    "grades",
    "mean-absolute-error",
    "bland-altman",
    "brier-log-loss",
    "calibration",
    "operating-point",
    "decision-curve",
    "intervals",
    "conformal-sets",
    "prediction-intervals",
    "risk-coverage",
    "out-of-distribution",
    "leaks",
    "patients-groups",
    "shortcuts",
    "shift",
    "outliers",
    "subgroups",
    "robustness",
    "activation-map",
    "deletion-insertion",
    "weight-randomisation",
    "occlusion",
    "ledger",
    "seeds",
    "comparison",
    "checklists",
    "training-curves",
)


class Page(NamedTuple):
    """One page: its title as plain text, and the rest as HTML that is safe to insert."""

    title: str
    html: str


def names() -> tuple[str, ...]:
    """Return the names of all pages, in reading order."""
    return _NAMES


def source(name: str) -> str:
    """Return a page as Markdown.

    Args:
        name: One of `names`.

    Raises:
        ConfigError: There is no such page.
    """
    if name not in _NAMES:
        raise ConfigError(
            f"The glossary has no page {name!r}. Expected one of: {', '.join(_NAMES)}."
            f"{nearest(name, _NAMES)}"
        )
    return resources.files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")


@cache
def page(name: str) -> Page:
    """Return a page, rendered.

    HTML inside the Markdown is shown as text, never passed on, and so are links to scripts.

    Args:
        name: One of `names`.

    Raises:
        ConfigError: There is no such page.
    """
    from markdown_it import MarkdownIt  # loaded late: most commands show no page

    heading, _, text = source(name).partition("\n")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return Page(heading.removeprefix("# ").strip(), markdown.render(text))
