"""One process that decodes images for one pool after another, for tests of everything around it.

To start such a process takes as long as to decode ten images, and small runs have five pools of
them. The processes are those of the product; only their start and their end differ.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from lucency.imaging.decoder import pool
from lucency.imaging.decoder.process import Child

_idle: list[_Lasting] = []
_made: Any = pool.DecoderPool.__init__


class _Lasting(Child):
    """Is kept for the next pool when its pool ends, unless it is decoding or has died.

    Paths may be relative, so it serves only where the working folder is that of its start. Those
    of a service, which import all formats when they start, are not kept.
    """

    def __init__(self, command: Sequence[str], deadline: float) -> None:
        super().__init__(command, deadline)
        self.command, self.folder = command, Path.cwd()

    def kill(self) -> None:
        if not self.alive:
            super().kill()

    def close(self) -> None:
        if self.alive and self.responses and "preload" not in self.command:
            _idle.append(self)
        else:
            super().close()


def _lent(command: Sequence[str], deadline: float) -> Child:
    for place, kept in enumerate(_idle):
        if (kept.command, kept.folder) == (command, Path.cwd()):
            return _idle.pop(place)
    return _Lasting(command, deadline)


def _of_one(self: Any, workers: int = 0, **given: Any) -> None:
    """Make a pool, of one process unless its maker says of how many."""
    _made(self, workers or 1, **given)


def use_lasting_decoders() -> None:
    """Keep processes that decode from now on; they end with this process."""
    pool.Child, pool.DecoderPool.__init__ = _lent, _of_one  # type: ignore[method-assign, misc]


@contextlib.contextmanager
def own_decoders() -> Iterator[None]:
    """End the processes that were kept; while the block runs, pools are as they were."""
    while _idle:
        Child.close(_idle.pop())
    with (
        mock.patch.object(pool, "Child", Child),
        mock.patch.object(pool.DecoderPool, "__init__", _made),
    ):
        yield
