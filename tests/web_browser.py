"""A browser, and folders served by a plain web server."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lucency
from lucency.imaging.headers import FORMATS

STATIC = Path(lucency.__file__).parent / "serve" / "web" / "static"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium, or skip; $LUCENCY_CHROMIUM names another than that found."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = os.environ.get("LUCENCY_CHROMIUM") or next(
        filter(None, map(shutil.which, _NAMES)), None
    )
    if found is None:
        pytest.skip("no Chromium: install it, or name one in $LUCENCY_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found)
        yield started
        started.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder as ``python -m http.server`` does; yields its address without the slash."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def modules(started: Any) -> Iterator[Any]:
    """Yield a page from which the modules of the page can be imported as ``/local/NAME.js``."""
    with served(STATIC) as address:
        page = started.new_page()
        page.goto(f"{address}/local/errors.js")
        yield page
        page.close()


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unpacked(text: str) -> bytes:
    return base64.b64decode(text)


def without_others(reason: str) -> str:
    """Return a reason as the page without a server gives it, which reads PNG and JPEG only."""
    return reason.replace(FORMATS, "PNG or JPEG")
