"""The Open Inference Protocol, version 2, as KServe, Triton and their clients speak it."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lucency.classifier import Prediction
from lucency.serve.api import tensors
from lucency.serve.api.rest import as_json
from lucency.serve.http.bodies import answering
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service
from lucency.serve.inference.versions import Version

_MODEL = "/v2/models/{name}"
_VERSION = "/v2/models/{name}/versions/{version}"


class OpenInference:
    """The routes of the protocol. There is one model, and of it one version at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return them."""
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
        """Say what the server is."""
        return as_json(
            {
                "name": "lucency",
                "version": importlib.metadata.version("lucency"),
                "extensions": ["binary_tensor_data"],
            }
        )

    async def live(self, _: Request) -> Response:
        """Say that the process runs."""
        return as_json({"live": True})

    async def ready(self, _: Request) -> Response:
        """Say whether requests are welcome."""
        self._check_ready()
        return as_json({"ready": True})

    async def model(self, request: Request) -> Response:
        """Say what goes in and what comes out."""
        version = self._named(request)
        spec = version.classifier.spec
        count = len(spec.classes)
        outputs = [("probabilities", "FP32", [-1, count])]
        outputs += [(name, "BYTES", [-1]) for name in ("decision", "reason")]
        outputs += [("ood_score", "FP32", [-1])] if version.classifier.ood_detector else []
        inputs = [
            ("pixels", "UINT8", [-1, *spec.size, spec.channels]),
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
        """Say whether the model answers."""
        self._named(request)
        self._check_ready()
        return as_json({"name": self._service.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Say what the images in the tensors show."""
        service = self._service
        self._named(request)
        length = request.headers.get(tensors.HEAD_LENGTH)
        async with answering(service, request) as body:
            asked = await asyncio.to_thread(tensors.read_request, body, length)
            with service.using() as version:
                self._check_version(request, version)
                predictions = await self._predictions(version, asked)
                return self._answer(version, asked, predictions)

    async def _predictions(self, version: Version, asked: tensors.Request) -> list[Prediction]:
        service, most = self._service, self._service.settings.most_files
        if len(asked.inputs) != 1 or asked.inputs[0].name not in ("pixels", "images"):
            raise RequestError("bad_request", 'Expected one input: "pixels" or "images".')
        (tensor,) = asked.inputs
        if tensor.name == "images":
            files = tensors.files_of(tensor, most)
            return await service.predictions(version, files)
        spec = version.classifier.spec
        try:
            pixels = tensors.pixels_of(tensor, (*spec.size, spec.channels), most)
        except (ValueError, TypeError) as error:
            raise RequestError(
                "bad_request", "The pixels are not in rows of equal length."
            ) from error
        return await service.pixels(version, pixels)

    def _answer(
        self, version: Version, asked: tensors.Request, predictions: Sequence[Prediction]
    ) -> Response:
        found: dict[str, Any] = {
            "probabilities": np.array([each.probabilities for each in predictions], np.float32),
            "decision": [each.decision for each in predictions],
            "reason": [each.reason for each in predictions],
        }
        if version.classifier.ood_detector is not None:
            found["ood_score"] = np.array([each.ood_score for each in predictions], np.float32)
        wanted = asked.outputs or dict.fromkeys(found, asked.binary)
        if not wanted.keys() <= found.keys():
            raise RequestError("bad_request", f"Known outputs are {', '.join(found)}.")
        head: dict[str, Any] = {"model_name": self._service.name, "model_version": version.number}
        head |= {} if asked.id is None else {"id": asked.id}
        head["parameters"] = version.about
        listed = [(name, found[name], binary) for name, binary in wanted.items()]
        body, headers = tensors.written(head, listed)
        return Response(body, headers=headers)

    def _named(self, request: Request) -> Version:
        if request.path_params["name"] != self._service.name:
            raise RequestError("not_found", "There is no model of that name.")
        self._check_version(request, self._service.version)
        return self._service.version

    def _check_version(self, request: Request, version: Version) -> None:
        if request.path_params.get("version", version.number) != version.number:
            raise RequestError("not_found", "That version does not answer (any more).")

    def _check_ready(self) -> None:
        if not self._service.ready:
            raise RequestError("not_ready", "The service is starting or ending.")


def _listed(tensors_of: Sequence[tuple[str, str, list[int]]]) -> list[dict[str, Any]]:
    return [{"name": a, "datatype": b, "shape": c} for a, b, c in tensors_of]
