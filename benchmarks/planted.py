"""Is the watch awake? Deeds that it must see, each done on purpose in a watched process."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from onnx import helper, numpy_helper

from benchmarks import sandbox
from benchmarks.kind import Kind
from benchmarks.victim import CLASSES, SIDE, network

Judge = Callable[[Kind, sandbox.Outcome], list[str]]


def _opened_by_compiled_code(canary: Path) -> None:
    import onnxruntime

    with contextlib.suppress(Exception):  # it is no ONNX, but it was opened
        onnxruntime.InferenceSession(str(canary), providers=["CPUExecutionProvider"])


def _called(_: Path) -> None:
    with contextlib.suppress(OSError):  # nobody listens there
        urllib.request.urlopen("http://127.0.0.1:9")


def _executed(canary: Path) -> None:
    exec(compile("x = 1", str(canary), "exec"), {})  # noqa: S102 - what is to be seen


# What is done, and how the complaint about it begins.
DEEDS: Sequence[tuple[Callable[[Path], object], str]] = (
    (lambda canary: canary.read_text(), "open "),
    (lambda canary: np.fromfile(canary, np.uint8), "opened "),
    (_opened_by_compiled_code, "opened "),
    (_called, "socket."),
    (_executed, "exec "),
    (lambda _: os.system("true"), "os.system"),  # noqa: S605 - what is to be seen
    (lambda canary: canary.unlink(), "os.remove"),
    (lambda _: __import__("h5py"), "import h5py"),
    (lambda _: np.ones(2**25).sum(), "took 2"),  # 256 MiB
    (lambda _: os.kill(os.getpid(), 9), "ended with None"),
    (lambda _: __import__("time").sleep(2.5), "took 2.5 s"),
)


def unseen(folder: Path, judge: Judge) -> tuple[int, list[str]]:
    """Do all deeds, and return how many there are and which were not complained of."""
    canary, missed = folder / "secret", []
    kind = Kind("planted", lambda *_: None, "--help")
    for number, (deed, expected) in enumerate(DEEDS):
        canary.write_text("nobody may read this")
        outcome = sandbox.watched(["--help"], _bound(deed, canary), [], [canary])
        found = judge(kind, outcome)
        if not any(line.startswith(f"planted: {expected}") for line in found):
            missed.append(f"deed {number} ({expected}) was not seen, but {found[:3]}")
    return len(DEEDS), missed


def _bound(deed: Callable[[Path], object], canary: Path) -> Callable[[], object]:
    return lambda: deed(canary)


def unbounded() -> list[str]:
    """Let a bomb past the look at its shapes, and return what ONNX Runtime's limit let happen."""
    from lucency.classifier import Spec
    from lucency.classifier.onnx import session
    from lucency.classifier.onnx.cost import Needs
    from lucency.errors import ClassifierError

    node = helper.make_node
    bomb = network(
        node("ConstantOfShape", ["shape"], ["big"]), node("ReduceMax", ["big"], ["m"], keepdims=0),
        node("Add", ["logits", "m"], ["x"]), last="x",
        weights=(numpy_helper.from_array(np.array([2**28]), "shape"),),
    ).SerializeToString()  # fmt: skip
    spec = Spec(
        classes=CLASSES, positive=None, size=(SIDE, SIDE), channels=1, architecture="default",
        network_channels=1, parameters={},
    )  # fmt: skip

    def use() -> None:
        pixels = np.zeros((1, SIDE, SIDE, 1), np.uint8)
        with patch.object(session, "check_graph", lambda *_: Needs(100, 0, 100, 1.0, {})):
            session.Session(bomb, spec).run(["probabilities"], pixels)

    outcome = sandbox.watched(["--help"], use, [], [])
    found = []
    if not outcome.raised.startswith(ClassifierError.__name__) or "memory" not in outcome.raised:
        found.append(f"a bomb of 1 GiB ended with {outcome.raised or 'an answer'}")
    if outcome.growth > 64:
        found.append(f"a bomb of 1 GiB took {outcome.growth:.0f} MiB")
    return found
