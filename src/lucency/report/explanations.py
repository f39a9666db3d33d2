"""Links to the short explanations; only pages that something links to join the page."""

from __future__ import annotations

from markupsafe import Markup

from lucency.report import glossary


class Explanations:
    """The explanations that a page has linked to so far, in the order of the first links."""

    def __init__(self) -> None:
        """Begin without any."""
        self._linked: dict[str, None] = {}

    def link(self, name: str, text: str = "") -> Markup:
        """Return a link to the explanation ``name``, which will stand at the end of the page.

        Args:
            name: what the explanation is filed under, such as ``roc-auroc``.
            text: words of the link; without any they are "Explained:" and what its title names.
        """
        self._linked.setdefault(name)
        words = text or f"Explained:\N{NO-BREAK SPACE}{glossary.page(name).title.partition(':')[0]}"
        return Markup('<a class="why" href="#explained-{}">{}</a>').format(name, words)

    def pages(self) -> list[tuple[str, str, Markup]]:
        """Return name, title and text of what was linked to, in reading order."""
        found = [(name, glossary.page(name)) for name in glossary.names() if name in self._linked]
        # Rendered from our own files, with HTML in them shown as text.
        return [(name, page.title, Markup(page.html)) for name, page in found]  # noqa: S704
