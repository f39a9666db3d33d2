"""Progress of long steps, independent of how it is shown."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Task:
    """One long step in progress; a context manager."""

    def advance(self, steps: int = 1, **facts: float) -> None:
        """Count ``steps`` more as done, with figures to show (loss, images per second)."""

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
    """Callbacks for steps, notes and warnings; this class does nothing.

    The command line passes a subclass that draws bars or prints lines.
    """

    def task(self, name: str, total: int, unit: str = "") -> Task:  # noqa: ARG002
        """Start a step called ``name`` of ``total`` units ("files", "steps")."""
        return Task()

    def note(self, line: str) -> None:
        """Show a line for information."""

    def warn(self, line: str) -> None:
        """Show a line that asks for action."""


SILENT = Progress()
