"""Exports: every format opened without Lucency, certified on images, rejected if it differs."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import load_model_from_string
from PIL import Image

from conftest import draw_image
from lucency import backend
from lucency.classifier import Classifier, ReferenceImages, Spec
from lucency.cli import main
from lucency.errors import BackendError, ConfigError, DataError, LucencyError, ParityError, RunError
from lucency.export import FORMATS, export, formats
from lucency.export.certificate import FLOAT32, INT8, Agreement, compare
from lucency.export.description import describe, usage
from lucency.export.images import Images, choose
from lucency.export.quantization import kept_float
from lucency.imaging.image import read_image
from lucency.progress import SILENT
from lucency.signals import Interrupted
from small_runs import brightness_network, spec_of, write_images, write_run
from test_docs import ROOT, blocks

SIDE = 24
SPEC = Spec(
    classes=("dark", "light"),
    positive="light",
    size=(SIDE, SIDE),
    channels=1,
    architecture="default",
    network_channels=1,
    parameters={"width": 8, "blocks": [1, 1]},
    temperature=1.5,
    threshold=0.4,
)
# If Keras runs on another backend, this process cannot switch to TensorFlow, which OpenVINO needs
# for the ONNX files that JAX writes.
_NEED_TENSORFLOW = ("saved_model", "litert", "openvino")
HERE = [
    name
    for name in FORMATS
    if name not in _NEED_TENSORFLOW or backend.choose_backend() == "tensorflow"
]


def drawn(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    images = [draw_image(random, bright=k % 2 == 1, side=SIDE) for k in range(n)]
    return np.stack([np.asarray(image)[..., None] for image in images])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a small network, trained for a moment to tell bright from dark."""
    from lucency.models import build, keras

    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("export") / "tiny"

    network = build("default", 2, (SIDE, SIDE, 1), SPEC.parameters)
    network.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy")
    training = drawn(256, seed=1).astype(np.float32)
    network.fit(training, np.arange(256) % 2, batch_size=16, epochs=4, verbose=0)
    pixels = drawn(40)
    weights = {variable.path: np.asarray(variable) for variable in network.weights}
    classifier = Classifier(SPEC, weights)
    classifier.onnx = formats._onnx_of(classifier)
    probabilities = classifier.predict_pixels(pixels).astype(np.float32)
    assert probabilities[:, 1].min() < 0.2
    assert probabilities[:, 1].max() > 0.8
    classifier.reference_images = ReferenceImages(pixels, probabilities)
    classifier.save(folder)
    return folder


@pytest.fixture(scope="module")
def exports(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an export of every format that can be written here."""
    folder = tmp_path_factory.mktemp("exports")
    for name in HERE:
        export(run, name, out=folder / f"mine-{name}")
    return folder


# What is written


@pytest.mark.parametrize("name", HERE)
def test_an_export_is_certified(run: Path, exports: Path, name: str) -> None:
    folder = exports / f"mine-{name}"
    certificate = json.loads((folder / "certificate.json").read_text())
    agreement = certificate["agreement"]
    assert certificate["passed"] is True
    assert agreement["n"] == 40
    assert agreement["max_abs_difference"] <= 1e-5
    assert agreement["decision_agreement"] == 1
    assert [each["n"] for each in certificate["latency"]] == [1, 32]
    assert all(each["ratio"] > 0 for each in certificate["latency"])
    assert certificate["classifier"]["sha256"] == Classifier.load(run).fingerprint
    for each in certificate["files"]:
        data = (folder / each["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == each["sha256"]
        assert len(data) == each["bytes"]
    ours = {"certificate.json", "model.json", "README.md"}
    others = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {each["file"] for each in certificate["files"]} == others - ours
    model = json.loads((folder / "model.json").read_text())
    assert model["classes"] == ["dark", "light"]
    assert model["threshold"] == 0.4
    assert (folder / model["file"]).exists()


def test_every_key_of_a_certificate_is_documented(exports: Path) -> None:
    certificate = json.loads((exports / "mine-onnx/certificate.json").read_text())
    page = (
        (ROOT / "docs/how-to/export.md")
        .read_text()
        .partition("| key | meaning |\n")[2]
        .partition("\n\n")[0]
    )
    cells = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    assert set(certificate) == set(re.findall(r"`(\w+)`", " ".join(cells)))
    formats = re.findall(
        r"^\| `(\w+)` \|", (ROOT / "docs/how-to/export.md").read_text(), re.MULTILINE
    )
    assert set(FORMATS) <= set(formats)


def program(folder: Path, readme: str) -> str:
    """Return the program of a README with the path of the file, printing its result."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    inside = re.sub(r'"((?:model|saved_model)[^"]*)"', rf'"{folder.name}/\1"', code)
    return f"{inside}\nprint({folder.name!r}, float(probabilities[0][1]))\n"


def test_programs_of_the_readmes_and_the_page_work_without_lucency(
    run: Path, exports: Path
) -> None:
    """All of them in one program, in a process that cannot import Lucency."""
    image = exports / "image.png"
    draw_image(np.random.default_rng(9), bright=True, side=60).resize((70, 60)).save(image)
    readmes = [program(x, (x / "README.md").read_text()) for x in sorted(exports.glob("mine-*"))]
    page = (
        "".join(blocks(ROOT / "docs/how-to/export.md", "python"))
        if len(HERE) == len(FORMATS)
        else ""
    )
    page = page.replace("80", str(round(SIDE * 1.25))).replace("64", str(SIDE))
    page = page.replace("exports/", "")
    code = [
        "import sys, warnings",
        "sys.modules['lucency'] = None",
        "warnings.simplefilter('ignore')",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*code, page, *readmes])],
        cwd=exports, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = [line.split() for line in done.stdout.splitlines() if line.startswith("mine-")]
    assert [name for name, _ in printed] == sorted(f"mine-{name}" for name in HERE)
    (expected,) = Classifier.load(run).predict([image])
    for name, value in printed:
        assert float(value) == pytest.approx(expected.probabilities[1], abs=1e-5), name


@pytest.mark.parametrize("size", [(24, 24), (31, 18)])
def test_resizing_as_documented_gives_the_pixels_of_the_classifier(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = draw_image(np.random.default_rng(1), bright=True, side=300).resize((410, 290))
    for kind in ("JPEG", "PNG"):
        image.save("image.png", kind)  # Pillow goes by the content, not by the name
        for channels in (1, 3):
            spec = replace(SPEC, size=size, channels=channels)
            lines = usage("onnx", "model.onnx", spec).splitlines()
            names: dict[str, Any] = {}
            exec("\n".join(lines[:-2]), names)  # noqa: S102 - all but opening and running
            expected = read_image(Path("image.png"), size, channels == 3)
            assert np.array_equal(names["pixels"][0], expected), (kind, channels)


def test_an_onnx_file_has_its_metadata(exports: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exports / "mine-onnx/model.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["lucency.classes"]) == ["dark", "light"]
    assert json.loads(facts["lucency.threshold"]) == 0.4
    assert json.loads(facts["lucency.input"])["shape"] == [None, SIDE, SIDE, 1]
    names = {each.name for each in session.get_outputs()}
    assert names == {"probabilities", "embedding", "activation_map"}


@pytest.mark.skipif("litert" not in HERE, reason="Keras cannot switch to TensorFlow here")
def test_the_other_outputs_of_every_format_are_those_of_the_classifier(
    run: Path, exports: Path
) -> None:
    classifier = Classifier.load(run)
    pixels = drawn(4)
    names = ["embedding", "activation_map", "probabilities"]
    expected = classifier._onnx_session().run(names, pixels)
    runners = {
        "litert": backend.litert_runner(exports / "mine-litert/model.tflite"),
        "saved_model": backend.saved_model_runner(exports / "mine-saved_model/saved_model"),
    }
    for which, runner in runners.items():
        outputs = runner(pixels)
        for name in names:
            scale = np.abs(expected[name]).max()
            assert np.abs(outputs[name] - expected[name]).max() <= 1e-5 * scale, (which, name)


def test_keras_saves_the_network_of_a_run(run: Path, tmp_path: Path) -> None:
    from lucency.models import keras

    classifier = Classifier.load(run)
    classifier.keras_model.save(tmp_path / "mine.keras")
    again = keras.saving.load_model(tmp_path / "mine.keras")
    pixels = drawn(4).astype(np.float32)
    expected = classifier.keras_model.predict_on_batch(pixels)
    np.testing.assert_allclose(again.predict_on_batch(pixels), expected, atol=1e-6)


def test_an_article_network_has_no_map_in_its_description() -> None:
    spec = replace(SPEC, architecture="article", parameters={})
    document = describe("onnx", "model.onnx", Classifier(spec, {}, brightness_network()), "x")
    assert set(document["outputs"]) == {"probabilities", "embedding"}


# Eight bits


@pytest.mark.parametrize("name", [name for name in HERE if FORMATS[name].quantizes])
def test_eight_bits_are_certified_on_other_images_than_they_were_calibrated_with(
    run: Path, tmp_path: Path, name: str
) -> None:
    done = export(run, name, quantize="int8", out=tmp_path / "out")
    certificate = done.certificate
    assert certificate["agreement"]["n"] == 20
    assert certificate["scaled_by"] == "20 images: the other half"
    assert 1e-6 < certificate["agreement"]["max_abs_difference"] <= 0.1
    assert certificate["quantized"] == "int8"
    if name == "onnx":
        _check_eight_bits((tmp_path / "out/model.onnx").read_bytes())


def _check_eight_bits(onnx: bytes) -> None:
    graph = load_model_from_string(onnx).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    makers = {end: node for node in graph.node for end in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert makers[node.input[1]].op_type == "DequantizeLinear"
        assert held[makers[node.input[1]].input[0]].data_type == 3  # int8
        assert held[makers[node.input[1]].input[1]].dims  # one scale per channel
    dense = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")]
    assert dense
    assert all(held[node.input[1]].data_type == 1 for node in dense)  # the logits: float32
    assert makers[graph.output[-1].name].op_type != "DequantizeLinear"


def test_pixels_and_logits_are_kept_in_float(run: Path) -> None:
    graph = load_model_from_string(Classifier.load(run).onnx or b"").graph
    kept = {node.op_type for node in graph.node if node.name in kept_float(graph)}
    assert {"Cast", "Mul", "Sigmoid", "Concat"} <= kept
    assert not {"Conv", "Relu", "GlobalAveragePool"} & kept


def test_both_halves_of_the_reference_images_are_used_once(run: Path) -> None:
    classifier = Classifier.load(run)
    chosen = choose(run, None, classifier, scale=True)
    assert chosen.scale
    both = np.concatenate([chosen.check.all(), chosen.scale.all()])
    assert len(np.unique(both.reshape(40, -1), axis=0)) == 40
    for half in (chosen.check, chosen.scale):  # alternating, and yet both have both classes
        shares = classifier.predict_pixels(half.all())[:, 1]
        assert (shares > 0.5).sum() == 10


@pytest.mark.skipif("openvino" not in HERE, reason="Keras cannot switch to TensorFlow here")
def test_openvino_gets_another_onnx_file_if_it_cannot_read_that_of_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    original = formats._read_by_openvino

    def fails_once(classifier: Classifier, examples: Any) -> Any:
        calls.append(classifier.onnx is None)
        if len(calls) == 1:
            raise BackendError("a convolution in five dimensions")
        return original(classifier, examples)

    monkeypatch.setattr(formats, "_read_by_openvino", fails_once)
    assert export(run, "openvino", out=tmp_path / "out").certificate["passed"]
    assert calls == [False, True]


# The check


def constant(probabilities: list[float]) -> Callable[[np.ndarray], np.ndarray]:
    rows = np.array([[1 - p, p] for p in probabilities])
    return lambda pixels: rows[: len(pixels)]


class Fixed(Classifier):
    """Returns fixed predictions."""

    def __init__(self, probabilities: list[float], spec: Spec = SPEC) -> None:
        super().__init__(spec, {})
        self.predict_pixels = constant(probabilities)  # type: ignore[method-assign]


def agreement_of(ours: list[float], theirs: list[float]) -> Agreement:
    pixels = np.zeros((len(ours), SIDE, SIDE, 1), np.uint8)
    images = Images(len(ours), "drawn", lambda: iter([pixels]))
    return compare(Fixed(ours), constant(theirs), images, SILENT)


def test_differences_are_those_computed_by_hand() -> None:
    found = agreement_of([0.1, 0.9, 0.5, 0.39], [0.1, 0.8, 0.5, 0.41])
    assert found.max_abs_difference == pytest.approx(0.1)
    assert found.mean_abs_difference == pytest.approx((0.1 + 0.02) / 4)
    assert (found.differing, found.ties, found.decision_agreement) == (1, 0, 0.75)


def test_an_image_on_the_threshold_is_no_disagreement() -> None:
    found = agreement_of([0.4, 0.9], [0.39999, 0.9])
    assert (found.differing, found.ties) == (0, 1)
    assert found.within(FLOAT32)
    assert agreement_of([0.4002, 0.9], [0.3998, 0.9]).differing == 1


def test_for_several_classes_a_tie_is_between_the_two_most_probable() -> None:
    spec = replace(SPEC, classes=("a", "b", "c"), positive=None)
    pixels = np.zeros((2, SIDE, SIDE, 1), np.uint8)
    ours = np.array([[0.4, 0.40005, 0.19995], [0.6, 0.3, 0.1]])
    theirs = np.array([[0.40005, 0.4, 0.19995], [0.3, 0.6, 0.1]])
    classifier = Fixed([], spec)
    classifier.predict_pixels = lambda _: ours  # type: ignore[method-assign]
    images = Images(2, "drawn", lambda: iter([pixels]))
    found = compare(classifier, lambda _: theirs, images, SILENT)
    assert (found.differing, found.ties) == (1, 1)


def test_nan_is_the_largest_difference() -> None:
    assert not agreement_of([0.5], [float("nan")]).within(INT8)


@pytest.mark.parametrize(
    ("n", "largest", "differing", "float32", "int8"),
    [
        (64, 0.9e-4, 0, True, True),
        (64, 1.1e-4, 0, False, True),
        (64, 0.05, 1, False, True),
        (64, 0.05, 2, False, False),  # 2 of 64 is more than 2 %
        (200, 0.05, 4, False, True),
        (200, 0.05, 5, False, False),
        (64, 0.11, 0, False, False),
    ],
)
def test_what_the_tolerance_permits(
    n: int, largest: float, differing: int, float32: bool, int8: bool
) -> None:
    found = Agreement(n, largest, largest / 2, differing, 0)
    assert (found.within(FLOAT32), found.within(INT8)) == (float32, int8)


# A failed export leaves nothing behind


def changed(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> None:
    monkeypatch.setitem(formats.FORMATS, "onnx", formats.FORMATS["onnx"]._replace(**parts))  # type: ignore[arg-type]


def test_an_export_with_other_predictions_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def biased(path: Path) -> formats.Predict:
        original = formats._load_onnx(path)
        return lambda pixels: original(pixels) + np.array([2e-4, -2e-4])

    changed(monkeypatch, load=biased)
    with pytest.raises(ParityError, match=r"differ by up to 0\.0002"):
        export(run, "onnx", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sys, "argv", ["lucency", "export", str(run), "--out", str(tmp_path / "x")])
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process keeps its handlers
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 3
    assert "It was not kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), RunError),
        (Interrupted(signal.SIGINT), Interrupted),
    ],
)
def test_nothing_is_left_if_writing_ends_early(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    def half(_: Classifier, path: Path, *__: object) -> None:
        path.write_bytes(b"half")
        raise error

    changed(monkeypatch, write=half)
    with pytest.raises(raised):
        export(run, "onnx", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_only_an_earlier_export_is_replaced_and_only_by_force(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = export(run, "onnx")
    assert first.folder == Path("exports/tiny-onnx")
    (first.folder / "certificate.json").write_text("{}")
    with pytest.raises(RunError, match="exists already"):
        export(run, "onnx")
    again = export(run, "onnx", force=True)
    assert json.loads((again.folder / "certificate.json").read_text())["passed"]
    precious = tmp_path / "letters"
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="is not an earlier export"):
        export(run, "onnx", out=precious, force=True)
    assert (precious / "letter.txt").read_text() == "dear"


# Errors in one line


@pytest.mark.parametrize(
    ("name", "quantize", "message"),
    [
        ("tflite", None, "Did you mean 'litert'"),
        ("keras", None, "Known: onnx, saved_model, litert, openvino"),
        ("saved_model", "int8", "Formats with them: onnx, litert, openvino"),
        ("onnx", "fp16", "must be int8"),
    ],
)
def test_unknown_formats_are_rejected(
    run: Path, tmp_path: Path, name: str, quantize: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export(run, name, quantize=quantize, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("openvino", "openvino", "openvino"), ("litert", "tensorflow", "tensorflow")],
)
def test_the_error_of_a_missing_library_names_its_extra(
    run: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str, extra: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BackendError, match=rf'pip install "lucency\[{extra}\]"'):
        export(run, name)


def test_a_program_on_another_backend_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucency.backend.choice.choose_backend", lambda: "jax")
    with pytest.raises(BackendError, match="runs it on jax"):
        backend.prefer_tensorflow()


def test_the_error_of_a_run_without_reference_images_has_a_fix(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    document = json.loads((copy / "classifier.json").read_text())
    (copy / "classifier.json").write_text(json.dumps(document | {"reference_images": None}))
    with pytest.raises(RunError, match="Name the data folder") as caught:
        export(copy, "onnx", out=tmp_path / "out")
    assert "\n" not in str(caught.value)


# The data folder


def test_the_whole_validation_split_is_found_again(tmp_path: Path) -> None:
    entries = write_images(tmp_path / "data")
    run = write_run(tmp_path / "run", tmp_path / "data", entries)
    done = export(run, "onnx", folder=tmp_path / "data", out=tmp_path / "out")
    assert done.certificate["agreement"]["n"] == sum(x.split == "val" for x in entries)
    assert done.certificate["images"] == "the run's whole validation split"
    chosen = choose(run, tmp_path / "data", Classifier.load(run), scale=True)
    assert chosen.scale
    expected = [
        x
        for name in ("NORMAL", "PNEUMONIA")
        for x in entries
        if x.split == "train" and x.label == name
    ]
    pixels = [read_image(tmp_path / "data" / x.file, (8, 8), False) for x in expected]
    assert np.array_equal(chosen.scale.all(), np.stack(pixels))


@pytest.mark.parametrize("how", ["changed", "missing", "outside"])
def test_an_image_other_than_that_of_the_run_is_rejected(tmp_path: Path, how: str) -> None:
    entries = write_images(tmp_path / "data")
    run = write_run(tmp_path / "run", tmp_path / "data", entries)
    file = next(x.file for x in entries if x.split == "val")
    if how == "changed":
        Image.new("L", (8, 8)).save(tmp_path / "data" / file)
    elif how == "missing":
        (tmp_path / "data" / file).unlink()
    else:
        text = (run / "split.csv").read_text()
        (run / "split.csv").write_text(text.replace(file, f"../{file}"))
    messages = {
        "changed": "differs from split.csv",
        "missing": "cannot be read",
        "outside": "a path outside of the data folder",
    }
    with pytest.raises(DataError, match=messages[how]):
        export(run, "onnx", folder=tmp_path / "data", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_onnx_file_is_rejected_before_anything_is_written(tmp_path: Path) -> None:
    spec = spec_of()
    weights = {"w": np.ones(spec.weight_count, np.float32)}
    foreign = Classifier(spec, weights, b"no network")
    foreign.reference_images = ReferenceImages(
        np.zeros((1, 8, 8, 1), np.uint8), np.full((1, 2), 0.5, np.float32)
    )
    foreign.save(tmp_path / "run")
    with pytest.raises(LucencyError, match="is rejected"):
        export(tmp_path / "run", "onnx", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
