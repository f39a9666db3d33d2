"""The service under load, in a process of its own, watched from outside."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.child import ROOT
from lucency.classifier import Classifier, ReferenceImages, Spec

TINY = 8  # pixels on a side
_PAGE = resource.getpagesize()


class Served:
    """``lucency serve`` on a free port, or another module that says "on ADDRESS" likewise."""

    def __init__(
        self, run: Path, *options: str, module: str = "", temporary: Path | None = None
    ) -> None:
        command = ["-m", module] if module else ["-c", "from lucency.cli import main; main()"]
        place = [str(run)] if module else ["serve", str(run), "--port", "0"]
        self.log: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed with the service
        self._process = subprocess.Popen(
            [sys.executable, *command, *place, *options],
            stderr=self.log, stdout=subprocess.DEVNULL, cwd=ROOT,
            env=os.environ | ({"TMPDIR": str(temporary)} if temporary else {}),
        )  # fmt: skip
        self.port = self._listening()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """Processes that it has started and that run."""
        done = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [*map(int, done.stdout.split())]

    @property
    def rss(self) -> float:
        """Resident memory in MiB, without its children's."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * _PAGE / 2**20

    @property
    def files(self) -> int:
        """Open file descriptors."""
        return len([*Path(f"/proc/{self.pid}/fd").iterdir()])

    @property
    def threads(self) -> int:
        return len([*Path(f"/proc/{self.pid}/task").iterdir()])

    def said(self) -> str:
        """Return what it wrote to standard error."""
        return os.pread(self.log.fileno(), 2**24, 0).decode(errors="replace")

    def tell(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self, seconds: float) -> int:
        """Return its exit code."""
        return self._process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(45)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.log.close()

    def _listening(self) -> int:
        for _ in range(600):
            for line in self.said().splitlines():
                if "on http://" in line:
                    return int(line.rpartition(":")[2].strip("/ \n"))
            if self._process.poll() is not None:
                raise RuntimeError(f"the service did not start: {self.said()}")
            time.sleep(0.05)
        raise RuntimeError("the service did not start in 30 s")


def write_tiny(run: Path, slope: float = 8.0, *, broken: bool = False) -> Path:
    """Write a run folder whose network only looks at the mean grey level of 8 x 8 pixels."""
    spec = Spec(
        classes=("dark", "light"), positive="light", size=(TINY, TINY), channels=1,
        architecture="default", network_channels=1, parameters={"width": 1, "blocks": [1]},
    )  # fmt: skip
    weights = {"w": np.full(spec.weight_count, slope, np.float32)}
    classifier = Classifier(spec, weights, _brightness(slope))
    pixels = np.arange(4 * TINY * TINY, dtype=np.uint8).reshape(4, TINY, TINY, 1)
    said = classifier.predict_pixels(pixels).astype(np.float32)
    classifier.reference_images = ReferenceImages(pixels, 1 - said if broken else said)
    classifier.save(run)
    return run


def _brightness(slope: float) -> bytes:
    arrays = {
        "axes": np.array([1, 2], np.int64),
        "slope": np.array([[-slope / 2, slope / 2]], np.float32) / 255,
        "middle": np.array([[slope / 4, -slope / 4]], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["raw", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "middle"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    values = [
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", TINY, TINY, 1]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
    ]
    graph = helper.make_graph(
        nodes, "brightness", values[:1], values[1:],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    opset = helper.make_opsetid("", 18)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString())
