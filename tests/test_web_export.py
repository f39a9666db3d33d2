"""The folder of a page that predicts in the browser: its files and its predictions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lucency.classifier import Classifier, ReferenceImages
from lucency.errors import BackendError, ClassifierError, RunError
from lucency.export import web
from lucency.export.synthetic_images import synthetic_images
from web_browser import browser, packed, served, without_others
from web_images import drawn, file_of
from web_sites import SIZE, classifier, labelled, write

THREE = ("dark", "light", "<b>both</b>")
PREDICT = """async (files) => {
  const { connect } = await import("/page/engine.js");
  globalThis.engine ??= await connect();
  const one = async (text) => {
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    try {
      return await engine.predict(new File([bytes], "image"));
    } catch (error) {
      return { error: error.message };
    }
  };
  return Promise.all(files.map(one));
}"""


@pytest.fixture
def vendored() -> None:
    if not all((web.VENDOR / name).is_file() for name in web.VENDORED):
        pytest.skip("ONNX Runtime for browsers is not here: run `make vendor`, which needs npm")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replace ONNX Runtime for tests without a browser."""
    (tmp_path / "vendor").mkdir()
    for name in web.VENDORED:
        (tmp_path / "vendor" / name).write_text("/*! ONNX Runtime Web v9.9.9 */")
    monkeypatch.setattr(web, "VENDOR", tmp_path / "vendor")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


def images() -> list[bytes]:
    rng = np.random.default_rng(0)
    sizes = ((200, 150), (40, 90), (20, 24), (300, 301))
    images = [drawn(rng, *size, mode) for size in sizes for mode in ("L", "RGB")]
    kinds = ("JPEG", "PNG")
    return [file_of(image, kind) for image in images for kind in kinds]


def test_without_onnx_runtime_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "VENDOR", tmp_path / "none")
    run = write(tmp_path / "run")
    with pytest.raises(BackendError, match="make vendor"):
        web.write_web(run, Classifier.load(run), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("runtime")
def test_a_classifier_without_onnx_is_refused(tmp_path: Path) -> None:
    made = classifier(("dark", "light"), 1)
    made.onnx = None
    with pytest.raises(ClassifierError, match="no ONNX file"):
        web.write_web(tmp_path, made, tmp_path / "out")


@pytest.mark.usefixtures("runtime")
def test_only_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    run, out = write(tmp_path / "run"), tmp_path / "out"
    made = Classifier.load(run)
    web.write_web(run, made, out)
    with pytest.raises(RunError, match="exists already"):
        web.write_web(run, made, out)
    (out / "old").touch()
    web.write_web(run, made, out, force=True)
    assert not (out / "old").exists()
    (out / "certificate.json").unlink()
    with pytest.raises(RunError, match="not an earlier export"):
        web.write_web(run, made, out, force=True)


@pytest.mark.usefixtures("runtime")
def test_the_certificate_names_every_file(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    out = web.write_web(run, Classifier.load(run), tmp_path / "out")
    certificate = json.loads((out / "certificate.json").read_text())
    listed = {row["file"]: row["sha256"] for row in certificate["files"]}
    files = [path for path in out.rglob("*") if path.is_file()]
    there = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    assert there.pop("certificate.json")
    assert listed == there
    assert certificate["versions"]["onnxruntime-web"] == "9.9.9"
    assert listed["model.onnx"] == hashlib.sha256((run / "model.onnx").read_bytes()).hexdigest()


@pytest.mark.usefixtures("runtime")
def test_no_image_of_the_run_is_exported(tmp_path: Path) -> None:
    made = classifier(("dark", "light"), 1)
    pixels = np.random.default_rng(9).integers(0, 256, (3, *SIZE, 1), np.uint8)
    made.reference_images = ReferenceImages(pixels, made.predict_pixels(pixels).astype(np.float32))
    made.save(tmp_path / "run")
    (tmp_path / "run" / "report.html").write_text("canary-4711")
    out = web.write_web(tmp_path / "run", Classifier.load(tmp_path / "run"), tmp_path / "out")
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"canary-4711" not in everything
    assert all(each.tobytes() not in everything for each in pixels)
    about = json.loads((out / "about.json").read_text())
    assert about["report"] is False
    assert about["neighbours"] is False
    certificate = json.loads((out / "certificate.json").read_text())
    assert certificate["reference_images"] == {
        "n": 3,
        "max_abs_difference": pytest.approx(0, abs=1e-6),
    }


@pytest.mark.usefixtures("runtime")
def test_no_file_names_another_host(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    out = web.write_web(run, Classifier.load(run), tmp_path / "out")
    for path in sorted(out.rglob("*")):
        if path.suffix in (".html", ".js", ".css", ".json"):
            addresses = re.findall(r"https?://[^\s\"'<]+", path.read_text())
            own = ("http://127.0.0.1", "http://www.w3.org/")  # the latter names the kind of SVG
            assert all(address.startswith(own) for address in addresses), path


def test_synthetic_images_are_reproducible_and_near_a_decision() -> None:
    made = classifier(THREE, 3)
    first, again = synthetic_images(made), synthetic_images(made)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.pixels.shape == (8, *SIZE, 3)
    np.testing.assert_allclose(first.probabilities, made.predict_pixels(first.pixels), atol=1e-6)
    assert first.probabilities.max() < 0.99


@pytest.mark.usefixtures("vendored")
@pytest.mark.parametrize(
    ("classes", "channels", "several"),
    [(("dark", "light"), 1, False), (THREE, 3, False), (THREE, 1, True)],
)
def test_the_page_predicts_what_predict_predicts(
    tmp_path: Path, chromium: Any, classes: tuple[str, ...], channels: int, several: bool
) -> None:
    run = tmp_path / "run"
    (labelled if several else classifier)(classes, channels).save(run)
    out = web.write_web(run, Classifier.load(run), tmp_path / "out")
    files = [*images(), b"no image"]
    for i, data in enumerate(files):
        (tmp_path / f"{i}").write_bytes(data)
    predictions = Classifier.load(run).predict(
        [tmp_path / f"{i}" for i in range(len(files))], maps=True
    )
    with served(out) as address:
        page = chromium.new_page()
        page.goto(f"{address}/")
        found = page.evaluate(PREDICT, [packed(data) for data in files])
        check = page.evaluate("engine.check")
        page.close()
    assert check["images"] == 8
    assert check["difference"] < 1e-5
    assert found.pop()["error"] == without_others(predictions.pop().reason)
    for ours, theirs in zip(found, predictions, strict=True):
        expected = theirs.to_json(classes)
        map_here, map_there = ours.pop("activation_map"), expected.pop("activation_map")
        np.testing.assert_allclose(map_here.pop("values"), map_there.pop("values"), atol=2e-4)
        assert map_here == map_there
        assert ours.get("labels", {}).keys() == expected.get("labels", {}).keys()
        for name, each in ours.get("labels", {}).items():
            wanted = expected["labels"][name]
            assert each.pop("probability") == pytest.approx(wanted.pop("probability"), abs=1e-5)
            assert each == wanted
        for key in ("probabilities", "ood_score"):
            assert ours[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-5)
        for key in ("decision", "prediction_set"):
            assert ours[key] == expected[key]
        assert re.sub(r"[\d.]+", "", ours["reason"] or "") == re.sub(r"[\d.]+", "", theirs.reason)
        assert ours["image"].startswith("data:image/png;base64,")


@pytest.mark.usefixtures("vendored")
def test_the_page_sends_nothing_and_once_loaded_needs_no_network(
    tmp_path: Path, chromium: Any
) -> None:
    run = write(tmp_path / "run")
    out = web.write_web(run, Classifier.load(run), tmp_path / "out")
    requests, messages = [], []
    with served(out) as address:
        context = chromium.new_context()
        context.on("request", lambda request: requests.append(request.url))
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(f"{address}/")
        page.wait_for_selector("#input:not([hidden])")
        context.set_offline(True)
        names = [f"{i}.png" for i in range(3)]
        for name, data in zip(names, images(), strict=False):
            (tmp_path / name).write_bytes(data)
        page.set_input_files("#files", [str(tmp_path / name) for name in names])
        page.wait_for_function("document.querySelectorAll('#results td').length > 0")
        page.wait_for_selector("#progress-panel", state="hidden")
        assert "Images stay on this computer" in page.inner_text("#privacy")
        assert page.evaluate("self.crossOriginIsolated") is False
        context.close()
    own = (f"{address}/", "data:", "blob:")
    assert [url for url in requests if not url.startswith(own)] == []
    assert messages == []


@pytest.mark.usefixtures("vendored")
def test_a_browser_with_other_probabilities_is_rejected(tmp_path: Path, chromium: Any) -> None:
    run = write(tmp_path / "run")
    out = web.write_web(run, Classifier.load(run), tmp_path / "out")
    arrays = load_file(out / "check.safetensors")
    arrays["probabilities"][0] = arrays["probabilities"][0][::-1] + np.float32(0.01)
    save_file(arrays, out / "check.safetensors")
    with served(out) as address:
        page = chromium.new_page()
        page.goto(f"{address}/")
        page.wait_for_selector("text=computes other probabilities than the classifier")
        page.close()


@pytest.mark.usefixtures("vendored")
def test_a_cancelled_image_does_not_affect_the_next(tmp_path: Path, chromium: Any) -> None:
    run = write(tmp_path / "run")
    out = web.write_web(run, Classifier.load(run), tmp_path / "out")
    with served(out) as address:
        page = chromium.new_page()
        page.goto(f"{address}/")
        cancelled, after = page.evaluate(
            """async (text) => {
              const engine = await (await import("/page/engine.js")).connect();
              const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
              const file = new File([bytes], "image");
              const abort = new AbortController();
              const { signal } = abort;
              const first = engine.predict(file, { signal }).catch((error) => error.name);
              setTimeout(() => abort.abort(), 0);
              return [await first, (await engine.predict(file)).decision !== undefined];
            }""",
            packed(images()[0]),
        )
        page.close()
    assert (cancelled, after) == ("AbortError", True)


@pytest.mark.usefixtures("runtime")
def test_a_page_opened_as_a_file_asks_for_a_server(tmp_path: Path, chromium: Any) -> None:
    run = write(tmp_path / "run")
    out = web.write_web(run, Classifier.load(run), tmp_path / "out")
    page = chromium.new_page()
    page.goto(f"{out.as_uri()}/index.html")
    assert "python3 -m http.server" in page.inner_text("#status")
    page.close()
