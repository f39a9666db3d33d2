"""The routes of the service as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from lucency.serve.api.open_inference import OpenInference
from lucency.serve.api.rest import Rest
from lucency.serve.api.web import Web
from lucency.serve.http.middleware import Middleware
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service


def create_app(
    service: Service,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None,
) -> Middleware:
    """Return the application.

    Args:
        service: What computes the predictions.
        lifespan: What to run around all requests.
    """
    routes = [
        *Rest(service).routes(),
        *OpenInference(service).routes(),
        *Web(service).routes(),
    ]
    router = Router(routes, redirect_slashes=False, default=_not_found, lifespan=lifespan)
    # Of an endpoint with several routes the first counts: that without a version.
    return Middleware(router, service, {each.endpoint: each.path for each in reversed(routes)})


async def _not_found(_: Scope, __: Receive, ___: Send) -> None:
    raise RequestError("not_found", "There is nothing at this address.")
