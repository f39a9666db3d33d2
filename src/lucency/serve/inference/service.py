"""The service without HTTP: bytes or pixels in, predictions out; the classifier can be replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Prediction, neighbours_json
from lucency.classifier.onnx.session import PROCESSORS
from lucency.errors import LucencyError
from lucency.imaging.decoder.pool import Pixels
from lucency.serve.api import extras
from lucency.serve.api.extras import Extras
from lucency.serve.http.settings import Settings
from lucency.serve.inference.admission import Admission
from lucency.serve.inference.batching import Batcher
from lucency.serve.inference.decoding import Decoders
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.metrics import Metrics
from lucency.serve.inference.versions import Version, load_version


@dataclass(frozen=True)
class _Key:
    """What the images of one batch share: the classifier, and whether maps are needed."""

    version: Version
    maps: bool

    @property
    def max_size(self) -> int:
        return self.version.max_batch


class Output(NamedTuple):
    """The prediction for one image, and its embedding where known, (d,) float32."""

    prediction: Prediction
    embedding: NDArray[np.float32] | None


class Service:
    """Predictions of one classifier, for many clients at once.

    Args:
        run: Its run folder; reloaded from the same path, which may be a link.
        settings: Limits.
        load: Loads a version.

    Attributes:
        version: What new requests use.
        draining: Whether the service is shutting down.
        retired: Previous versions that requests still use.
        failure: Why it could not start; ``None`` if it could.
    """

    def __init__(
        self,
        run: Path,
        settings: Settings,
        load: Callable[[Path], Version] = load_version,
    ) -> None:
        self.run, self.settings = run, settings
        self.version = load(run)
        self.draining = False
        self.failure: LucencyError | None = None
        self.metrics = Metrics()
        self.admission = Admission(settings.max_images, settings.max_bytes)
        self.retired: list[Version] = []
        self._load = load
        self._loading = False
        self._decoders: Decoders | None = None
        self._batcher: Batcher[Pixels, Output] | None = None

    @property
    def working(self) -> bool:
        """Whether requests are processed."""
        return self._batcher is not None

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome; those that come all the same are processed."""
        return self.working and not self.draining

    @property
    def name(self) -> str:
        """The model's name in the Open Inference Protocol; stays the same after a reload."""
        return self.run.absolute().name

    def check_ready(self) -> None:
        """Check that new requests are welcome.

        Raises:
            RequestError: The service is starting or shutting down.
        """
        if not self.ready:
            raise RequestError("not_ready", "The service is starting or shutting down.")

    async def start(self) -> None:
        """Start processing.

        Raises:
            RunError: The processes that decode cannot be started.
        """
        given = self.settings
        decoders = Decoders(given.workers, given.decode_timeout, self.metrics.decode.observe)
        try:
            await asyncio.to_thread(decoders.start)
        except LucencyError as error:
            self.failure = error
            decoders.close()
            raise
        batcher: Batcher[Pixels, Output] = Batcher(_infer, PROCESSORS, self._on_batch)
        batcher.start()
        self.metrics.add_gauges(self.admission, lambda: decoders.lost, lambda: len(batcher))
        self.metrics.set_classifier(self.version.about)
        self._decoders, self._batcher = decoders, batcher

    async def close(self) -> None:
        """Stop, and leave no process behind."""
        batcher, decoders = self._batcher, self._decoders
        self._batcher = self._decoders = None
        if batcher is not None and decoders is not None:  # an empty queue is false
            await batcher.close()
            await asyncio.to_thread(decoders.close)

    @contextmanager
    def using(self) -> Iterator[Version]:
        """Keep the present version while the block runs."""
        version = self.version
        version.users += 1
        try:
            yield version
        finally:
            version.users -= 1
            self._release_unused()

    async def predict_each(
        self, version: Version, files: Sequence[bytes], wanted: Extras
    ) -> list[dict[str, Any] | RequestError]:
        """Return for each file its prediction as JSON values, or why there is none.

        Args:
            version: The classifier for all of them.
            files: Contents of image files.
            wanted: What to add to each prediction.
        """
        with self.admission.hold_images(len(files)):
            if len(files) == 1:
                return [await self._predict_one(version, files[0], wanted)]
            each = (self._predict_one(version, file, wanted) for file in files)
            return [*await asyncio.gather(*each)]

    async def predict_pixels(self, version: Version, pixels: Pixels) -> list[Prediction]:
        """Return the prediction for each image of the network's size, (n, h, w, c)."""
        batcher, key = self._workers()[1], _Key(version, maps=False)
        with self.admission.hold_images(len(pixels)):
            outputs = await asyncio.gather(*(batcher.submit(key, each) for each in pixels))
        return self._counted(outputs)

    async def predict_all(self, version: Version, files: Sequence[bytes]) -> list[Prediction]:
        """Return the prediction for each of several files.

        Raises:
            RequestError: One of them is not an image, or its process was lost.
        """
        with self.admission.hold_images(len(files)):
            found = await asyncio.gather(*(self._output(version, file, False) for file in files))
        return self._counted([output for output, _ in found])

    def decoder_processes(self) -> list[int]:
        """Return the IDs of the processes that decode."""
        return self._workers()[0].processes

    async def reload(self) -> Version:
        """Load the run folder again and, if it is valid, use it for new requests.

        Raises:
            RequestError: It is being reloaded already, or is not valid; the previous one stays.
        """
        if self._loading:
            raise RequestError("reload_running", "The classifier is being reloaded already.")
        self._loading = True
        try:
            version = await asyncio.to_thread(self._load, self.run)
        except LucencyError as error:
            self.metrics.reloads.labels("failed").inc()
            raise RequestError("invalid_classifier", " ".join(str(error).split())) from error
        finally:
            self._loading = False
        self.metrics.reloads.labels("loaded").inc()
        self.retired.append(self.version)
        self.version = version
        self.metrics.set_classifier(version.about)
        self._release_unused()
        return version

    def _release_unused(self) -> None:
        if self.retired:
            self.retired = [each for each in self.retired if each.users]

    def _workers(self) -> tuple[Decoders, Batcher[Pixels, Output]]:
        if self._decoders is None or self._batcher is None:
            raise RequestError("not_ready", "The service is not ready.")
        return self._decoders, self._batcher

    async def _predict_one(
        self, version: Version, data: bytes, wanted: Extras
    ) -> dict[str, Any] | RequestError:
        try:
            output, size = await self._output(version, data, wanted.map)
            return await self._document(version, data, wanted, output, size)
        except RequestError as error:
            return error

    async def _output(
        self, version: Version, data: bytes, maps: bool
    ) -> tuple[Output, tuple[int, int]]:
        decoders, batcher = self._workers()
        spec = version.classifier.spec
        decoded = await decoders.decode(spec.request(data))
        output = await batcher.submit(_Key(version, maps), decoded.or_error())
        prediction = output.prediction.with_notes(decoded.notes)
        return output._replace(prediction=prediction), decoded.size

    async def _document(
        self, version: Version, data: bytes, wanted: Extras, output: Output, size: tuple[int, int]
    ) -> dict[str, Any]:
        classifier = version.classifier
        found = output.prediction.to_json(classifier.classes)
        self.metrics.count_prediction(output.prediction)
        if wanted.map:
            found.setdefault("activation_map", None)
        if wanted.neighbours:
            found["neighbours"] = await asyncio.to_thread(
                neighbours_json, classifier.neighbours, output.embedding, wanted.neighbours
            )
        if wanted.image:
            shown = classifier.spec.display_request(data, extras.shown_size(size))
            decoded = await self._workers()[0].decode(shown)
            found["image"] = await asyncio.to_thread(extras.shown_image, decoded.or_error())
            found["size"] = [*size]
        return found

    def _counted(self, outputs: Sequence[Output]) -> list[Prediction]:
        for each in outputs:
            self.metrics.count_prediction(each.prediction)
        return [each.prediction for each in outputs]

    def _on_batch(self, waits: Sequence[float], seconds: float, since: float) -> None:
        for wait in waits:
            self.metrics.queue.observe(wait)
        self.metrics.inference.observe(seconds)
        self.metrics.batch.observe(len(waits))
        self.admission.record(len(waits), since)


def _infer(key: _Key, pixels: Sequence[Pixels]) -> list[Output]:
    """Run a batch through the network of a version, as ``Classifier.predict`` does."""
    classifier = key.version.classifier
    outputs = classifier.infer(np.stack(pixels), maps=key.maps)
    predictions = classifier.predictions(outputs, [""] * len(pixels))
    embeddings = outputs.embeddings
    rows = [None] * len(pixels) if embeddings is None else [*embeddings]
    return [Output(*each) for each in zip(predictions, rows, strict=True)]
