"""A thread that calls one tracker beside the training; its errors are warnings."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from lucency.progress import Progress
from lucency.tracking.tracker import Start, Tracker

# Seconds to wait for a remote tracker at the end. The run folder is complete by then.
CLOSE_SECONDS = 300.0
INTERRUPTED_SECONDS = 10.0  # after a request to stop, as the program may soon be killed
_POLL = 0.1  # seconds between polls, so that Ctrl-C works
_SILENT = 5.0  # seconds until a message says what is being waited for


class Worker:
    """Calls one tracker, in order, during training.

    The first error ends the tracking, never the training.

    Args:
        title: Name of the tracker for people.
        tracker: The tracker.
        progress: Shows its messages and warnings.
    """

    def __init__(self, title: str, tracker: Tracker, progress: Progress) -> None:
        self._title, self._tracker, self._progress = title, tracker, progress
        self._calls: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        # A daemon: the program does not wait for a tracker that hangs.
        self._thread = threading.Thread(target=self._work, name=f"track {title}", daemon=True)

    def start(self, start: Start) -> None:
        """Start the thread, and log what is known before the first step."""
        self.call("begin", start)
        self._thread.start()

    def call(self, method: str, argument: Any) -> None:
        """Queue a call of a method of the tracker; returns at once."""
        self._calls.put((method, argument))

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Wait until everything is logged, at most so many seconds."""
        if self._thread.ident is None:  # the run ended before training began
            return
        self._calls.put(None)
        begun = time.monotonic()
        noted = False
        while self._thread.is_alive() and (took := time.monotonic() - begun) < seconds:
            self._thread.join(_POLL)
            if took > _SILENT and not noted:
                noted = True
                self._progress.note(f"Waiting for {self._title}; the run itself is safe.")
        if self._thread.is_alive():
            self._warn(f"it took more than {seconds:g} seconds")

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            method, argument = call
            try:
                line = getattr(self._tracker, method)(argument)
            except Exception as error:
                self._warn(" ".join(str(error).split()) or type(error).__name__)
                return
            if line:
                self._progress.note(line)

    def _warn(self, why: str) -> None:
        self._progress.warn(
            f"Tracking with {self._title} stopped: {why}. The run itself is not affected."
        )
