"""A pool of decoding processes: each image goes to an idle one, results are returned in order."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lucency.errors import ImageError, RunError, TransientError
from lucency.imaging.decoder.process import Child, DecoderError, child_command
from lucency.imaging.decoder.protocol import Outcome, Request, Response, reason_of
from lucency.imaging.depths import WORD
from lucency.imaging.notes import Note
from lucency.imaging.source import OTHER_CONTENT, changed_error

__all__ = ["Decoded", "DecoderPool", "Decoders", "Pixels", "Request", "decode_again"]

Pixels = NDArray[np.uint8 | np.float32]  # 0 to 255; floats where a data set has more than 8 bits

DEADLINE = 30.0  # seconds; 50 megapixels of progressive CMYK take 6 on one slow core
_QUEUED = 4  # images per process that may wait
_INTERVAL = 0.1  # seconds between two checks for a process that hangs
# If more time passes between two checks, this process itself was stopped, as by Ctrl-Z: a response
# may have been waiting all that time.
_STOPPED = 1.0


class Decoded(NamedTuple):
    """A decoded image, or the reason why there is none.

    Attributes:
        pixels: (height, width, 1 or 3), 0 to 255: uint8, or float32 for a deep request; ``None`` on
            failure.
        reason: Why there are none, in one line; empty on success.
        transient: Whether the failure may disappear by the next run.
        sha256: Of the bytes of the file, in hexadecimal; empty where they could not be read.
        size: Height and width of the upright image; zeros where unknown.
        notes: What users should know of the file.
        patient: PatientID, hashed with the salt of the request, in hexadecimal; empty where unknown
            or not requested.
        fatal: Whether decoding it crashed a process or timed out, so that a retry would probably
            do the same.
        bits: The smallest depth that holds a file of more than 8 bits; 0 for others.
        study: StudyInstanceUID, hashed like the patient.
        series: SeriesInstanceUID likewise.
    """

    pixels: Pixels | None
    reason: str = ""
    transient: bool = False
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    notes: Note = Note(0)
    patient: str = ""
    fatal: bool = False
    bits: int = 0
    study: str = ""
    series: str = ""

    def or_error(self) -> Pixels:
        """Return the pixels.

        Raises:
            TransientError: There are none, for a transient reason.
            ImageError: There are none.
        """
        if self.pixels is None:
            raise (TransientError if self.transient else ImageError)(self.reason)
        return self.pixels


class Decoders(Protocol):
    """What decodes images, on this machine or on others; a context manager."""

    @property
    def workers(self) -> int:
        """Return the maximum number of processes."""

    def start(self, count: int) -> None:
        """Start up to ``count`` processes, so that they are ready for the first images."""

    def map(self, requests: Iterable[Request]) -> Generator[Decoded, None, None]:
        """Yield decoded images in order, with a bounded number in flight."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class DecoderPool:
    """Processes that decode; a context manager, which ends them all. Thread-safe.

    A process starts when there is an image for it. A process that dies, hangs or sends an invalid
    response is replaced, which costs the image that it was decoding.

    Attributes:
        workers: Maximum number of processes.
        lost: Number of processes that had to be replaced.
    """

    def __init__(
        self,
        workers: int = 0,
        *,
        deadline: float = DEADLINE,
        preload: bool = False,
        command: Sequence[str] | None = None,
    ) -> None:
        """Create a pool without any process yet.

        Args:
            workers: Maximum number of processes; 0 for one per processor.
            deadline: Seconds that an image may take.
            preload: Whether processes import what all formats need when they start, as a service
                should, instead of within the deadline of the first such file.
            command: Command to start instead of our own decoder.
        """
        self.workers = workers or os.cpu_count() or 1
        self.lost = 0
        self._deadline = deadline
        self._command = command or child_command(deadline, preload=preload)
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(self.workers, "decoding")
        self._watchdog = threading.Thread(target=self._watch, name="decoding deadline", daemon=True)
        self._watchdog.start()

    @property
    def processes(self) -> list[int]:
        """Process numbers of all running processes."""
        with self._lock:
            return sorted(child.pid for child in self._children)

    def start(self, count: int) -> None:
        """Start up to ``count`` processes, so that they are ready for the first images.

        Raises:
            RunError: They cannot be started.
        """
        with self._lock:
            missing = min(count, self.workers) - len(self._children)
        for child in [self._start() for _ in range(missing)]:
            self._release(child)

    def submit(self, request: Request) -> Future[Decoded]:
        """Have an image decoded as soon as a process is idle.

        The future raises RunError where no process can be started, nothing else.
        """
        return self._threads.submit(self._decode, request)

    def map(self, requests: Iterable[Request]) -> Generator[Decoded, None, None]:
        """Yield decoded images in order, with a bounded number in flight.

        Decoding starts at once, before the first item is requested from the generator.

        Raises:
            RunError: No process can be started.
        """
        remaining = iter(requests)
        first = [self.submit(each) for each in islice(remaining, self.workers * _QUEUED)]
        return self._results(deque(first), remaining)

    def _results(
        self, waiting: deque[Future[Decoded]], remaining: Iterator[Request]
    ) -> Generator[Decoded, None, None]:
        try:
            while waiting:
                decoded = waiting.popleft().result()
                waiting.extend(self.submit(each) for each in islice(remaining, 1))
                yield decoded
        finally:
            for each in waiting:
                each.cancel()

    def close(self) -> None:
        """Kill all processes, whatever they do, and cancel waiting requests."""
        with self._lock:
            self._closed.set()
            children = [*self._children]
        for child in children:
            child.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._watchdog.join()
        for child in children:
            child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _decode(self, request: Request) -> Decoded:
        child = self._acquire()
        unused = not child.responses
        try:
            return self._send(child, request)
        except DecoderError as error:
            # Otherwise an earlier image may have corrupted the memory of that process: retry.
            if unused or child.timed_out:
                return _failed(error)
        try:
            return self._send(self._start(), request)
        except DecoderError as error:
            return _failed(error)

    def _send(self, child: Child, request: Request) -> Decoded:
        try:
            return _decoded(child.send(request), request)
        finally:
            self._release(child)

    def _acquire(self) -> Child:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._start()

    def _start(self) -> Child:
        child = Child(self._command, self._deadline)
        with self._lock:
            if not self._closed.is_set():
                self._children.add(child)
                return child
        child.close()
        raise RunError("The processes that decode images have been closed.")

    def _release(self, child: Child) -> None:
        """Return a process to the pool, if it is alive and not one too many."""
        with self._lock:
            spare = len(self._children) > self.workers
            if child.alive and not spare:
                self._idle.append(child)
                return
            self.lost += not child.alive and not self._closed.is_set()
            self._children.discard(child)
        child.close()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._closed.wait(min(_INTERVAL, self._deadline / 4)):
            now = time.monotonic()
            elapsed, last = now - last, now
            with self._lock:
                children = [*self._children]
            for child in children:
                if elapsed > _STOPPED:
                    child.extend(elapsed)
                child.check(now)


def decode_again(
    pool: DecoderPool,
    files: Iterable[tuple[Path, str]],
    size: tuple[int, int] | None,
    colour: bool,
    depth: int = 0,
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the pixels of files that were decoded before, in order, uint8.

    Args:
        pool: Processes that decode.
        files: Path and expected sha256.
        size: Height and width to return; ``None`` for each image's own.
        colour: Three channels if true, else one.
        depth: Bits of files of more than 8; 0 for the fewest that hold each image.

    Raises:
        DataError: A file has vanished, is damaged, or has changed.
    """
    expected = [*files]
    results = pool.map(Request(str(path), size, colour, depth=depth) for path, _ in expected)
    for (path, sha256), decoded in zip(expected, results, strict=True):
        changed = decoded.sha256 and decoded.sha256 != sha256
        if reason := OTHER_CONTENT if changed else decoded.reason:
            raise changed_error(path, reason)
        yield np.asarray(decoded.or_error(), np.uint8)


def _failed(error: DecoderError) -> Decoded:
    return Decoded(None, str(error), transient=True, fatal=not error.killed)


def _decoded(response: Response, request: Request) -> Decoded:
    sha256, size = response.sha256, response.size
    if response.outcome != Outcome.PIXELS:
        transient = response.outcome == Outcome.TRANSIENT
        return Decoded(None, reason_of(response), transient, sha256, size)
    shape = (*(request.size or size), 3 if request.colour else 1)
    pixels: Pixels = np.frombuffer(response.payload, "<u2" if request.deep else np.uint8)
    if request.deep:
        pixels = pixels.astype(np.float32) / np.float32(WORD)
    return Decoded(
        pixels.reshape(shape), "", False, sha256, size, response.notes, response.patient.hex(),
        bits=response.bits, study=response.study.hex(), series=response.series.hex(),
    )  # fmt: skip
