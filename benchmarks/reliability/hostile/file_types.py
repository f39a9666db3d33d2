"""Links, pipes, sockets, folders and sparse files in place of the files of a run."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.reliability.hostile.sample_run import PREDICT, REDRAW, Case

_CLASSIFIER = ("classifier.json", "weights.safetensors", "model.onnx", "ood_detector.safetensors")
# The commands that read the other files.
_OTHERS = {
    **dict.fromkeys(("predictions.csv", "split.csv", "subgroups.csv"), "evaluate"),
    **dict.fromkeys(("plan.json", "evaluation.json", "audit.json", "history.csv"), REDRAW),
    **dict.fromkeys(("test_evaluations.json", "robustness.json"), REDRAW),
}


def cases() -> Iterator[Case]:
    for name in (*_CLASSIFIER, *_OTHERS):
        command = _OTHERS.get(name, PREDICT)
        yield Case(f"{name} is a link to another file", _link(name), command)
        yield Case(f"{name} is a pipe", _replaced(name, os.mkfifo), command)
    for name in _CLASSIFIER:
        yield Case(f"{name} is a folder", _replaced(name, Path.mkdir))
        yield Case(f"{name} is a socket", _replaced(name, _socket))
        yield Case(f"{name} is a link to /dev/zero", _device(name))
        yield Case(f"{name} is 8 GiB of zeros", _sparse(name, 2**33))
        yield Case(f"{name} is empty", _sparse(name, 0))
        yield Case(f"{name} is a broken link", _broken_link(name))
    for name in ("evaluation.json", "predictions.csv", "split.csv"):
        yield Case(f"{name} is 8 GiB of zeros", _sparse(name, 2**33), _OTHERS[name])
    yield Case("images is a link to another folder", _images, REDRAW)


def _link(name: str) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, canary: Path) -> None:
        if (run / name).exists():  # the correct content, in the target of the link
            content = (run / name).read_bytes()
            (run / name).unlink()
        else:
            content = b'{"format": 2}' if name.endswith("json") else b"file,sex\na.png,f\n"
        canary.write_bytes(content)
        (run / name).symlink_to(canary)

    return corrupt


def _replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, _: Path) -> None:
        (run / name).unlink(missing_ok=True)
        make(run / name)

    return corrupt


def _device(name: str) -> Callable[[Path, Path], None]:
    return _replaced(name, lambda path: path.symlink_to("/dev/zero"))


def _broken_link(name: str) -> Callable[[Path, Path], None]:
    return _replaced(name, lambda path: path.symlink_to("/nonexistent/file"))


def _sparse(name: str, size: int) -> Callable[[Path, Path], None]:
    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return _replaced(name, make)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is limited to 108 characters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _images(run: Path, canary: Path) -> None:
    (canary.parent / "index.json").write_text('{"format": 2, "images": []}')
    (run / "images").symlink_to(canary.parent)
