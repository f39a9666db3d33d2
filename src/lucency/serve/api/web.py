"""The page and the report, as files that a browser may show and do nothing else with."""

from __future__ import annotations

import asyncio
import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lucency.io import read_bytes
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service
from lucency.serve.web import POLICY, static_files

_MOST_REPORT = 64 * 2**20
_REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
)


class Web:
    """Routes of the page and of the report of the run."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._files, self._policy = _page()

    def routes(self) -> list[Route]:
        """Return them."""
        return [
            Route("/", self.index),
            Route("/page/{file}", self.asset),
            Route("/report", self.report),
        ]

    async def index(self, request: Request) -> Response:
        """Return the page."""
        return self._sent(request, "index.html")

    async def asset(self, request: Request) -> Response:
        """Return one of its files."""
        return self._sent(request, request.path_params["file"])

    async def report(self, request: Request) -> Response:
        """Return the report of the run that answers now."""
        path = self._service.version.folder / "report.html"
        try:
            body = await asyncio.to_thread(read_bytes, path, _MOST_REPORT)
        except OSError as error:
            raise RequestError("not_found", "The run has no report.") from error
        return _tagged(request, body, "text/html; charset=utf-8", _REPORT_POLICY)

    def _sent(self, request: Request, name: str) -> Response:
        if name not in self._files:
            raise RequestError("not_found", "There is no such page.")
        return _tagged(request, *self._files[name], self._policy)


def _page() -> tuple[dict[str, tuple[bytes, str]], str]:
    """Return the files of the page by name with their types, and its policy."""
    files = static_files()
    files["engine.js"] = files["server.js"]
    return files, POLICY


def _tagged(request: Request, body: bytes, kind: str, policy: str) -> Response:
    """Return a file, or that the browser has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "no-cache", "content-security-policy": policy}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=kind)
