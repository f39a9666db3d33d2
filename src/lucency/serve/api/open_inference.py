"""The Open Inference Protocol, version 2, which KServe, Triton and their clients use."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lucency.classifier import Prediction
from lucency.serve.api import tensors
from lucency.serve.api.rest import as_json
from lucency.serve.http.bodies import request_body
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service
from lucency.serve.inference.versions import Version

P = ParamSpec("P")
T = TypeVar("T")

_MODEL = "/v2/models/{name}"
_VERSION = "/v2/models/{name}/versions/{version}"


class OpenInference:
    """The routes of the protocol. There is one model, with one version at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parser = ThreadPoolExecutor(1, "parser")

    def routes(self) -> list[Route]:
        """Return the routes."""
        found = [
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
        ]
        for base in (_MODEL, _VERSION):
            found += [
                Route(base, self.model),
                Route(f"{base}/ready", self.model_ready),
                Route(f"{base}/infer", self.infer, methods=["POST"]),
            ]
        return found

    async def server(self, _: Request) -> Response:
        """Describe the server."""
        return as_json(
            {
                "name": "lucency",
                "version": importlib.metadata.version("lucency"),
                "extensions": ["binary_tensor_data"],
            }
        )

    async def live(self, _: Request) -> Response:
        """Report that the process runs."""
        return as_json({"live": True})

    async def ready(self, _: Request) -> Response:
        """Report whether requests are welcome."""
        self._service.check_ready()
        return as_json({"ready": True})

    async def model(self, request: Request) -> Response:
        """Describe the inputs and outputs."""
        version = self._named(request)
        spec = version.classifier.spec
        count = len(spec.classes)
        outputs = [("probabilities", "FP32", [-1, count])]
        outputs += [(name, "BYTES", [-1]) for name in ("decision", "reason")]
        outputs += [("ood_score", "FP32", [-1])] if version.classifier.ood_detector else []
        inputs = [
            ("pixels", tensors.DATATYPES[spec.dtype], [-1, *spec.size, spec.channels]),
            ("images", "BYTES", [-1]),
        ]
        return as_json(
            {
                "name": self._service.name,
                "versions": [version.number],
                "platform": "onnx_onnxv1",
                "inputs": _listed(inputs),
                "outputs": _listed(outputs),
                "parameters": {**version.about, "classes": list(spec.classes)},
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Report whether the model is ready."""
        self._named(request)
        self._service.check_ready()
        return as_json({"name": self._service.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Classify the images in the tensors."""
        service = self._service
        self._named(request)
        length = request.headers.get(tensors.HEAD_LENGTH)
        async with request_body(service, request) as body:
            given = await self._parsed(tensors.read_request, body, length)
            with service.using() as version:
                self._check_version(request, version)
                predictions = await self._predictions(version, given)
                return self._response(version, given, predictions)

    async def _parsed(self, parse: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Parse outside the event loop, one request at a time: a parser lets no thread run."""
        call = functools.partial(parse, *given, **named)
        return await asyncio.get_running_loop().run_in_executor(self._parser, call)

    async def _predictions(self, version: Version, given: tensors.Request) -> list[Prediction]:
        service, most = self._service, self._service.settings.max_files
        if len(given.inputs) != 1 or given.inputs[0].name not in ("pixels", "images"):
            raise RequestError("bad_request", 'Expected one input: "pixels" or "images".')
        (tensor,) = given.inputs
        if tensor.name == "images":
            files = await self._parsed(tensors.files_of, tensor, most)
            return await service.predict_all(version, files)
        spec = version.classifier.spec
        try:
            shape = (*spec.size, spec.channels)
            pixels = await self._parsed(tensors.pixels_of, tensor, shape, spec.dtype, most)
        except (ValueError, TypeError) as error:
            raise RequestError("bad_request", "The rows of pixels differ in length.") from error
        return await service.predict_pixels(version, pixels)

    def _response(
        self, version: Version, given: tensors.Request, predictions: Sequence[Prediction]
    ) -> Response:
        found: dict[str, Any] = {
            "probabilities": np.array([each.probabilities for each in predictions], np.float32),
            "decision": [each.decision for each in predictions],
            "reason": [each.reason for each in predictions],
        }
        if version.classifier.ood_detector is not None:
            found["ood_score"] = np.array([each.ood_score for each in predictions], np.float32)
        wanted = given.outputs or dict.fromkeys(found, given.binary)
        if not wanted.keys() <= found.keys():
            raise RequestError("bad_request", f"The outputs are {', '.join(found)}.")
        head: dict[str, Any] = {"model_name": self._service.name, "model_version": version.number}
        head |= {} if given.id is None else {"id": given.id}
        head["parameters"] = version.about
        listed = [(name, found[name], binary) for name, binary in wanted.items()]
        body, headers = tensors.response(head, listed)
        return Response(body, headers=headers)

    def _named(self, request: Request) -> Version:
        if request.path_params["name"] != self._service.name:
            raise RequestError("not_found", "There is no model of that name.")
        self._check_version(request, self._service.version)
        return self._service.version

    def _check_version(self, request: Request, version: Version) -> None:
        if request.path_params.get("version", version.number) != version.number:
            raise RequestError("not_found", "There is no such version (any more).")


def _listed(tensors_of: Sequence[tuple[str, str, list[int]]]) -> list[dict[str, Any]]:
    return [{"name": a, "datatype": b, "shape": c} for a, b, c in tensors_of]
