"""The page and the report, with policies that keep browsers from anything else."""

from __future__ import annotations

import asyncio
import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lucency.io import read_bytes
from lucency.run_folder.files import REPORT
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service
from lucency.serve.web import POLICY, static_files

_MAX_REPORT = 64 * 2**20
_REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
)


class Web:
    """Routes of the page and of the run's report."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._files = static_files()
        self._files["engine.js"] = self._files["server.js"]

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.index),
            Route("/page/{file}", self.asset),
            Route("/report", self.report),
        ]

    async def index(self, request: Request) -> Response:
        """Return the page."""
        return self._file(request, "index.html")

    async def asset(self, request: Request) -> Response:
        """Return one of its files."""
        return self._file(request, request.path_params["file"])

    async def report(self, request: Request) -> Response:
        """Return the report of the current run."""
        path = self._service.version.folder / REPORT
        try:
            body = await asyncio.to_thread(read_bytes, path, _MAX_REPORT)
        except OSError as error:
            raise RequestError("not_found", "The run has no report.") from error
        return _cached(request, body, "text/html; charset=utf-8", _REPORT_POLICY)

    def _file(self, request: Request, name: str) -> Response:
        if name not in self._files:
            raise RequestError("not_found", "There is no such page.")
        return _cached(request, *self._files[name], POLICY)


def _cached(request: Request, body: bytes, kind: str, policy: str) -> Response:
    """Return a file, or 304 if the browser has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "no-cache", "content-security-policy": policy}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=kind)
