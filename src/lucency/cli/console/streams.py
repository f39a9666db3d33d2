"""Standard output and standard error, which may be closed, full, broken or without Unicode.

A result that cannot be printed is an error. A message that cannot be printed is lost, and the work
continues: a training of hours must not end because nobody reads its progress.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

# Signs of our own texts, where the encoding of the output lacks them.
_PLAIN = {
    "\u2212": "-",
    "\u2026": "...",
    "\u2192": "->",
    "\u00d7": "x",
    "\u00b1": "+-",
    "\u00b7": "-",
}


class OutputError(Exception):
    """Standard output cannot be written. No OSError, as libraries end the program at a broken pipe.

    Attributes:
        broken: Whether it is a pipe into a program that has ended.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"The result cannot be printed: standard output cannot be written ({error.strerror}). "
            "Files that the command writes are complete."
        )
        self.broken = error.errno == errno.EPIPE


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Make standard output and standard error safe to write to while the block runs.

    In the block, what is printed raises ``OutputError`` where it cannot be written.
    """
    codecs.register_error("lucency", _escaped)
    _occupy()
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _safe(out, _Stream(1)), _safe(err, _Stream(2, lossy=True))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        sys.stdout, sys.stderr = out, err


def discard_output() -> None:
    """Write what is left of a result nowhere, as it would fail again when the program ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _occupy() -> None:
    """Open the null device in the place of closed standard streams.

    Otherwise the next file to be opened would get the number of the stream, and messages of
    compiled libraries would be written into it.
    """
    for number, access in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, access)  # output that can only be read: writing fails
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _safe(stream: TextIO | None, safe: _Stream) -> TextIO:
    """Return a stream in the same encoding whose errors are handled; others stay as they are."""
    if stream is None:  # closed when Python started
        return io.TextIOWrapper(io.BufferedWriter(safe), "utf-8", "lucency", line_buffering=True)
    if not isinstance(stream, io.TextIOWrapper):  # as in tests
        return stream
    errors = stream.errors if stream.errors == "surrogateescape" else "lucency"
    raw = getattr(stream.buffer, "raw", stream.buffer)  # the same with PYTHONUNBUFFERED
    if isinstance(raw, io.FileIO) and raw.fileno() == safe.fileno():
        with contextlib.suppress(OSError):
            stream.flush()
        by_line = stream.line_buffering or stream.write_through
        buffer = io.BufferedWriter(safe)
        return io.TextIOWrapper(buffer, stream.encoding, errors, line_buffering=by_line)
    with contextlib.suppress(OSError, ValueError):  # closed already
        stream.reconfigure(errors=errors)
    return stream


class _Stream(io.RawIOBase):
    """A file descriptor that another program may have made non-blocking.

    Args:
        number: Of the descriptor.
        lossy: Whether what cannot be written is lost; otherwise it raises ``OutputError``.
    """

    def __init__(self, number: int, *, lossy: bool = False) -> None:
        self._number, self._lossy = number, lossy

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:
                select.select([], [self._number], [])
            except OSError as error:
                if not self._lossy:
                    raise OutputError(error) from error
                return len(data)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Write what a stream cannot encode as an escape sequence or a plain sign, never as an error.

    Streams need not be UTF-8: a Windows code page where output goes to a file, ISO-8859-1 on old
    systems. File names may hold bytes that are no text at all.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = (_PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text)
    return "".join(plain), error.end
