"""Run pure functions on many items: by threads of this machine, or on the nodes of a cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from lucency.cluster.connection import connect
from lucency.config import Config
from lucency.progress import SILENT, Progress

ValueT = TypeVar("ValueT")
ValueT_co = TypeVar("ValueT_co", covariant=True)
ResultT = TypeVar("ResultT")

_QUEUED = 2  # items per thread that are worked on or wait


class Value(Protocol[ValueT_co]):
    """A value that all tasks receive."""

    @property
    def value(self) -> ValueT_co:
        """The value itself, which must not be changed."""
        ...


class Tasks(Protocol):
    """Runs pure functions; the results and their order do not depend on where."""

    def share(self, value: ValueT, /) -> Value[ValueT]:
        """Return a value to give to tasks, which a cluster sends to each process once."""
        ...

    def run(
        self, function: Callable[..., ResultT], items: Iterable[Sized], /, *given: Any
    ) -> Generator[ResultT, None, None]:
        """Yield ``function(item, *given)`` for each item, in order.

        The number of items at work is bounded, so that memory does not grow with all of them.
        """
        ...


def tasks(config: Config, progress: Progress = SILENT) -> Tasks:
    """Return what runs tasks: threads of this machine, or the nodes of a cluster.

    Args:
        config: With ``on`` and ``workers``.
        progress: Called with the nodes.

    Raises:
        LucencyError: There is no such cluster, or it cannot be used.
    """
    return connect(config.on, progress) if config.on else Threads(threads(config))


def threads(config: Config) -> int:
    """Return the number of threads on this machine: ``workers``, or one per processor."""
    return config.workers or os.cpu_count() or 1


@dataclass(frozen=True)
class _Here(Generic[ValueT]):
    value: ValueT


class Threads:
    """Threads of this process; for functions that spend their time in NumPy, which lets others run.

    Attributes:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def share(self, value: ValueT) -> Value[ValueT]:
        """Return a reference to a value of this process."""
        return _Here(value)

    def run(
        self, function: Callable[..., ResultT], items: Iterable[Sized], *given: Any
    ) -> Generator[ResultT, None, None]:
        """Yield ``function(item, *given)`` for each item, in order."""
        remaining = iter(items)
        waiting: deque[Future[ResultT]] = deque()
        pool = ThreadPoolExecutor(self.workers)
        try:
            while True:
                more = _QUEUED * self.workers - len(waiting)
                waiting.extend(
                    pool.submit(function, item, *given) for item in islice(remaining, more)
                )
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
