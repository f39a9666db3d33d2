"""The routes of the service as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from lucency.serve.api.open_inference import OpenInference
from lucency.serve.api.rest import Rest
from lucency.serve.api.web import Web
from lucency.serve.http.middleware import Middleware
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service


def create_app(service: Service) -> Middleware:
    """Return the application; its lifespan starts and stops the service."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    routes = [
        *Rest(service).routes(),
        *OpenInference(service).routes(),
        *Web(service).routes(),
    ]
    router = Router(routes, redirect_slashes=False, default=_nothing, lifespan=lifespan)
    # Of an endpoint with several routes the first counts: that without a version.
    return Middleware(router, service, {each.endpoint: each.path for each in reversed(routes)})


async def _nothing(_: Scope, __: Receive, ___: Send) -> None:
    raise RequestError("not_found", "There is nothing at this address.")
