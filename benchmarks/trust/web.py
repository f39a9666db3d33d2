"""The page that computes in the browser, beside ``predict``: equal predictions, and how fast.

The default network at 64 and at 224 x 224 pixels, on real radiographs: native ones (1.4 megapixels)
and, if present, those of 224 pixels. ``python -m http.server`` serves the page to Chromium, which
uses one thread, as a plain web server does not allow more.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import LUCENCY, run
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY, NATIVE, copy_images, images
from lucency.classifier import ABSTAIN, Classifier
from lucency.errors import BackendError
from lucency.export.web import TOLERANCE, write_web

SIDES = (64, 224)
_TIE = 1e-6  # of a probability or an OOD score
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PREDICT = """async (text) => {
  const { connect } = await import("/page/engine.js");
  globalThis.engine ??= await connect();
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const start = performance.now();
  const prediction = await engine.predict(new File([bytes], "image"));
  return [prediction, performance.now() - start];
}"""


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    chromium = os.environ.get("LUCENCY_CHROMIUM") or next(
        filter(None, map(shutil.which, _NAMES)), None
    )
    for found, reason in (
        (importlib.util.find_spec("keras"), "Keras is not installed"),
        (importlib.util.find_spec("playwright"), "Playwright is not installed"),
        (chromium, "there is no Chromium; name one in $LUCENCY_CHROMIUM"),
    ):
        if not found:
            raise Skipped(reason)
    figures: list[Figure] = []
    with TemporaryDirectory() as temporary:
        folder = copy_images(files, Path(temporary) / "images")
        for side in SIDES:
            trained = Path(temporary) / f"run-{side}"
            options = ("--set", "epochs=2", "--set", f"size={side}", "--folds", "0", "--quiet")
            places = ("--run", str(trained), "--cache", f"{temporary}/cache")
            run(LUCENCY, "train", str(folder), *options, *places)
            figures += _of_run(side, trained, _collections(5 if quick else 50), str(chromium))
    return figures


def _collections(per_class: int) -> dict[str, list[Path]]:
    folders = {"1.4 MP radiographs": NATIVE, "224 px radiographs": CHEST_XRAY / "train"}
    return {name: images(at, per_class) for name, at in folders.items() if at.is_dir()}


def _of_run(side: int, trained: Path, files: dict[str, list[Path]], chromium: str) -> list[Figure]:
    classifier = Classifier.load(trained)
    try:
        site = write_web(trained, classifier, trained.with_name(f"site-{side}"))
    except BackendError as error:
        raise Skipped(str(error)) from error
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    figures = [Figure(f"{side} px: the folder", "MB", [size / 1e6], 1)]
    with _served(site) as address, _opened(chromium) as page:
        start = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("#input:not([hidden])")
        ready = time.perf_counter() - start
        figures.append(Figure(f"{side} px: until the page is ready", "s", [ready], 1, most=10))
        for name, found in files.items():
            figures += _compared(f"{side} px, {name}", classifier, page, found)
    return figures


def _compared(name: str, classifier: Classifier, page: Any, files: list[Path]) -> list[Figure]:
    classes = classifier.classes
    predictions = [each.to_json(classes) for each in classifier.predict(files)]
    apart, equal, taken = 0.0, 0, []
    for file, expected in zip(files, predictions, strict=True):
        text = base64.b64encode(file.read_bytes()).decode()
        found, milliseconds = page.evaluate(_PREDICT, text)
        ours, theirs = found["probabilities"], expected["probabilities"]
        apart = max(apart, *(abs(ours[key] - theirs[key]) for key in classes))
        equal += _at_an_edge(classifier, expected) or all(
            found[key] == expected[key] for key in ("decision", "reason", "prediction_set")
        )
        taken.append(milliseconds)
    n = len(files)
    return [
        Figure(f"{name}: largest difference of a probability", "", [apart], n, most=TOLERANCE),
        Figure(f"{name}: equal class, reason and prediction set", "", [equal / n], n, least=1),
        Figure(f"{name}: an image in the browser", "ms", [statistics.median(taken)], n),
    ]


def _at_an_edge(classifier: Classifier, prediction: Mapping[str, Any]) -> bool:
    """Whether rounding decides: validation images lie exactly on the thresholds that they set."""
    rule = classifier.conformal.deciding(*ABSTAIN) if classifier.conformal else None
    edges = [classifier.threshold, 1 - classifier.threshold]
    edges += [1 - score for score in rule.scores] if rule else []
    near = any(abs(p - edge) < _TIE for p in prediction["probabilities"].values() for edge in edges)
    return near or (prediction["ood_score"] is not None and abs(prediction["ood_score"] - 1) < _TIE)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = (sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--directory", str(folder)], **quiet) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


@contextmanager
def _opened(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser.new_page()
        browser.close()
