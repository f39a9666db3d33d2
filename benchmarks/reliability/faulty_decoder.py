"""A decoder that fails on purpose, for files that are named after the failure.

It is the decoder of ``lucency.imaging.decoder.child`` with its limits. It crashes, hangs, needs
too much memory, exits or returns nonsense if the path, or the first bytes, say so.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

# What a name may contain, and the expected reason.
FAILURES = {
    "segfault": "its decoder crashed (signal 11)",
    "abort": "its decoder crashed (signal 6)",
    "hang": "took longer than",
    "memory": "not enough memory",
    "exit": "its decoder ended (exit code 3)",
    "nonsense": "its decoder sent an invalid response",
}


def command(deadline: float, *, preload: bool = False) -> list[str]:
    """Return the command for a ``DecoderPool``; it imports nothing before it is ready."""
    del preload
    import lucency

    folder = Path(lucency.__path__[0]).parent
    return [sys.executable, __file__, str(deadline), str(folder)]


def _fail(source: str) -> None:
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

    decode = child._respond

    def failing(request: child.Request) -> child.Response:
        given = request.source
        name = Path(given).name if isinstance(given, str) else given[:20].decode("latin-1")
        try:
            _fail(name)
        except MemoryError:
            return child.Response(
                child.Outcome.TRANSIENT, "", (0, 0), b"not enough memory to read it"
            )
        found = decode(request)
        nonsense = bytes(found.payload) + b"!"
        return found._replace(payload=nonsense) if "nonsense" in name else found

    child._respond = failing
    child.main()


if __name__ == "__main__":
    main()
