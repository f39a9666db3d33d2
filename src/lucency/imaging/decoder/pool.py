"""Several decoding processes: each image goes to one that is free, the answers come in order."""

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
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lucency.errors import ImageError, PassingError, RunError
from lucency.imaging.decoder.process import Child, DecoderLostError, child_command
from lucency.imaging.decoder.protocol import Answer, Outcome, Request, reason_of
from lucency.imaging.dicom import Note
from lucency.imaging.source import OTHER_CONTENT, not_again

__all__ = ["Decoded", "DecoderPool", "Request", "read_again"]

DEADLINE = 30.0  # seconds; 50 megapixels of progressive CMYK take 6 on one slow core
_AHEAD = 4  # images per process that may wait for their turn
_LOOK = 0.1  # seconds between two looks for a process that hangs
# More than this between two looks, and it was this process that stood still, as after Ctrl-Z: an
# answer may have been waiting all that time.
_STOPPED = 1.0


class Decoded(NamedTuple):
    """What became of an image.

    Attributes:
        pixels: (height, width, 1 or 3) uint8; ``None`` where there are none.
        reason: Why there are none, in one line; empty where there are.
        passing: Whether the reason may be gone by the next run.
        sha256: Of the bytes of the file, in hexadecimal; empty where they could not be read.
        size: Height and width of the image, turned upright; zeros where unknown.
        notes: What a DICOM file says that one should know.
        patient: Whose image it is, hashed with the salt of the request, in hexadecimal; empty
            where that is unknown or nobody asked.
        fatal: Whether decoding it crashed a process or took too long, so that once more would most
            likely do the same.
    """

    pixels: NDArray[np.uint8] | None
    reason: str = ""
    passing: bool = False
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    notes: Note = Note(0)
    patient: str = ""
    fatal: bool = False

    def or_error(self) -> NDArray[np.uint8]:
        """Return the pixels.

        Raises:
            PassingError: There are none, for a reason that may be gone by the next run.
            ImageError: There are none.
        """
        if self.pixels is None:
            raise (PassingError if self.passing else ImageError)(self.reason)
        return self.pixels


class DecoderPool:
    """Processes that decode; a context manager, after which none is left.

    A process starts when there is an image for it. One that dies, hangs or answers nonsense is
    replaced, and costs the image that it had. Threads may use a pool at the same time.

    Attributes:
        workers: Most processes at a time.
        lost: Processes that had to be replaced.
    """

    def __init__(
        self, workers: int = 0, *, deadline: float = DEADLINE, command: Sequence[str] | None = None
    ) -> None:
        """Make a pool without any process yet.

        Args:
            workers: Most processes at a time; 0 for one per processor.
            deadline: Seconds that an image may take.
            command: What to start instead of our own decoder.
        """
        self.workers = workers or os.cpu_count() or 1
        self.lost = 0
        self._deadline = deadline
        self._command = command or child_command(deadline)
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(self.workers, "decoding")
        self._watch = threading.Thread(target=self._watching, name="decoding deadline", daemon=True)
        self._watch.start()

    @property
    def processes(self) -> list[int]:
        """Numbers of the processes that there are."""
        with self._lock:
            return sorted(child.number for child in self._children)

    def start(self, count: int) -> None:
        """Start up to ``count`` processes, to be ready when the first images come.

        Raises:
            RunError: They cannot be started.
        """
        with self._lock:
            missing = min(count, self.workers) - len(self._children)
        for child in [self._started() for _ in range(missing)]:
            self._give(child)

    def submit(self, request: Request) -> Future[Decoded]:
        """Have an image decoded, when a process is free.

        The future raises RunError where no process can be started, nothing else.
        """
        return self._threads.submit(self._decode, request)

    def map(self, requests: Iterable[Request]) -> Generator[Decoded, None, None]:
        """Yield what becomes of images, in order, with few in flight however many there are.

        The first are on their way when this returns, before anything is asked of the generator.

        Raises:
            RunError: No process can be started.
        """
        coming = iter(requests)
        first = [self.submit(each) for each in islice(coming, self.workers * _AHEAD)]
        return self._answers(deque(first), coming)

    def _answers(
        self, waiting: deque[Future[Decoded]], coming: Iterator[Request]
    ) -> Generator[Decoded, None, None]:
        try:
            while waiting:
                answer = waiting.popleft().result()
                waiting.extend(self.submit(each) for each in islice(coming, 1))
                yield answer
        finally:
            for each in waiting:
                each.cancel()

    def close(self) -> None:
        """End all processes, whatever they do; what was not decoded is not."""
        with self._lock:
            self._closed.set()
            children = [*self._children]
        for child in children:
            child.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._watch.join()
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
        child = self._take()
        unused = not child.answers
        try:
            return self._asked(child, request)
        except DecoderLostError as error:
            # An image before this one may have left the memory of that process in disorder.
            if unused or child.late:
                return _lost(error)
        try:
            return self._asked(self._started(), request)
        except DecoderLostError as error:
            return _lost(error)

    def _asked(self, child: Child, request: Request) -> Decoded:
        try:
            return _decoded(child.ask(request), request)
        finally:
            self._give(child)

    def _take(self) -> Child:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._started()

    def _started(self) -> Child:
        child = Child(self._command, self._deadline)
        with self._lock:
            if not self._closed.is_set():
                self._children.add(child)
                return child
        child.close()
        raise RunError("The processes that decode images have been closed.")

    def _give(self, child: Child) -> None:
        """Take a process back, if it can be asked again and is not one too many."""
        with self._lock:
            spare = len(self._children) > self.workers
            if child.alive and not spare:
                self._idle.append(child)
                return
            self.lost += not child.alive and not self._closed.is_set()
            self._children.discard(child)
        child.close()

    def _watching(self) -> None:
        last = time.monotonic()
        while not self._closed.wait(min(_LOOK, self._deadline / 4)):
            now = time.monotonic()
            away, last = now - last, now
            with self._lock:
                children = [*self._children]
            for child in children:
                if away > _STOPPED:
                    child.grant(away)
                child.check(now)


def read_again(
    pool: DecoderPool,
    files: Iterable[tuple[Path, str]],
    size: tuple[int, int] | None,
    colour: bool,
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the pixels of files that were decoded before, in order.

    Args:
        pool: Who decodes.
        files: Path and the sha256 of then.
        size: Height and width to return; ``None`` for each image's own.
        colour: Three channels if true, else one.

    Raises:
        DataError: A file has vanished, is damaged, or has another content than before.
    """
    listed = [*files]
    answers = pool.map(Request(str(path), size, colour) for path, _ in listed)
    for (path, sha256), decoded in zip(listed, answers, strict=True):
        changed = decoded.sha256 and decoded.sha256 != sha256
        if reason := OTHER_CONTENT if changed else decoded.reason:
            raise not_again(path, reason)
        yield decoded.or_error()


def _lost(error: DecoderLostError) -> Decoded:
    return Decoded(None, str(error), passing=True, fatal=not error.killed)


def _decoded(answer: Answer, request: Request) -> Decoded:
    if answer.outcome != Outcome.PIXELS:
        passing = answer.outcome == Outcome.PASSING
        return Decoded(None, reason_of(answer), passing, answer.sha256, answer.size)
    shape = (*(request.size or answer.size), 3 if request.colour else 1)
    pixels = np.frombuffer(answer.payload, np.uint8).reshape(shape)
    whose = answer.patient.hex()
    return Decoded(pixels, "", False, answer.sha256, answer.size, answer.notes, whose)
