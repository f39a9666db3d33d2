"""The page on which a person gives images to a classifier and reads its predictions.

    about       describe the classifier to the page: classes, metrics, limits
    meaning     the meaning of a probability, in a sentence

Its files lie in ``static/``. ``page.js`` calls an *engine*, which is ``server.js`` if a service
predicts over HTTP, and ``local.js`` with the modules in ``local/`` if the page predicts in the
browser. Whatever serves the page offers one of them as ``engine.js``.
"""

from __future__ import annotations

from pathlib import Path

from lucency.serve.web.about import about

__all__ = ["POLICY", "STATIC", "TYPES", "about", "static_files"]

STATIC = Path(__file__).parent / "static"
# The Content-Security-Policy of the page: only files of its own origin.
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
    """Return the files of the page by name, each with its media type.

    ``index.html`` belongs at the root; it loads all others from ``page/``, where the engine has to
    be named ``engine.js``.
    """
    paths = sorted(STATIC.iterdir())
    paths = [path for path in paths if path.suffix in TYPES and path.name != "local.js"]
    return {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in paths}
