"""Self-contained pages: one HTML file without scripts, with embedded images.

A package with such pages has a folder with its templates and one style sheet, ``style.css``.

    frame.html    base template of every page
    base.css      colours for light and dark mode, typefaces
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lucency.plots import visible

__all__ = ["draw"]

_HERE = Path(__file__).parent


def draw(folder: Path, template: str, /, **values: Any) -> str:
    """Render a page; all text is escaped, and invisible characters are spelled out.

    Args:
        folder: With the templates and ``style.css``.
        template: Its name in that folder.
        values: Of the template.

    Raises:
        jinja2.UndefinedError: A value of the template is missing.
    """
    sheets = (_HERE / "base.css", folder / "style.css")
    # Style sheets are ours, not data.
    style = Markup("\n").join(Markup(each.read_text("utf-8")) for each in sheets)  # noqa: S704
    return _environment(folder).get_template(template).render(style=style, **values)


@cache
def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader([folder, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Spell out invisible characters in text that is not markup."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
