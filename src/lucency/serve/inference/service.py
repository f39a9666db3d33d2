"""The service without HTTP: bytes or pixels in, predictions out; the classifier can be changed."""

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
from lucency.serve.api import extras
from lucency.serve.api.extras import Asked
from lucency.serve.http.settings import Settings
from lucency.serve.inference.admission import Admission
from lucency.serve.inference.batching import Batcher
from lucency.serve.inference.decoding import Decoders
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.metrics import Metrics
from lucency.serve.inference.versions import Version, load_version

_ROUTES = {"predict": "/v1/predict", "infer": "/v2/models/{name}/infer"}


@dataclass(frozen=True)
class _Kind:
    """What images of one batch share: the version that answers, and whether maps are wanted."""

    version: Version
    maps: bool

    @property
    def most(self) -> int:
        return self.version.batch


class Output(NamedTuple):
    """What the classifier says of one image, and what its last layer sees, where known."""

    prediction: Prediction
    embedding: NDArray[np.float32] | None


class Service:
    """A classifier at work.

    Args:
        run: Its run folder; loaded again from the same path, which may be a link.
        settings: Limits.
        load: Loads a version.

    Attributes:
        version: What answers new requests.
        draining: Whether the service is about to end.
        retired: Versions that still answer requests which came before the present one.
        failure: Why it could not start; ``None`` where it could.
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
        self.admission = Admission(settings.most_waiting, settings.most_bytes_waiting)
        self.retired: list[Version] = []
        self._load = load
        self._loading = False
        self._decoders: Decoders | None = None
        self._batcher: Batcher[NDArray[np.uint8], Output] | None = None

    @property
    def working(self) -> bool:
        """Whether requests are answered."""
        return self._batcher is not None

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome; those that come all the same are answered."""
        return self.working and not self.draining

    @property
    def name(self) -> str:
        """What the Open Inference Protocol calls the model; stays when it is loaded again."""
        return self.run.absolute().name

    async def start(self) -> None:
        """Start to work.

        Raises:
            RunError: The processes that decode cannot be started.
        """
        given = self.settings
        decoders = Decoders(given.workers, given.decode_deadline, self.metrics.decode.observe)
        try:
            await asyncio.to_thread(decoders.start)
        except LucencyError as error:
            self.failure = error
            decoders.close()
            raise
        batcher: Batcher[NDArray[np.uint8], Output] = Batcher(_say, PROCESSORS, self._seen)
        batcher.start()
        self.metrics.watch(self.admission, lambda: decoders.lost, lambda: len(batcher))
        self.metrics.serves(self.version.about)
        self._decoders, self._batcher = decoders, batcher

    async def close(self) -> None:
        """Stop, and leave no process behind."""
        batcher, decoders = self._batcher, self._decoders
        self._batcher = self._decoders = None
        if batcher is not None and decoders is not None:  # an empty queue is false
            await batcher.close()
            await asyncio.to_thread(decoders.close)

    def rejected(self, path: str) -> RequestError | None:
        """Return why a request for predictions would be refused at once; ``None`` if not.

        Under overload most requests end here, before anything else is done for them.

        Args:
            path: What it asks for.
        """
        route = _ROUTES.get(path.rpartition("/")[2])
        if route is None or not self.ready:
            return None
        try:
            self.admission.check(self.settings.deadline)
        except RequestError as error:
            self.metrics.error.labels(error.code).inc()
            self.metrics.answer(route, "POST", error.status)
            return error
        return None

    @contextmanager
    def using(self) -> Iterator[Version]:
        """Hold on to the present version while the block runs."""
        version = self.version
        version.users += 1
        try:
            yield version
        finally:
            version.users -= 1
            self._retire()

    async def files(
        self, version: Version, files: Sequence[bytes], asked: Asked
    ) -> list[dict[str, Any] | RequestError]:
        """Return what is said of each file, or why nothing is, in the same order.

        Args:
            version: Which classifier answers, all of them.
            files: Contents of image files.
            asked: What is wanted besides the prediction.
        """
        with self.admission.inside(len(files)):
            if len(files) == 1:
                return [await self._file(version, files[0], asked)]
            return [*await asyncio.gather(*(self._file(version, file, asked) for file in files))]

    async def pixels(self, version: Version, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Return what is said of images at the input's size, (n, h, w, c) uint8."""
        batcher, kind = self._at_work()[1], _Kind(version, False)
        with self.admission.inside(len(pixels)):
            said = await asyncio.gather(*(batcher.ask(kind, each) for each in pixels))
        for each in said:
            self.metrics.answered(each.prediction)
        return [each.prediction for each in said]

    async def predictions(self, version: Version, files: Sequence[bytes]) -> list[Prediction]:
        """Return what is said of each of several files, in the same order.

        Raises:
            Refused: One of them is no image, or its process was lost.
        """
        with self.admission.inside(len(files)):
            found = await asyncio.gather(*(self._output(version, file, False) for file in files))
        for said, _ in found:
            self.metrics.answered(said.prediction)
        return [said.prediction for said, _ in found]

    def decoder_processes(self) -> list[int]:
        """Return the numbers of the processes that decode."""
        return self._at_work()[0].processes

    async def reload(self) -> Version:
        """Load the run folder again and, if it is sound, have it answer from now on.

        Raises:
            Refused: It is being loaded already, or is not sound; the old one goes on.
        """
        if self._loading:
            raise RequestError("reload_running", "The classifier is being loaded already.")
        self._loading = True
        try:
            version = await asyncio.to_thread(self._load, self.run)
        except LucencyError as error:
            self.metrics.reloads.labels("refused").inc()
            raise RequestError("refused_classifier", " ".join(str(error).split())) from error
        finally:
            self._loading = False
        self.metrics.reloads.labels("loaded").inc()
        self.retired.append(self.version)
        self.version = version
        self.metrics.serves(version.about)
        self._retire()
        return version

    def _retire(self) -> None:
        if self.retired:
            self.retired = [each for each in self.retired if each.users]

    def _at_work(self) -> tuple[Decoders, Batcher[NDArray[np.uint8], Output]]:
        if self._decoders is None or self._batcher is None:
            raise RequestError("not_ready", "The service is not ready.")
        return self._decoders, self._batcher

    async def _file(
        self, version: Version, data: bytes, asked: Asked
    ) -> dict[str, Any] | RequestError:
        try:
            said, size = await self._output(version, data, asked.map)
            return await self._document(version, data, asked, said, size)
        except RequestError as error:
            return error

    async def _output(
        self, version: Version, data: bytes, maps: bool
    ) -> tuple[Output, tuple[int, int]]:
        decoders, batcher = self._at_work()
        spec = version.classifier.spec
        decoded = await decoders.decode(data, spec.size, spec.channels == 3)
        said = await batcher.ask(_Kind(version, maps), decoded.or_error())
        return said._replace(prediction=said.prediction.noted(decoded.notes)), decoded.size

    async def _document(
        self, version: Version, data: bytes, asked: Asked, said: Output, size: tuple[int, int]
    ) -> dict[str, Any]:
        classifier = version.classifier
        found = said.prediction.to_json(classifier.classes)
        self.metrics.answered(said.prediction)
        if asked.map:
            found.setdefault("activation_map", None)
        if asked.neighbours:
            found["neighbours"] = await asyncio.to_thread(
                neighbours_json, classifier.neighbours, said.embedding, asked.neighbours
            )
        if asked.image:
            colour, shown = classifier.spec.channels == 3, extras.shown_size(size)
            decoded = await self._at_work()[0].decode(data, shown, colour)
            found["image"] = await asyncio.to_thread(extras.shown_image, decoded.or_error())
            found["size"] = [*size]
        return found

    def _seen(self, waits: Sequence[float], seconds: float, since: float) -> None:
        for wait in waits:
            self.metrics.queue.observe(wait)
        self.metrics.infer.observe(seconds)
        self.metrics.batch.observe(len(waits))
        self.admission.answered(len(waits), since)


def _say(kind: _Kind, pixels: Sequence[NDArray[np.uint8]]) -> list[Output]:
    """Have a version's network answer a batch, as ``Classifier.predict`` does."""
    classifier = kind.version.classifier
    said = classifier.infer(np.stack(pixels), maps=kind.maps)
    predictions = classifier.judge(said, [""] * len(pixels))
    seen = [None] * len(pixels) if said.embeddings is None else [*said.embeddings]
    return [Output(*each) for each in zip(predictions, seen, strict=True)]
