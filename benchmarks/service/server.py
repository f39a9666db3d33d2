"""``lucency serve`` in its own process, observed from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

import numpy as np

from benchmarks.command import ROOT, resident
from benchmarks.reliability.hostile.sample_run import SIDE, network
from lucency.classifier import Classifier, ReferenceImages, Spec


class Server:
    """``lucency serve`` on a free port, or another module that prints "on ADDRESS"."""

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
        """Its running child processes."""
        done = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [*map(int, done.stdout.split())]

    @property
    def rss(self) -> float:
        """Its resident memory in MiB, without its children."""
        return resident(self.pid)

    @property
    def files(self) -> int:
        """Its open file descriptors."""
        return len([*Path(f"/proc/{self.pid}/fd").iterdir()])

    @property
    def threads(self) -> int:
        return len([*Path(f"/proc/{self.pid}/task").iterdir()])

    def errors(self) -> str:
        """Return its standard error."""
        return os.pread(self.log.fileno(), 2**24, 0).decode(errors="replace")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for its end; return its exit code."""
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
            for line in self.errors().splitlines():
                if "on http://" in line:
                    return int(line.rpartition(":")[2].strip("/ \n"))
            if self._process.poll() is not None:
                raise RuntimeError(f"the service did not start: {self.errors()}")
            time.sleep(0.05)
        raise RuntimeError("the service did not start in 30 s")


def write_tiny(run: Path, slope: float = 8.0, *, broken: bool = False) -> Path:
    """Write a run folder whose network uses only the mean grey level of 8 x 8 pixels."""
    spec = Spec(
        classes=("dark", "light"), positive="light", size=(SIDE, SIDE), channels=1,
        architecture="default", network_channels=1, parameters={"width": 1, "blocks": [1]},
    )  # fmt: skip
    weights = {"w": np.full(spec.weight_count, slope, np.float32)}
    classifier = Classifier(spec, weights, network(slope=slope).SerializeToString())
    pixels = np.arange(4 * SIDE * SIDE, dtype=np.uint8).reshape(4, SIDE, SIDE, 1)
    outputs = classifier.predict_pixels(pixels).astype(np.float32)
    classifier.reference_images = ReferenceImages(pixels, 1 - outputs if broken else outputs)
    classifier.save(run)
    return run
