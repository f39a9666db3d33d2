"""Decode images on all nodes of a cluster, in the sandboxed processes of each."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lucency.cluster.connection import Cluster, connect
from lucency.config import Config
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Decoders, Request
from lucency.progress import SILENT, Progress

_BATCH = 256  # images of a task at most
_BYTES = 32 * 2**20  # of their pixels at most


def decoders(config: Config, progress: Progress = SILENT) -> Decoders:
    """Return what decodes images: the processes of this machine, or those of a cluster.

    Args:
        config: With ``on`` and ``workers``.
        progress: Called with the nodes, and with what each has done.

    Raises:
        LucencyError: There is no such cluster, or it cannot be used.
    """
    if not config.on:
        return DecoderPool(config.workers)
    return ClusterDecoders(connect(config.on, progress), progress)


class ClusterDecoders:
    """Decodes on all nodes of a cluster; a context manager, which says what each node has done.

    Attributes:
        workers: Number of processors of the cluster.
    """

    def __init__(self, cluster: Cluster, progress: Progress = SILENT) -> None:
        self._cluster, self._progress = cluster, progress
        self._seconds = 0.0
        self._checked = False

    @property
    def workers(self) -> int:
        """Number of processors of the cluster."""
        return self._cluster.processors

    def start(self, count: int) -> None:
        """Do nothing: processes start on their nodes with the first images."""

    def map(self, requests: Iterable[Request]) -> Generator[Decoded, None, None]:
        """Yield decoded images in order.

        Raises:
            DataError: A node does not see the first image.
            RunError: Tasks died again and again, or no node is left.
        """
        remaining = map(_absolute, requests)
        first = [*islice(remaining, 1)]
        if not self._checked and first and isinstance(first[0].source, str):
            self._cluster.check_sees([os.path.dirname(first[0].source)])  # noqa: PTH120
            self._checked = True
        batches = _batches(chain(first, remaining))
        self._seconds = 0.0
        return self._decoded(self._cluster.run(decode_batch, batches))

    def _decoded(self, results: Iterator[Batch]) -> Generator[Decoded, None, None]:
        start = time.monotonic()
        try:
            for batch in results:
                yield from batch.decoded()
        finally:
            self._seconds += time.monotonic() - start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self._cluster.work:
            self._progress.note(in_words(self._cluster, self._seconds, "decoded"))


class Batch(NamedTuple):
    """Images that a node has decoded.

    Attributes:
        facts: Of each, without pixels.
        readable: Which of them have pixels.
        pixels: (k, height, width, channels) of those.
    """

    facts: list[Decoded]
    readable: list[int]
    pixels: NDArray[Any]

    def decoded(self) -> Iterator[Decoded]:
        """Yield the images as a pool of processes does."""
        pixels = dict(zip(self.readable, self.pixels, strict=True))
        return (each._replace(pixels=pixels.get(i)) for i, each in enumerate(self.facts))


def decode_batch(requests: list[Request]) -> Batch:
    """Decode images of one size in the process of this node that is kept for it."""
    decoded = [*kept_pool().map(requests)]
    readable = [i for i, each in enumerate(decoded) if each.pixels is not None]
    pixels = np.stack([decoded[i].or_error() for i in readable]) if readable else np.empty(0)
    return Batch([each._replace(pixels=None) for each in decoded], readable, pixels)


@functools.cache
def kept_pool() -> DecoderPool:
    """Return the pool of one process that a process of a node decodes with, until it ends."""
    return DecoderPool(1)


def in_words(cluster: Cluster, seconds: float, done: str) -> str:
    """Say how many images each node has worked on, and how many nodes were lost."""
    work = cluster.work
    each = ", ".join(
        f"{address} {count:,} ({count / max(seconds, 1e-9):,.0f}/s)"
        for address, count in sorted(work.items())
    )
    total = f"{sum(work.values()):,} images {done} on the cluster: {each}"
    if lost := cluster.lost:
        return f"{total}; {lost} {'node was' if lost == 1 else 'nodes were'} lost."
    return f"{total}."


def _absolute(request: Request) -> Request:
    """Return a request that does not depend on the working folder of this process."""
    if isinstance(request.source, bytes):
        return request
    return request._replace(source=os.path.abspath(request.source))  # noqa: PTH100 - text


def _batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Yield requests in batches whose pixels fit into a message."""
    remaining = iter(requests)
    while first := [*islice(remaining, 1)]:
        yield [*first, *islice(remaining, _size(first[0]) - 1)]


def _size(request: Request) -> int:
    values = math.prod(request.size or (1, 1)) * (3 if request.colour else 1)
    return max(1, min(_BATCH, _BYTES // (values * (4 if request.deep else 1))))
