"""A thread beside the training that tells one tracker; what goes wrong in it is a warning."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from lucency.progress import Progress
from lucency.tracking.facts import Start, Tracker

# Seconds to wait at the end for a tracker that is far away. The run folder is complete by then.
PATIENCE = 300.0
HASTE = 10.0  # the same where the program was asked to stop, and may soon be ended
_LOOK = 0.1  # seconds between two looks, in which Ctrl-C is heard
_SILENT = 5.0  # seconds after which somebody might wonder


class Worker:
    """Tells one tracker, in order, while training goes on.

    The first error ends the tracking, never the training.

    Args:
        title: Name of the tracker for people.
        tracker: Whom to tell.
        progress: Hears where to look, and what went wrong.
    """

    def __init__(self, title: str, tracker: Tracker, progress: Progress) -> None:
        self._title, self._tracker, self._progress = title, tracker, progress
        self._asked: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        # Not waited for when the program ends: whatever hangs there has had its time.
        self._thread = threading.Thread(target=self._work, name=f"tell {title}", daemon=True)

    def start(self, start: Start) -> None:
        """Begin to work, with what is known before the first step."""
        self.ask("begin", start)
        self._thread.start()

    def ask(self, what: str, told: Any) -> None:
        """Have a method of the tracker called; returns at once."""
        self._asked.put((what, told))

    def close(self, patience: float = PATIENCE) -> None:
        """Wait until everything was told, or for so many seconds."""
        if self._thread.ident is None:  # the run ended before it began to train
            return
        self._asked.put(None)
        begun = time.monotonic()
        told = False
        while self._thread.is_alive() and (took := time.monotonic() - begun) < patience:
            self._thread.join(_LOOK)
            if took > _SILENT and not told:
                told = True
                self._progress.note(f"Waiting for {self._title}; the run itself is safe.")
        if self._thread.is_alive():
            self._warn(f"it took more than {patience:g} seconds")

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            what, told = asked
            try:
                line = getattr(self._tracker, what)(told)
            except Exception as error:
                self._warn(" ".join(str(error).split()) or type(error).__name__)
                return
            if line:
                self._progress.note(line)

    def _warn(self, why: str) -> None:
        self._progress.warn(
            f"{self._title} hears no more of this run: {why}. The run itself is not affected."
        )
