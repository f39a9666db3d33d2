"""The service over HTTP: the predictions of ``predict``, one form of errors, two interfaces."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.dicom_files import dicom
from PIL import Image

from lucency.classifier import Classifier
from lucency.cli import main
from lucency.serve.api.openapi import openapi
from lucency.serve.app import create_app
from lucency.serve.http.middleware import Middleware
from lucency.serve.inference.errors import CODES
from lucency.serve.inference.service import Service
from serving import QUICK, Running, form, running, save_classifier
from small_runs import SIDE


def png(grey: int, side: int = 20) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side // 2), grey).save(file, "PNG")
    return file.getvalue()


IMAGES = [png(grey) for grey in (5, 90, 160, 250)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("serve") / "spots")


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[Running]:
    (run / "report.html").write_text("<!DOCTYPE html><title>Report</title>")
    with running(Service(run, QUICK)) as found:
        yield found


@pytest.fixture(scope="module")
def expected(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The predictions of ``predict`` for the same files."""
    folder = tmp_path_factory.mktemp("images")
    files = [folder / f"{i}.png" for i in range(len(IMAGES))]
    for file, data in zip(files, IMAGES, strict=True):
        file.write_bytes(data)
    classifier = Classifier.load(run)
    return [each.to_json(classifier.classes) for each in classifier.predict(files)]


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-6)
    for key in ("decision", "reason", "prediction_set"):
        assert found[key] == wanted[key]


def test_an_image_gets_the_prediction_of_predict(
    served: Running, expected: list[dict[str, Any]]
) -> None:
    for data, wanted in zip(IMAGES, expected, strict=True):
        reply = served.ask("POST", "/v1/predict", data)
        assert reply.status == 200
        (found,) = reply.json["predictions"]
        assert_same(found, wanted)
        assert reply.json["classifier"] == served.service.version.about
        assert len(reply.json["classifier"]["sha256"]) == 64
    assert (
        len({each["decision"] for each in expected}) == 2
    )  # otherwise the test would prove nothing


def test_a_form_gets_one_prediction_per_file_in_order(
    served: Running, expected: list[dict[str, Any]]
) -> None:
    body, kind = form(IMAGES[0], b"no image", *IMAGES[1:], name="Doe^Jane.png")
    reply = served.ask("POST", "/v1/predict", body, content_type=kind)
    first, bad, *rest = reply.json["predictions"]
    for found, wanted in zip([first, *rest], expected, strict=True):
        assert_same(found, wanted)
    assert bad.keys() == {"error", "code"}
    assert bad["code"] == "not_an_image"
    assert b"Doe" not in reply.body


def test_the_notes_on_a_dicom_file_are_returned(
    served: Running,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ramp = np.arange(24 * 24, dtype=np.uint16).reshape(24, 24)
    window = {"BitsStored": 12, "WindowCenter": 300, "WindowWidth": 600}
    data = dicom(ramp, ViewPosition="LL", BurnedInAnnotation="YES", **window)
    file = tmp_path / "radiograph.dcm"
    file.write_bytes(data)
    notes = ["a lateral view", "text is burned into the pixels"]
    (wanted,) = Classifier.load(run).predict([file])
    assert list(wanted.notes) == notes
    (found,) = served.ask("POST", "/v1/predict", data).json["predictions"]
    assert found["notes"] == notes
    (plain,) = served.ask("POST", "/v1/predict", IMAGES[0]).json["predictions"]
    assert plain["notes"] == []
    monkeypatch.setattr("sys.argv", ["lucency", "predict", str(run), str(file)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert f"DICOM note: {file}: {'; '.join(notes)}" in " ".join(capsys.readouterr().err.split())


def test_requested_extras_come_with_the_prediction(served: Running) -> None:
    reply = served.ask("POST", "/v1/predict?image=1&map=1&neighbours=3", png(80, 1400))
    (found,) = reply.json["predictions"]
    assert found["size"] == [700, 1400]
    head, _, data = found["image"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (512, 256)
        assert image.getextrema() == (80, 80)
    assert found["activation_map"] is None  # this network has none
    assert found["neighbours"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "code"),
    [
        ("POST", "/v1/predict", b"no image", {}, "not_an_image"),
        ("POST", "/v1/predict", b"", {}, "not_an_image"),
        ("POST", "/v1/predict?maps=1", IMAGES[0], {}, "bad_request"),
        ("POST", "/v1/predict?map=2", IMAGES[0], {}, "bad_request"),
        ("POST", "/v1/predict?neighbours=99", IMAGES[0], {}, "bad_request"),
        ("POST", "/v1/predict?neighbours=%D9%A1", IMAGES[0], {}, "bad_request"),
        ("POST", "/v1/predict", b"x", {"content_type": "multipart/form-data"}, "bad_request"),
        ("POST", "/v1/predict", b"x", {"lucency_deadline": "nan"}, "bad_request"),
        ("POST", "/v1/predict", b"x", {"lucency_deadline": "11"}, "bad_request"),
        ("GET", "/v1/predict", None, {}, "method_not_allowed"),
        ("DELETE", "/", None, {}, "method_not_allowed"),
        ("GET", "/nothing", None, {}, "not_found"),
        ("GET", "/page/../../etc/passwd", None, {}, "not_found"),
        ("GET", "/page/%2e%2e%2fabout.py", None, {}, "not_found"),
        ("GET", "/v2/models/other", None, {}, "not_found"),
        ("GET", "/v2/models/spots/versions/7", None, {}, "not_found"),
        ("GET", "/", None, {"host": "evil.example"}, "unknown_host"),
        ("GET", "/", None, {"host": "localhost.evil.example:80"}, "unknown_host"),
        ("POST", "/v1/predict", b"x", {"origin": "https://evil.example"}, "cross_origin"),
        ("POST", "/v1/predict", b"x", {"origin": "null"}, "cross_origin"),
        *(
            ("POST", "/v1/predict", b"x", {"host": "localhost", "origin": origin}, "cross_origin")
            for origin in (
                "https://localhost",
                "chrome-extension://localhost",
                "ftp://localhost",
                "http://localhost:81",
                "http://me@localhost",
                "//localhost",
                "localhost",
            )
        ),
        ("POST", "/v1/reload", b"", {"sec_fetch_site": "cross-site"}, "cross_origin"),
        ("POST", "/v1/reload", b"", {"sec_fetch_site": "same-site"}, "cross_origin"),
    ],
)
def test_every_error_has_the_same_form(
    served: Running, method: str, path: str, body: Any, headers: dict[str, str], code: str
) -> None:
    reply = served.ask(method, path, body, **headers)
    assert reply.json.keys() == {"error", "code"}
    assert (reply.json["code"], reply.status) == (code, CODES[code][0])
    assert "\n" not in reply.json["error"]
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert ("retry-after" in reply.headers) == (reply.status in (429, 503))


def test_our_own_page_may_send_requests(served: Running) -> None:
    origin = f"http://127.0.0.1:{served.port}"
    reply = served.ask(
        "POST", "/v1/predict", IMAGES[0], origin=origin, sec_fetch_site="same-origin"
    )
    assert reply.status == 200
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_the_page_uses_the_service(served: Running) -> None:
    page = served.ask("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page.body.decode()):
        assert served.ask("GET", f"/{name}").status == 200, name
    engine = served.ask("GET", "/page/engine.js")
    assert engine.headers["content-type"].startswith("text/javascript")
    assert b"v1/predict" in engine.body


def test_the_report_may_run_nothing(served: Running) -> None:
    reply = served.ask("GET", "/report")
    assert reply.body.startswith(b"<!DOCTYPE html>")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    again = served.ask("GET", "/report", if_none_match=reply.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_health_and_metrics(served: Running) -> None:
    for path in ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"):
        assert served.ask("GET", path).status == 200
    served.ask("POST", "/v1/predict", IMAGES[0])
    served.ask("POST", "/v1/predict", b"none")
    text = served.ask("GET", "/metrics").body.decode()
    for name in (
        'lucency_requests_total{method="POST",route="/v1/predict",status="200"}',
        'lucency_predictions_total{outcome="decided"}',
        'lucency_errors_total{code="not_an_image"}',
        "lucency_queue_seconds_bucket", "lucency_decode_seconds_bucket",
        "lucency_inference_seconds_bucket", "lucency_request_seconds_bucket",
        "lucency_requests_in_flight", "lucency_queue_images", "lucency_decoders_lost",
        "lucency_reloads_total", "lucency_classifier_info",
    ):  # fmt: skip
        assert name in text, name


def test_the_openapi_document_has_exactly_the_routes(run: Path) -> None:
    app = create_app(Service(run, QUICK))
    assert isinstance(app, Middleware)
    routes = {
        (route.path, method)
        for route in app.router.routes
        for method in getattr(route, "methods", set()) - {"HEAD"}
    }
    described = {
        (path, method.upper()) for path, item in openapi()["paths"].items() for method in item
    }
    assert described == routes
    codes = openapi()["components"]["schemas"]["Error"]["properties"]["code"]["enum"]
    assert set(codes) == set(CODES)


def test_the_documentation_has_the_same_codes_and_addresses() -> None:
    page = (Path(__file__).parent.parent / "docs/reference/http-api.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", page, re.MULTILINE)
    assert {code: (int(status), meaning) for code, status, meaning in rows} == dict(CODES)
    described = {path for path in openapi()["paths"] if not path.startswith("/v2")}
    stated = set(re.findall(r"`(?:GET|POST) (/[^`]*)`", page)) - {"/page/...", "/"}
    assert stated == described - {"/page/{file}", "/"}


def test_the_classifier_is_described(served: Running) -> None:
    found = served.ask("GET", "/v1/classifier").json
    assert found["classes"] == ["NORMAL", "PNEUMONIA"]
    assert found["limits"] == {"bytes": 64 * 2**20, "pixels": 8192 * 6144, "files": 64}


# The Open Inference Protocol

GREYS = np.array([0, 100, 200, 255], np.uint8)
PIXELS = np.broadcast_to(GREYS[:, None, None, None], (4, SIDE, SIDE, 1))
INFER = "/v2/models/spots/infer"


def tensor(data: Any, shape: list[int], **more: Any) -> dict[str, Any]:
    kind = "UINT8" if len(shape) > 1 else "BYTES"
    name = "pixels" if len(shape) > 1 else "images"
    return {"name": name, "shape": shape, "datatype": kind, "data": data} | more


def outputs(reply: Any) -> dict[str, Any]:
    return {each["name"]: each for each in reply["outputs"]}


def test_the_model_describes_its_inputs_and_outputs(served: Running) -> None:
    found = served.ask("GET", "/v2/models/spots").json
    assert [each["name"] for each in found["inputs"]] == ["pixels", "images"]
    assert found["inputs"][0]["shape"] == [-1, SIDE, SIDE, 1]
    (version,) = found["versions"]
    assert served.ask("GET", f"/v2/models/spots/versions/{version}").json == found
    assert served.ask("GET", "/v2/models/spots/ready").json["ready"] is True
    assert served.ask("GET", "/v2").json["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize("flat", [True, False])
def test_pixels_as_json(served: Running, run: Path, flat: bool) -> None:
    data = PIXELS.ravel().tolist() if flat else PIXELS.tolist()
    body = json.dumps({"id": "7", "inputs": [tensor(data, [4, SIDE, SIDE, 1])]})
    reply = served.ask("POST", INFER, body).json
    assert (reply["id"], reply["model_name"]) == ("7", "spots")
    found = outputs(reply)["probabilities"]
    assert (found["datatype"], found["shape"]) == ("FP32", [4, 2])
    wanted = Classifier.load(run).predict_pixels(np.ascontiguousarray(PIXELS))
    assert np.reshape(found["data"], (4, 2)) == pytest.approx(wanted, abs=1e-6)
    assert outputs(reply)["decision"]["data"] == ["NORMAL", "NORMAL", "PNEUMONIA", "PNEUMONIA"]
    assert reply["parameters"]["sha256"] == served.service.version.about["sha256"]


def test_images_in_base64_and_behind_the_json(served: Running, expected: list[Any]) -> None:
    count = len(IMAGES)
    encoded = [base64.b64encode(each).decode() for each in IMAGES]
    plain = served.ask("POST", INFER, json.dumps({"inputs": [tensor(encoded, [count])]})).json
    raw = b"".join(struct.pack("<I", len(each)) + each for each in IMAGES)
    head = json.dumps(
        {
            "inputs": [tensor(None, [count], parameters={"binary_data_size": len(raw)})],
            "outputs": [
                {"name": "probabilities", "parameters": {"binary_data": True}},
                {"name": "decision"},
            ],
        }
    ).encode()
    reply = served.ask("POST", INFER, head + raw, inference_header_content_length=str(len(head)))
    cut = int(reply.headers["inference-header-content-length"])
    found = outputs(json.loads(reply.body[:cut]))
    values = np.frombuffer(reply.body[cut:], "<f4").reshape(count, 2)
    assert found.keys() == {"probabilities", "decision"}
    wanted = [[*each["probabilities"].values()] for each in expected]
    assert values == pytest.approx(np.array(wanted), abs=1e-6)
    assert outputs(plain)["decision"]["data"] == found["decision"]["data"]


GOOD = [0] * SIDE * SIDE


@pytest.mark.parametrize(
    "document",
    [
        "no json",
        "[" * 100_000,
        '{"inputs": [{"name": "pixels", "shape": [1], "datatype": "UINT8", "data": [NaN]}]}',
        "[]",
        {},
        {"inputs": []},
        {"inputs": "pixels"},
        {"inputs": [tensor(GOOD, [1, SIDE, SIDE, 1]), tensor(GOOD, [1, SIDE, SIDE, 1])]},
        {"inputs": [tensor(GOOD, [1, SIDE, SIDE, 1]) | {"name": "x"}]},
        {"inputs": [tensor(GOOD, [1, SIDE, SIDE, 1]) | {"datatype": "FP32"}]},
        {"inputs": [tensor(GOOD, [1, SIDE, SIDE, 3])]},
        {"inputs": [tensor(GOOD, [2, SIDE, SIDE, 1])]},
        {"inputs": [tensor(GOOD, [-1, SIDE, SIDE, 1])]},
        {"inputs": [tensor([], [0, SIDE, SIDE, 1])]},
        {"inputs": [tensor([256, *GOOD[1:]], [1, SIDE, SIDE, 1])]},
        {"inputs": [tensor([0.5, *GOOD[1:]], [1, SIDE, SIDE, 1])]},
        {"inputs": [tensor([[1], [2, 3]], [1, SIDE, SIDE, 1])]},
        {"inputs": [tensor(None, [1, SIDE, SIDE, 1])]},
        {"inputs": [tensor(None, [1, SIDE, SIDE, 1], parameters={"binary_data_size": 9})]},
        {"inputs": [tensor(GOOD, [1, SIDE, SIDE, 1])], "outputs": [{"name": "x"}]},
        {"inputs": [tensor(["%%"], [1])]},
        {"inputs": [tensor([7], [1])]},
        {"inputs": [tensor(GOOD, [65, SIDE, SIDE, 1])]},
        {"id": 7, "inputs": [tensor(GOOD, [1, SIDE, SIDE, 1])]},
    ],
)
def test_an_invalid_inference_request_is_rejected(served: Running, document: Any) -> None:
    body = document if isinstance(document, str) else json.dumps(document)
    reply = served.ask("POST", INFER, body)
    assert (reply.status, reply.json["code"]) == (400, "bad_request")


def test_a_tensor_without_an_image_is_rejected(served: Running) -> None:
    reply = served.ask("POST", INFER, json.dumps({"inputs": [tensor(["AAAA"], [1])]}))
    assert (reply.status, reply.json["code"]) == (422, "not_an_image")


def infer(served: Running, text: bytes, raw: bytes = b"") -> Any:
    length = {"inference-header-content-length": str(len(text))} if raw else {}
    return served.ask("POST", "/v2/models/spots/infer", text + raw, **length)


def binary(size: int) -> bytes:
    tensor = {"name": "images", "shape": [1], "datatype": "BYTES"}
    return json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}).encode()


@pytest.mark.parametrize(
    ("text", "raw", "message"),
    [
        (b'{"inputs": ' + b"[" * 20 + b"]" * 20 + b"}", b"", "nested 16 deep"),
        (b'{"inputs": [' + b"[[[[0]]]]," * 100_000 + b"0]}", b"", "300,000 lists"),
        (b'{"inputs": [' + b"0," * 2_100_000 + b"0]}", b"", "2,000,000 values"),
        (b"[" * 3_000_000, b"", "300,000 lists"),
        (b'{"id": "\\ud800", "inputs": []}', b"", "printable strings"),
        (b'{"id": "\\u0000\\u001b[31m", "inputs": []}', b"", "printable strings"),
        (b'{"id": 5, "inputs": []}', b"", "printable strings"),
        (b'{"inputs": [{"name": "\\udfff", "shape": [1], "datatype": "BYTES"}]}', b"", "printable"),
        (binary(2**20), bytes(2**20), "number of images is not that of the shape"),
    ],
)
def test_what_would_block_the_service_is_rejected_by_its_structure(
    served: Running, text: bytes, raw: bytes, message: str
) -> None:
    started = time.process_time()
    reply = infer(served, text, raw)
    assert (reply.status, reply.json["code"]) == (400, "bad_request")
    assert message in reply.json["error"]
    assert time.process_time() - started < 10
