"""Hostile things in the place of a file: links, pipes, sockets, folders, gigabytes of nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.reliability.hostile.sample_run import PREDICT, Kind

_CLASSIFIER = ("classifier.json", "weights.safetensors", "model.onnx", "ood_detector.safetensors")
# Who reads the other files.
_OTHERS = {
    "plan.json": "verify --redraw", "evaluation.json": "verify --redraw", "predictions.csv": "evaluate",
    "split.csv": "evaluate", "subgroups.csv": "evaluate", "audit.json": "verify --redraw",
    "history.csv": "verify --redraw", "test_evaluations.json": "verify --redraw", "robustness.json": "verify --redraw",
}  # fmt: skip


def kinds() -> Iterator[Kind]:
    for name in (*_CLASSIFIER, *_OTHERS):
        command = _OTHERS.get(name, PREDICT)
        yield Kind(f"{name} is a link to another file", _link(name), command)
        yield Kind(f"{name} is a pipe", _replaced(name, os.mkfifo), command)
    for name in _CLASSIFIER:
        yield Kind(f"{name} is a folder", _replaced(name, Path.mkdir))
        yield Kind(f"{name} is a socket", _replaced(name, _socket))
        yield Kind(f"{name} is a link to /dev/zero", _device(name))
        yield Kind(f"{name} is 8 GiB of nothing", _sparse(name, 2**33))
        yield Kind(f"{name} is empty", _sparse(name, 0))
        yield Kind(f"{name} is a link to nothing", _dangling(name))
    for name in ("evaluation.json", "predictions.csv", "split.csv"):
        yield Kind(f"{name} is 8 GiB of nothing", _sparse(name, 2**33), _OTHERS[name])
    yield Kind("images is a link to another folder", _images, "verify --redraw")


def _link(name: str) -> Callable[[Path, Path], None]:
    def spoil(run: Path, canary: Path) -> None:
        if (run / name).exists():  # the right content, at the other end of the link
            content = (run / name).read_bytes()
            (run / name).unlink()
        else:
            content = b'{"format": 2}' if name.endswith("json") else b"file,sex\na.png,f\n"
        canary.write_bytes(content)
        (run / name).symlink_to(canary)

    return spoil


def _replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path, Path], None]:
    def spoil(run: Path, _: Path) -> None:
        (run / name).unlink(missing_ok=True)
        make(run / name)

    return spoil


def _device(name: str) -> Callable[[Path, Path], None]:
    return _replaced(name, lambda path: path.symlink_to("/dev/zero"))


def _dangling(name: str) -> Callable[[Path, Path], None]:
    return _replaced(name, lambda path: path.symlink_to("/nonexistent/file"))


def _sparse(name: str, size: int) -> Callable[[Path, Path], None]:
    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return _replaced(name, make)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may only have 108 characters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _images(run: Path, canary: Path) -> None:
    (canary.parent / "index.json").write_text('{"format": 2, "images": []}')
    (run / "images").symlink_to(canary.parent)
