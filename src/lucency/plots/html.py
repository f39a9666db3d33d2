"""Pages that stand alone: one file of HTML without scripts, whose images are inside it.

A topic that draws such pages has a folder with its templates and one style sheet, ``style.css``.

    frame.html      what is around every page; templates extend it
    base.css        colours for light and dark, typefaces
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
    """Return a page; all text in it is escaped, and what cannot be seen is spelt out.

    Args:
        folder: Of the topic's templates and ``style.css``.
        template: Its name in that folder.
        values: What the template shows.

    Raises:
        jinja2.UndefinedError: The template asks for a value that is missing.
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
    """Spell out what cannot be seen in any text that is not markup already."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
