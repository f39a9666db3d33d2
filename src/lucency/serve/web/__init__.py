"""The page on which a person gives images to a classifier and reads what it says of them.

    about       what the page says of the classifier: classes, figures, limits
    meaning     what a probability means, in a sentence

Its files lie in ``static/`` and are the same whoever answers: ``page.js`` asks an *engine*, which
is ``server.js`` where a service answers over HTTP, and ``local.js`` with the modules in ``local/``
where the page computes by itself. Whoever delivers the page puts one of them beside it as
``engine.js``.
"""

from __future__ import annotations

from pathlib import Path

from lucency.serve.web.about import about

__all__ = ["POLICY", "STATIC", "TYPES", "about", "static_files"]

STATIC = Path(__file__).parent / "static"
# What the page may do, to be sent as Content-Security-Policy: only files of its own place.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def static_files() -> dict[str, tuple[bytes, str]]:
    """Return the files of the page by name, each with its media type, for a service.

    ``index.html`` belongs at the root; it asks for all others under ``page/``, where ``server.js``
    is to be called ``engine.js``.
    """
    paths = sorted(STATIC.iterdir())
    paths = [path for path in paths if path.suffix in TYPES and path.name != "local.js"]
    return {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in paths}
