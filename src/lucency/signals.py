"""Ctrl-C and SIGTERM: the first stops the program without losing work, a later one at once.

The first signal raises ``Interrupted`` immediately. Inside ``deferred`` it is only recorded, and
``check`` raises it where the program can stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds in which the same signal does not count twice: ``timeout`` and batch systems send it to
# the process and, at once, to its process group.
REPEAT = 0.5


class Interrupted(BaseException):
    """The program was asked to stop; no ``except Exception`` of a library may swallow it.

    Attributes:
        number: The signal.
        kept: What was saved and how to resume; empty where there is nothing to resume.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.kept = ""


class _State:
    """The state of the process, as signals are per process."""

    pending = 0  # the first signal that has not been raised yet
    deferring = 0  # number of active ``deferred`` blocks
    latest = (0, float("-inf"))  # the latest signal, and when it came (``time.monotonic``)


@contextlib.contextmanager
def handle_signals() -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM while the block runs; only in the main thread.

    Python handles a signal when the main thread returns from compiled code, which can take many
    seconds. Therefore another thread reads the signals too, and ends the program at the second.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    reading, writing = os.pipe()
    if os.name == "posix":  # elsewhere only sockets must be non-blocking
        os.set_blocking(writing, False)
    old = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_exit_at_the_second, args=(reading,), daemon=True).start()
    for number in _SIGNALS:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old)
        os.close(writing)  # which ends the thread
        _State.pending, _State.latest = 0, (0, float("-inf"))


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Only record signals while the block runs, which calls ``check`` where it can stop."""
    _State.deferring += 1
    try:
        yield
    finally:
        _State.deferring -= 1


def check() -> None:
    """Raise the recorded signal, if there is one.

    Raises:
        Interrupted: The program was asked to stop.
    """
    number, _State.pending = _State.pending, 0
    if number:
        raise Interrupted(number)


def _handle(number: int, _: Any) -> None:
    (before, when), now = _State.latest, time.monotonic()
    _State.latest = (number, now)
    if number == before and now - when < REPEAT:
        return  # it would interrupt what the first has set off
    _State.pending = number
    if not _State.deferring:
        check()


def _exit_at_the_second(reading: int) -> None:
    """End the program at the second signal, whatever its main thread does."""
    first, since = 0, 0.0
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while numbers := pipe.read(64):
            for number in (each for each in numbers if each in _SIGNALS):
                now = time.monotonic()
                if not first:
                    first, since = number, now
                elif number != first or now - since > REPEAT:
                    os._exit(128 + number)  # no file is left half-written: writes are atomic
