"""Metrics for Prometheus: counts and times; no names, and nothing of what was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from lucency.classifier import Prediction
from lucency.serve.inference.admission import Admission

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one service, in a registry of their own.

    Attributes:
        requests_in_flight: Requests without a response yet.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def seconds(name: str, what: str) -> Histogram:
            return Histogram(f"lucency_{name}_seconds", what, registry=registry, buckets=_BUCKETS)

        self.decode = seconds("decode", "Decoding an image, waiting for a process included")
        self.queue = seconds("queue", "Wait of a decoded image for the network")
        self.inference = seconds("inference", "A batch in the network and its decisions")
        self.request = seconds("request", "Prediction requests, from their headers to the response")
        self.batch = Histogram(
            "lucency_batch_images", "Images that went through the network at once",
            registry=registry, buckets=(1, 2, 4, 8, 16, 32),
        )  # fmt: skip
        self.responses = Counter(
            "lucency_requests", "Responses by route, method and status",
            ["route", "method", "status"], registry=registry,
        )  # fmt: skip
        self.errors = Counter(
            "lucency_errors", "Requests and images without a prediction, by code",
            ["code"], registry=registry,
        )  # fmt: skip
        self.predictions = Counter(
            "lucency_predictions", "Predictions by outcome: decided, or the reason for abstaining",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.reloads = Counter(
            "lucency_reloads", "Reloads of the classifier by outcome", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.requests_in_flight = 0
        in_flight = Gauge("lucency_requests_in_flight", "Requests in progress", registry=registry)
        in_flight.set_function(lambda: self.requests_in_flight)
        self._info = Gauge(
            "lucency_classifier_info", "1 for the classifier in use",
            ["name", "sha256", "calibration"], registry=registry,
        )  # fmt: skip
        self._responses: dict[tuple[str, str, int], Counter] = {}
        self._outcomes = {
            name: self.predictions.labels(name)
            for name in ("decided", "out_of_distribution", "ambiguous")
        }

    def add_gauges(
        self, admission: Admission, lost: Callable[[], int], waiting: Callable[[], int]
    ) -> None:
        """Add gauges whose values are read when the metrics are requested."""
        for name, what, value in (
            ("images_in_flight", "Images in the service", lambda: admission.images),
            ("bytes_in_flight", "Bytes of bodies in the service", lambda: admission.bytes),
            ("queue_images", "Decoded images waiting for the network", waiting),
            ("decoders_lost", "Decoding processes that were replaced", lost),
        ):
            Gauge(f"lucency_{name}", what, registry=self.registry).set_function(value)

    def set_classifier(self, about: Mapping[str, str]) -> None:
        """Record which classifier is in use."""
        self._info.clear()
        self._info.labels(**about).set(1)

    def count_response(self, route: str, method: str, status: int) -> None:
        """Count a response."""
        key = (route, method, status)
        if (counter := self._responses.get(key)) is None:
            counter = self._responses[key] = self.responses.labels(route, method, str(status))
        counter.inc()

    def count_prediction(self, prediction: Prediction) -> None:
        """Count a prediction by its outcome."""
        reason = prediction.reason
        name = "out_of_distribution" if reason.startswith("out of") else "ambiguous"
        self._outcomes[name if reason else "decided"].inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
