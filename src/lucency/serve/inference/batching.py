"""Images that wait at the same time go through the network together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Kind(Protocol):
    """What items of one batch have in common; compared by ``==``."""

    @property
    def most(self) -> int:
        """How many may go together."""


class Seen(Protocol):
    """Hears of every batch."""

    def __call__(self, waits: Sequence[float], seconds: float, since: float) -> None:
        """Note a batch.

        Args:
            waits: Seconds that each of its items waited.
            seconds: How long the batch took.
            since: ``time.monotonic()`` when the first of them came in.
        """


class _Waiting(NamedTuple):
    kind: Any
    item: Any
    answer: asyncio.Future[Any]
    since: float


class Batcher(Generic[Item, Answer]):
    """A queue in front of a function that takes several items at once, run in a few threads.

    An item that finds a thread free is worked on at once; what comes while all are busy goes
    together. An item whose asker has gone, because of its deadline or otherwise, is never computed.
    All items of a batch are of one kind, so that no batch mixes two versions of a classifier.

    Args:
        work: Takes a kind and its items; returns an answer for each. Threads call it at once.
        threads: How many batches are worked on at a time.
        seen: Hears of every batch.
    """

    def __init__(
        self,
        work: Callable[[Any, Sequence[Item]], Sequence[Answer]],
        threads: int = 1,
        seen: Seen | None = None,
    ) -> None:
        self._work, self._threads, self._seen = work, threads, seen
        self._queue: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._pool = ThreadPoolExecutor(threads, "network")
        self._tasks: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to work; needs a running event loop."""
        self._tasks = [asyncio.create_task(self._working()) for _ in range(self._threads)]

    async def close(self) -> None:
        """Stop; items that wait are not answered."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def ask(self, kind: Kind, item: Item) -> Answer:
        """Return the answer for an item, when its batch has been through."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(kind, item, future, time.monotonic()))
        self._some.set()
        return await future

    async def _working(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            batch = self._take()
            if not batch:
                continue
            start = time.monotonic()
            items = [each.item for each in batch]
            try:
                answers = await loop.run_in_executor(self._pool, self._work, batch[0].kind, items)
            except Exception as error:  # whoever asked hears of it
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                continue
            for each, answer in zip(batch, answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)
            waits = [start - each.since for each in batch]
            if self._seen:
                self._seen(waits, time.monotonic() - start, batch[0].since)

    def _take(self) -> list[_Waiting]:
        """Take the first items that are still wanted, of one kind."""
        batch: list[_Waiting] = []
        while self._queue:
            first = self._queue[0]
            if batch and (first.kind != batch[0].kind or len(batch) >= first.kind.most):
                break
            self._queue.popleft()
            if not first.answer.done():
                batch.append(first)
        if not self._queue:
            self._some.clear()
        return batch
