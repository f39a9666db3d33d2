"""The validation of ONNX files: it accepts those of our exporters, and knows what they need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from lucency import backend, models
from lucency.classifier import Spec
from lucency.classifier.onnx import session
from lucency.classifier.onnx.cost import Needs
from lucency.classifier.onnx.protobuf import MAX_BYTES, strip_weights
from lucency.classifier.onnx.session import BATCH, Session, memory_limit
from lucency.classifier.onnx.validate import check_graph
from lucency.errors import ClassifierError
from small_runs import SIDE, brightness_network, spec_of

NETWORKS = {
    "default": lambda channels: models.default(3, (64, 64, channels), width=8, blocks=(1, 1)),
    "article": lambda channels: models.article(3, (64, 64, channels)),
    "pretrained": lambda _: models.pretrained(3, (64, 64, 3), backbone="MobileNet", weights="none"),
}


def spec(side: int = 64, channels: int = 1) -> Spec:
    return Spec(
        classes=("a", "b", "c"), positive=None, size=(side, side), channels=channels,
        architecture="default", network_channels=channels, parameters={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        pytest.param("default", 1, marks=pytest.mark.backend),
        ("default", 3),
        ("article", 1),
        pytest.param("article", 3, marks=pytest.mark.backend),
        pytest.param("pretrained", 1, marks=pytest.mark.backend),
        ("pretrained", 3),
    ],
)
def test_files_of_our_exporters_are_accepted(name: str, channels: int, tmp_path: Path) -> None:
    network = models.calibrated(NETWORKS[name](channels), channels, 1.3, (0.2, -0.3, 0.1))
    backend.export_onnx(network, tmp_path / "model.onnx")
    onnx = (tmp_path / "model.onnx").read_bytes()
    needs = check_graph(onnx, spec(64, channels))
    assert needs.outputs["probabilities"] == (1, 3)
    assert 0.5 < needs.weights / (4 * network.count_params()) < 1.5
    assert len(strip_weights(onnx).rest) < MAX_BYTES / 2
    assert memory_limit(needs, BATCH) > BATCH * needs.largest
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 64, 64, channels), np.uint8)
    outputs = Session(onnx, spec(64, channels)).run(["probabilities", "embedding"], pixels)
    expected = network.predict_on_batch(pixels)
    np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=1e-4)


def test_the_needs_of_a_network_by_hand() -> None:
    needs = check_graph(brightness_network(), spec_of())
    assert needs.weights == 4 * (2 + 2 + 1) + 8 * 2
    assert needs.largest == 4 * SIDE * SIDE  # the pixels as float32
    assert needs.folded == 0
    assert needs.outputs == {"probabilities": (1, 2)}


@pytest.mark.parametrize(
    ("processors", "batches"),
    [(1, [32, 8, 2, 1, 1]), (2, [32, 8, 2, 2, 2]), (64, [32, 8, 8, 8, 8])],
)
def test_batches_of_large_images_are_small(
    monkeypatch: pytest.MonkeyPatch, processors: int, batches: list[int]
) -> None:
    monkeypatch.setattr(session, "PROCESSORS", processors)
    specs = [spec(side) for side in (16, 256, 512, 1024, 2048)]
    assert [session.batch_of(each) for each in specs] == batches
    for each in specs:
        assert session.batch_per_processor(each) * processors >= session.batch_of(each)
    small, large = (memory_limit(Needs(0, 0, n, 0, {}), 32) for n in (0, 2**20))
    assert large - small == 6 * 32 * 2**20


@pytest.mark.parametrize("processors", [1, 3])
def test_a_batch_is_split_among_the_processors(
    monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    monkeypatch.setattr(session, "PROCESSORS", processors)
    started, names = Session(brightness_network(), spec_of()), ["probabilities"]
    pixels = np.random.default_rng(0).integers(0, 256, (70, SIDE, SIDE, 1), np.uint8)
    alone = [started.run(names, pixels[i : i + 1])["probabilities"] for i in range(70)]
    for n in (0, 1, 2, 31, 32, 70):
        found = started.run(names, pixels[:n])["probabilities"]
        assert found.shape == (n, 2)
        np.testing.assert_allclose(found, np.reshape(alone[:n], (n, 2)), atol=1e-6)


def test_only_the_data_of_long_tensors_is_removed() -> None:
    model = ModelProto.FromString(brightness_network())
    long = np.arange(1000, dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(long, "long"))
    rest, raw = strip_weights(model.SerializeToString())
    assert raw == {"slope": 8, "middle": 8, "scale": 4, "axes": 16, "long": 4000}
    model.graph.initializer[-1].ClearField("raw_data")
    assert ModelProto.FromString(rest) == model


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_invalid_probabilities_are_rejected(value: float) -> None:
    model = ModelProto.FromString(brightness_network())
    model.graph.node[-1].output[0] = "valid"
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), "value"))
    zero = helper.make_node("Sub", ["valid", "valid"], ["zero"])
    model.graph.node.extend([zero, helper.make_node("Add", ["zero", "value"], ["probabilities"])])
    session = Session(model.SerializeToString(), spec_of())
    with pytest.raises(ClassifierError, match="returns invalid probabilities"):
        session.run(["probabilities"], np.zeros((2, SIDE, SIDE, 1), np.uint8))
