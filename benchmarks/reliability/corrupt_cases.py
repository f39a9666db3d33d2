"""Cases of corrupt images, each with its expected outcome: used, or excluded with a reason."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.file_structure import saved
from benchmarks.reliability.corrupt_files import USED, drawn, files

IGNORED = "ignored"


@dataclasses.dataclass(frozen=True)
class Case:
    """A corrupt, special or oddly named image file.

    Attributes:
        name: The file name.
        make: Writes the file.
        outcome: ``USED``, ``IGNORED`` (not counted as an image) or words of the reason.
        requested: The outcome if this very file is requested, as ``predict`` does: then links are
            followed, and the name does not matter. Empty if it is the same.
    """

    name: str
    make: Callable[[Path], object]
    outcome: str
    requested: str = ""


def cases() -> list[Case]:
    """Return all cases; no two have the same content."""
    content = [Case(name, partial(_write, data), words) for name, (data, words) in files().items()]
    return [*content, *_file_types(), *_names()]


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _file_types() -> Iterator[Case]:
    """Yield directory entries that are not regular files, or not of a normal size."""
    regular = "not a regular file"
    yield Case("pipe.png", os.mkfifo, regular)
    yield Case("socket.png", _socket, regular, "cannot be read")
    yield Case("folder.png", Path.mkdir, IGNORED, regular)
    yield Case("link.png", partial(_link, "../b/valid 0.png"), "symbolic link", USED)
    yield Case("link to nothing.png", partial(_link, "nothing"), "symbolic link", "No such file")
    yield Case(
        "link to itself.png", partial(_link, "link to itself.png"), "symbolic link", "cannot be"
    )
    yield Case("link to a folder", partial(_link, "../b"), IGNORED, regular)
    yield Case("ten terabytes.png", _sparse, "at most")


def _names() -> Iterator[Case]:
    """Yield valid images with unusual names."""
    bad = "control characters or is not valid UTF-8"
    names = {
        os.fsdecode(b"caf\xe9.png"): bad,
        "two\nlines.png": bad,
        "bell\a.png": bad,
        "\x1b[31mred.png": bad,
        "\u2028line.png": bad,
        "\u202egnp.exe.png": USED,
        "x" * 251 + ".png": USED,
        '"><img src=x onerror=alert(1)>.png': USED,
        "--help.png": USED,
        "=1+1.PNG": USED,
        "肺 🫁.JPEG": USED,
        " .png": USED,
        ".hidden.png": IGNORED,
        "no suffix": USED,
        "notes.txt": USED,
    }
    for seed, (name, outcome) in enumerate(names.items(), 80):
        file_format = "JPEG" if re.search("(?i)jpe?g$", name) else "PNG"
        yield Case(name, partial(_write, saved(drawn(seed), file_format)), outcome, USED)


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**40)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:  # the full path is often longer than the 107 bytes of a socket's name
            server.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        finally:
            os.close(descriptor)
