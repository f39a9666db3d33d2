"""A decoder that does on purpose what decoders do by accident, for files that are named after it.

It is the real one of ``lucency.imaging.decoder.child`` with its limits, and crashes, hangs, wants more
memory than there is, ends or answers nonsense where a path, or the first bytes, say so.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

# What a name may say, and what is then to be said of the image.
FAILURES = {
    "segfault": "its decoder crashed (signal 11)",
    "abort": "its decoder crashed (signal 6)",
    "hang": "took longer than",
    "memory": "not enough memory",
    "exit": "its decoder ended (exit code 3)",
    "nonsense": "its decoder answered nonsense",
}


def command(deadline: float) -> list[str]:
    """Return what to give a ``DecoderPool`` as its command."""
    import lucency

    folder = Path(lucency.__path__[0]).parent
    return [sys.executable, __file__, str(deadline), str(folder)]


def _misbehave(source: str) -> None:
    if "segfault" in source:
        ctypes.string_at(0)
    if "abort" in source:
        os.abort()
    if "hang" in source:
        time.sleep(3600)
    if "memory" in source:
        bytearray(2**40)
    if "exit" in source:
        os._exit(3)


def main() -> None:
    sys.path.insert(0, sys.argv[2])
    from lucency.imaging.decoder import child

    honest = child._answer

    def answer(request: child.Request) -> child.Answer:
        given = request.source
        name = Path(given).name if isinstance(given, str) else given[:20].decode("latin-1")
        try:
            _misbehave(name)
        except MemoryError:
            return child.Answer(child.Outcome.PASSING, "", (0, 0), b"not enough memory to read it")
        said = honest(request)
        return said._replace(payload=bytes(said.payload) + b"!") if "nonsense" in name else said

    child._answer = answer
    child.main()


if __name__ == "__main__":
    main()
