"""Kinds of bad image, each with what is to become of it: used, or set aside with these words."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.bad_files import USED, files, image
from benchmarks.parts import saved

IGNORED = "ignored"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of bad image.

    Attributes:
        name: Of the file.
        make: Writes it.
        outcome: ``USED``, ``IGNORED`` (not counted as an image) or words of the reason.
        asked: The same where somebody asks for this very file, as ``predict`` does; links are
            followed then, and names do not matter. Empty where it is the same.
    """

    name: str
    make: Callable[[Path], object]
    outcome: str
    asked: str = ""


def kinds() -> list[Kind]:
    """Return every kind; no two of them look alike."""
    content = [Kind(name, partial(_write, data), words) for name, (data, words) in files().items()]
    return [*content, *_places(), *_names()]


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _places() -> Iterator[Kind]:
    """Yield what a directory entry may be but a file of its own."""
    regular = "not a regular file"
    yield Kind("pipe.png", os.mkfifo, regular)
    yield Kind("socket.png", _socket, regular, "cannot be read")
    yield Kind("folder.png", Path.mkdir, IGNORED, regular)
    yield Kind("link.png", partial(_link, "../b/good 0.png"), "symbolic link", USED)
    yield Kind("link to nothing.png", partial(_link, "nothing"), "symbolic link", "No such file")
    yield Kind(
        "link to itself.png", partial(_link, "link to itself.png"), "symbolic link", "cannot be"
    )
    yield Kind("link to a folder", partial(_link, "../b"), "symbolic link", regular)
    yield Kind("ten terabytes.png", _sparse, "at most")


def _names() -> Iterator[Kind]:
    """Yield sound images under names that are not."""
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
        "no suffix": IGNORED,
        "notes.txt": IGNORED,
    }
    for seed, (name, outcome) in enumerate(names.items(), 80):
        kind = "JPEG" if re.search("(?i)jpe?g$", name) else "PNG"
        yield Kind(name, partial(_write, saved(image(seed), kind)), outcome, USED)


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 2**40)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:  # the full path is often longer than the 107 bytes that a socket's name may have
            server.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        finally:
            os.close(descriptor)
