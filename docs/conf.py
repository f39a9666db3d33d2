"""How the pages are built: ``make docs`` (Sphinx, MyST, Furo); every warning is an error."""

from __future__ import annotations

from importlib.metadata import version as version_of

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

project = author = "Lucency"
copyright = "the authors of Lucency, Apache License 2.0"  # noqa: A001 - Sphinx's name
version = release = version_of("lucency")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["make_*.py"]
lexers["csv"] = TextLexer()
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# Nothing is loaded from elsewhere when a page is read.
html_theme = "furo"
html_title = "Lucency"
html_copy_source = False
html_show_sphinx = False
