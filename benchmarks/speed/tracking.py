"""What TensorBoard and MLflow add to a training, and a classifier served by MLflow.

The same training without and with a tracker, in turns: seconds per epoch (median) and of the whole
command. MLflow's store is new every time, which is its slowest case. Then ``mlflow models serve``
is started and receives images one at a time.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.command import ROOT
from benchmarks.results import Figure, Skipped, ratio, seconds
from benchmarks.sample_images import copy_images

_TRACKERS = ("", "tensorboard", "mlflow")
_MOST = 1.02  # times the seconds without a tracker
_TIMEOUT = 120  # seconds until the server responds


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    for name in ("keras", "tensorboard", "mlflow"):
        if not importlib.util.find_spec(name):
            raise Skipped(f"{name} is not installed")
    rounds, epochs, requests = (1, 3, 2) if quick else (5, 12, 20)
    with TemporaryDirectory() as temporary:
        here = Path(temporary)
        folder = copy_images(files, here / "radiographs")
        _train(here / "first", folder, "", 1)  # decodes and compiles
        spent: dict[str, list[tuple[float, float]]] = {tracker: [] for tracker in _TRACKERS}
        for number in range(rounds):
            for tracker in _TRACKERS:
                place = here / f"{tracker or 'alone'}-{number}"
                spent[tracker].append(_train(place, folder, tracker, epochs))
        figures = _compared(spent, len(files))
        return figures + _serve_with_mlflow(here / "mlflow-0", [*folder.rglob("*.*")][:requests])


def _train(place: Path, folder: Path, tracker: str, epochs: int) -> tuple[float, float]:
    """Return seconds of an epoch (median) and of the command."""
    place.mkdir()
    command = [
        sys.executable, "-c", "from lucency.cli import main; main()", "train", str(folder),
        "--effort", "quick", "--set", f"epochs={epochs}", "--run", "run", "--quiet",
        "--folds", "0", "--on-leak", "ignore", "--cache", str(place.parent / "cache"),
        "--set", f"track={tracker}",
    ]  # fmt: skip
    took = seconds(lambda: subprocess.run(command, check=True, capture_output=True, cwd=place,
                                          env=_environment()))  # fmt: skip
    plan = json.loads((place / "runs/run/plan.json").read_text())
    return statistics.median(row["seconds"] for row in plan["epochs"]), took


def _environment() -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    found = os.environ.get("PYTHONPATH", "")
    return {**own, "PYTHONPATH": f"{ROOT / 'src'}:{found}", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _compared(spent: dict[str, list[tuple[float, float]]], n: int) -> list[Figure]:
    figures = []
    for place, what in enumerate(("an epoch", "the command")):
        alone = Figure(f"{what}, no tracker", "s", [each[place] for each in spent[""]], n)
        figures.append(alone)
        for tracker in _TRACKERS[1:]:
            tracked = Figure(f"{what}, {tracker}", "s", [each[place] for each in spent[tracker]], n)
            factor = ratio(f"{what}: {tracker} / none", tracked, alone)
            most = _MOST if what == "an epoch" else None
            figures += [tracked, Figure(factor.name, "x", factor.values, n, most=most)]
    return figures


def _serve_with_mlflow(place: Path, files: Sequence[Path]) -> list[Figure]:
    """Send images to MLflow's own server, and compare with the classifier itself."""
    from lucency import Classifier

    expected = Classifier.load(place / "runs/run").predict(files)
    apart, took = [], []
    with _server(place) as address:
        for file, prediction in zip(files, expected, strict=True):
            text = base64.b64encode(file.read_bytes()).decode()
            start = time.perf_counter()
            (output,) = _post(address, {"inputs": [text]})
            took.append(1000 * (time.perf_counter() - start))
            if (output["decision"] or "") != prediction.decision:
                raise RuntimeError(f"{file}: {output} is not {prediction}")
            served = (output["probabilities"] or {}).values()
            pairs = zip(served, prediction.probabilities, strict=True)
            apart += [abs(a - b) for a, b in pairs]
    return [
        Figure("mlflow models serve, one image", "ms", took, len(files)),
        Figure("largest difference from Classifier", "", [max(apart)], len(files), most=1e-6),
    ]


@contextlib.contextmanager
def _server(place: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/radiographs/1",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    own = Path(sys.executable).parent  # where MLflow expects uvicorn
    given = _environment() | {
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "PATH": f"{own}:{os.environ['PATH']}",
    }  # fmt: skip
    server = subprocess.Popen(command, cwd=place, env=given, start_new_session=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        _await(address)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _await(address: str) -> None:
    end = time.monotonic() + _TIMEOUT
    while True:
        try:
            with urllib.request.urlopen(f"{address}/ping"):  # noqa: S310 - our own
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _post(address: str, document: object) -> list[dict[str, object]]:
    request = urllib.request.Request(  # noqa: S310 - our own
        f"{address}/invocations",
        json.dumps(document).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        return list(json.load(response)["predictions"])
