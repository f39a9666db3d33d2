"""Dynamic batching: images that wait at the same time go through the network together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchKey(Protocol):
    """What the items of one batch have in common; compared by ``==``."""

    @property
    def max_size(self) -> int:
        """How many items may go together."""


class BatchCallback(Protocol):
    """Called after every batch."""

    def __call__(self, waits: Sequence[float], seconds: float, since: float) -> None:
        """Record a batch.

        Args:
            waits: Seconds that each of its items waited.
            seconds: How long the batch took.
            since: ``time.monotonic()`` when the first of them was queued.
        """


class _Pending(NamedTuple):
    key: Any
    item: Any
    result: asyncio.Future[Any]
    since: float


class Batcher(Generic[Item, Result]):
    """A queue in front of a function that takes several items at once, run in a few threads.

    An item that finds a thread free is processed at once; items that arrive while all are busy go
    together. An item that nobody waits for any more, because of its deadline or otherwise, is
    never computed. All items of a batch have the same key, so that no batch mixes two versions of
    a classifier.

    Args:
        function: Takes a key and its items; returns a result for each. Threads call it at once.
        threads: How many batches are processed at a time.
        on_batch: Called after every batch.
    """

    def __init__(
        self,
        function: Callable[[Any, Sequence[Item]], Sequence[Result]],
        threads: int = 1,
        on_batch: BatchCallback | None = None,
    ) -> None:
        self._function, self._threads, self._on_batch = function, threads, on_batch
        self._queue: deque[_Pending] = deque()
        self._not_empty = asyncio.Event()
        self._pool = ThreadPoolExecutor(threads, "network")
        self._tasks: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._queue)

    def start(self) -> None:
        """Start processing; needs a running event loop."""
        self._tasks = [asyncio.create_task(self._process()) for _ in range(self._threads)]

    async def close(self) -> None:
        """Stop; items that still wait get no result."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def submit(self, key: BatchKey, item: Item) -> Result:
        """Return the result for an item, once its batch is done."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Pending(key, item, future, time.monotonic()))
        self._not_empty.set()
        return await future

    async def _process(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._not_empty.wait()
            batch = self._next_batch()
            if not batch:
                continue
            start = time.monotonic()
            items = [each.item for each in batch]
            try:
                results = await loop.run_in_executor(
                    self._pool, self._function, batch[0].key, items
                )
            except Exception as error:  # whoever waits for the results gets it
                for each in batch:
                    if not each.result.done():
                        each.result.set_exception(error)
                continue
            for each, result in zip(batch, results, strict=True):
                if not each.result.done():
                    each.result.set_result(result)
            waits = [start - each.since for each in batch]
            if self._on_batch:
                self._on_batch(waits, time.monotonic() - start, batch[0].since)

    def _next_batch(self) -> list[_Pending]:
        """Take the first items of one key that are still needed."""
        batch: list[_Pending] = []
        while self._queue:
            first = self._queue[0]
            if batch and (first.key != batch[0].key or len(batch) >= first.key.max_size):
                break
            self._queue.popleft()
            if not first.result.done():
                batch.append(first)
        if not self._queue:
            self._not_empty.clear()
        return batch
