"""A simple handler for comparison: decode, predict and respond, one request after the other.

``python -m benchmarks.service.naive_service RUN`` is a handler as many write it, on the same web
server, with the default settings of ONNX Runtime. With ``threads`` as second argument, each request
runs in a thread, as FastAPI runs a plain ``def``.
"""

from __future__ import annotations

import json
import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lucency.classifier import Classifier
from lucency.imaging.image import read_image


def main() -> None:
    import onnxruntime

    classifier = Classifier.load(sys.argv[1])
    session = onnxruntime.InferenceSession(classifier.onnx, providers=["CPUExecutionProvider"])
    size, colour = classifier.spec.size, classifier.spec.channels == 3

    def respond(body: bytes) -> Response:
        pixels = read_image(body, size, colour)[None]
        names = ["probabilities", "embedding"]
        probabilities, embedding = session.run(names, {"pixels": pixels})
        ood_score = (
            classifier.ood_detector.score(embedding, pixels) if classifier.ood_detector else [None]
        )
        found = {"probabilities": probabilities[0].tolist(), "ood_score": float(ood_score[0])}
        return Response(json.dumps(found), media_type="application/json")

    async def predict(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(respond, body) if "threads" in sys.argv else respond(body)

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"on http://127.0.0.1:{listener.getsockname()[1]}/", file=sys.stderr, flush=True)
    app = Starlette(routes=[Route("/v1/predict", predict, methods=["POST"])])
    uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False)).run([listener])


if __name__ == "__main__":
    main()
