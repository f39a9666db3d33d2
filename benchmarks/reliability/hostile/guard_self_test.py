"""Self-test of the process guard: forbidden actions, which it must report."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from onnx import helper, numpy_helper

from benchmarks.reliability.hostile import process_guard
from benchmarks.reliability.hostile.sample_run import CLASSES, SIDE, Case, network

Complaints = Callable[[Case, process_guard.Outcome], list[str]]


def _open_in_compiled_code(canary: Path) -> None:
    import onnxruntime

    with contextlib.suppress(Exception):  # it is not an ONNX file, but it was opened
        onnxruntime.InferenceSession(str(canary), providers=["CPUExecutionProvider"])


def _connect(_: Path) -> None:
    with contextlib.suppress(OSError):  # no server listens there
        urllib.request.urlopen("http://127.0.0.1:9")


def _execute(canary: Path) -> None:
    exec(compile("x = 1", str(canary), "exec"), {})  # noqa: S102 - must be reported


def _compute(_: Path) -> None:
    end = time.process_time() + 2.5
    while time.process_time() < end:
        pass


# An action, and how its complaint begins.
ACTIONS: Sequence[tuple[Callable[[Path], object], str]] = (
    (lambda canary: canary.read_text(), "open "),
    (lambda canary: np.fromfile(canary, np.uint8), "opened "),
    (_open_in_compiled_code, "opened "),
    (_connect, "socket."),
    (_execute, "exec "),
    (lambda _: os.system("true"), "os.system"),  # noqa: S605 - must be reported
    (lambda canary: canary.unlink(), "os.remove"),
    (lambda _: __import__("h5py"), "import h5py"),
    (lambda _: np.ones(2**25).sum(), "took 2"),  # 256 MiB
    (lambda _: os.kill(os.getpid(), 9), "ended with None"),
    (lambda _: time.sleep(10), "took 2.5 s"),
    (_compute, "took 2.5 s"),
)


def unreported(folder: Path, complaints: Complaints) -> tuple[int, list[str]]:
    """Run all actions; return their number, and those that were not reported."""
    canary, missed = folder / "secret", []
    case = Case("self-test", lambda *_: None, "--help")
    for number, (action, expected) in enumerate(ACTIONS):
        canary.write_text("no process may read this")
        outcome = process_guard.guarded(["--help"], _bound(action, canary), [], [canary])
        found = complaints(case, outcome)
        if not any(line.startswith(f"self-test: {expected}") for line in found):
            missed.append(f"action {number} ({expected}) was not reported, but {found[:3]}")
    return len(ACTIONS), missed


def _bound(action: Callable[[Path], object], canary: Path) -> Callable[[], object]:
    return lambda: action(canary)


def unbounded() -> list[str]:
    """Skip the check of a bomb; return what ONNX Runtime's memory limit did not prevent."""
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

    outcome = process_guard.guarded(["--help"], use, [], [])
    found = []
    if not outcome.raised.startswith(ClassifierError.__name__) or "memory" not in outcome.raised:
        found.append(f"a bomb of 1 GiB ended with {outcome.raised or 'a prediction'}")
    if outcome.growth > 64:
        found.append(f"a bomb of 1 GiB took {outcome.growth:.0f} MiB")
    return found
