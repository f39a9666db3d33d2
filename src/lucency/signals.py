"""Ctrl-C and SIGTERM: the first ends the work where nothing is lost, the second ends it at once.

Outside ``held`` the first signal raises ``Interrupted`` where it finds the program. Inside, it is
only noted, and ``check`` raises it where the work says that it can stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The program was asked to stop; no ``except Exception`` of a library may swallow it.

    Attributes:
        number: The signal.
        kept: What was saved and how to go on; empty where nothing is to be gone on with.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.kept = ""


class _Asked:
    """What has been asked for so far; of a program, as signals are."""

    number = 0  # of the first signal that has not been raised yet
    holds = 0  # how many blocks want it noted only


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Listen for Ctrl-C and SIGTERM while the block runs; only the main thread can.

    Python handles a signal once the main thread comes back from compiled code, which can take
    many seconds. A thread of its own therefore reads them too, and ends the program at the second.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    reading, writing = os.pipe()
    if os.name == "posix":  # elsewhere only sockets have to be
        os.set_blocking(writing, False)
    old = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_leave_at_the_second, args=(reading,), daemon=True).start()
    for number in _SIGNALS:
        signal.signal(number, _hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old)
        os.close(writing)  # which ends the thread
        _Asked.number = 0


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Have signals noted only, while the block runs; it calls ``check`` where it can stop."""
    _Asked.holds += 1
    try:
        yield
    finally:
        _Asked.holds -= 1


def check() -> None:
    """Raise the signal that was noted, if there is one.

    Raises:
        Interrupted: The program was asked to stop.
    """
    number, _Asked.number = _Asked.number, 0
    if number:
        raise Interrupted(number)


def _hear(number: int, _: Any) -> None:
    _Asked.number = number
    if not _Asked.holds:
        check()


def _leave_at_the_second(reading: int) -> None:
    """End the program at the second signal, wherever its main thread is."""
    seen = 0
    with os.fdopen(reading, "rb", buffering=0) as numbers_of_signals:
        while numbers := numbers_of_signals.read(64):
            seen += sum(number in _SIGNALS for number in numbers)
            if seen > 1:
                os._exit(128 + numbers[-1])  # nothing is half-written: files are renamed when whole
