"""What Prometheus reads: counts and times; no names, and nothing of what was sent."""

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

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TIMES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one service, in a registry of their own.

    Attributes:
        now: Requests that are being answered.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def times(name: str, what: str) -> Histogram:
            return Histogram(f"lucency_{name}_seconds", what, registry=registry, buckets=_TIMES)

        self.decode = times("decode", "From bytes to pixels, waiting for a process included")
        self.queue = times("queue", "Decoded images waiting for the network")
        self.infer = times("infer", "A batch in the network and the check")
        self.total = times("request", "Prediction requests, from their headers to their answer")
        self.batch = Histogram(
            "lucency_batch_images", "Images that went through the network at once",
            registry=registry, buckets=(1, 2, 4, 8, 16, 32),
        )  # fmt: skip
        self.requests = Counter(
            "lucency_requests", "Answers by route, method and status",
            ["route", "method", "status"], registry=registry,
        )  # fmt: skip
        self.error = Counter(
            "lucency_refused", "Requests and images without prediction, by code",
            ["code"], registry=registry,
        )  # fmt: skip
        self.predictions = Counter(
            "lucency_predictions", "Predictions by outcome: decided, or why it abstained",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.reloads = Counter(
            "lucency_reloads", "Times the classifier was loaded again", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.now = 0
        in_flight = Gauge("lucency_requests_in_flight", "Requests now", registry=registry)
        in_flight.set_function(lambda: self.now)
        self._info = Gauge(
            "lucency_classifier_info", "1 for the classifier that answers",
            ["name", "sha256", "calibration"], registry=registry,
        )  # fmt: skip
        self._answers: dict[tuple[str, str, int], Counter] = {}
        self._outcomes = {
            name: self.predictions.labels(name)
            for name in ("decided", "out_of_distribution", "ambiguous")
        }

    def watch(
        self, admission: Admission, lost: Callable[[], int], waiting: Callable[[], int]
    ) -> None:
        """Have what changes all the time looked at when somebody asks for it."""
        for name, what, value in (
            ("images_in_flight", "Images in the service", lambda: admission.images),
            ("bytes_in_flight", "Bytes of bodies in the service", lambda: admission.bytes),
            ("queue_images", "Decoded images waiting for the network", waiting),
            ("decoders_lost", "Decoding processes that were replaced", lost),
        ):
            Gauge(f"lucency_{name}", what, registry=self.registry).set_function(value)

    def serves(self, about: Mapping[str, str]) -> None:
        """Note which classifier answers."""
        self._info.clear()
        self._info.labels(**about).set(1)

    def answer(self, route: str, method: str, status: int) -> None:
        """Count an answer."""
        key = (route, method, status)
        if (counter := self._answers.get(key)) is None:
            counter = self._answers[key] = self.requests.labels(route, method, str(status))
        counter.inc()

    def answered(self, prediction: Prediction) -> None:
        """Count a prediction by its outcome."""
        reason = prediction.reason
        name = "out_of_distribution" if reason.startswith("out of") else "ambiguous"
        self._outcomes[name if reason else "decided"].inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
