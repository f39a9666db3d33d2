"""Our own interface: image files in, JSON out."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lucency.classifier import Classifier, Prediction
from lucency.config import FILE
from lucency.imaging.headers import MOST_PIXELS
from lucency.serve.api.extras import MAX_NEIGHBOURS, Extras
from lucency.serve.api.multipart import files_in, is_form
from lucency.serve.api.openapi import openapi
from lucency.serve.http.bodies import request_body
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.metrics import MEDIA_TYPE
from lucency.serve.inference.service import Service


class Rest:
    """The routes of our own interface."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/predict", self.predict, methods=["POST"]),
            Route("/v1/classifier", self.classifier),
            Route("/v1/reload", self.reload, methods=["POST"]),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
        ]

    async def predict(self, request: Request) -> Response:
        """Classify the images in the body."""
        wanted, service = _extras(request.query_params), self._service
        content_type = request.headers.get("content-type", "")
        async with request_body(service, request) as body:
            form = is_form(content_type)
            files = files_in(body, content_type, service.settings.max_files) if form else [body]
            if form:
                service.admission.check(service.settings.deadline, len(files))
            with service.using() as version:
                found = await service.predict_each(version, files, wanted)
                if not form and isinstance(found[0], RequestError):
                    raise found[0]
                predictions = [self._document(each) for each in found]
                document = {"classifier": version.about, "predictions": predictions}
                if form and (rule := version.classifier.unit) and rule.name != FILE:
                    document[rule.key] = _unit(version.classifier, found)
                return as_json(document)

    async def classifier(self, _: Request) -> Response:
        """Describe the classifier."""
        version, given = self._service.version, self._service.settings
        limits = {
            "bytes": given.max_body_bytes, "pixels": MOST_PIXELS, "files": given.max_files
        }  # fmt: skip
        spec = version.classifier.spec
        basics = {"classes": list(spec.classes), "positive": spec.positive}
        return as_json({**version.about, **basics, **version.document, "limits": limits})

    async def reload(self, request: Request) -> Response:
        """Load the run folder again; the request cannot name another."""
        if not self._service.settings.token and not _is_local(request):
            raise RequestError("not_local", "Only this computer may reload the classifier.")
        version = await self._service.reload()
        return as_json({"classifier": version.about})

    async def live(self, _: Request) -> Response:
        """Report that the process runs."""
        return as_json({"live": True})

    async def ready(self, _: Request) -> Response:
        """Report whether requests are welcome."""
        self._service.check_ready()
        return as_json({"ready": True})

    async def metrics(self, _: Request) -> Response:
        """Return the metrics for Prometheus."""
        return Response(self._service.metrics.text(), media_type=MEDIA_TYPE)

    async def openapi(self, _: Request) -> Response:
        """Describe the interface."""
        return as_json(openapi())

    def _document(self, found: dict[str, Any] | RequestError) -> dict[str, Any]:
        if isinstance(found, RequestError):
            self._service.metrics.errors.labels(found.code).inc()
            return dict(found.to_json())
        return found


def _unit(classifier: Classifier, found: Sequence[dict[str, Any] | RequestError]) -> dict[str, Any]:
    """Return the answer for the unit whose images are in one form."""
    images = [
        Prediction(
            f"{i:06}",
            "",
            tuple(each["probabilities"].values()),
            ood_score=each["ood_score"],
            notes=tuple(each["notes"]),
        )
        for i, each in enumerate(found)
        if not isinstance(each, RequestError)
    ]
    document = classifier.predict_unit("", images).to_json(classifier.classes)
    evidence = document.get("evidence", {})
    for each in (evidence, *evidence.get("labels", {}).values()):
        if "image" in each:
            each["image"] = int(each["image"])  # its place in the form, from 0
    return document


def as_json(document: Any, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body.encode(), headers=headers, media_type="application/json")


def _extras(query: QueryParams) -> Extras:
    """Read from the query what is wanted besides the prediction."""
    if set(query) - {"map", "image", "neighbours"}:
        raise RequestError("bad_request", "The query may hold map, image and neighbours.")
    flags = [query.get(name, "0") for name in ("map", "image")]
    count = query.get("neighbours", "0")
    if any(flag not in ("0", "1") for flag in flags):
        raise RequestError("bad_request", "map and image must be 0 or 1.")
    if not (count.isascii() and count.isdigit() and len(count) < 4):
        raise RequestError("bad_request", "neighbours must be a whole number.")
    if int(count) > MAX_NEIGHBOURS:
        raise RequestError("bad_request", f"neighbours must be at most {MAX_NEIGHBOURS}.")
    return Extras(flags[0] == "1", flags[1] == "1", int(count))


def _is_local(request: Request) -> bool:
    """Return whether the client is on this computer."""
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
