"""How long steps tell what they are doing, without knowing who listens."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Task:
    """One long step under way; a context manager."""

    def advance(self, steps: int = 1, **facts: float) -> None:
        """Count ``steps`` more as done, with figures worth showing (loss, images per second)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class Progress:
    """Hears of steps, notes and warnings; this one says nothing.

    The command line hands in a subclass that draws bars or prints lines.
    """

    def task(self, name: str, total: int, unit: str = "") -> Task:  # noqa: ARG002
        """Begin a step called ``name`` of ``total`` units ("files", "steps")."""
        return Task()

    def note(self, line: str) -> None:
        """Say something worth knowing."""

    def warn(self, line: str) -> None:
        """Say something that the user should act on."""


SILENT = Progress()
