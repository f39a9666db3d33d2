from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lucency import models
from lucency.errors import BackendError, ClassifierError, ConfigError
from lucency.models import backbones

keras = models.keras


def test_the_article_has_the_layers_and_parameters_of_the_tutorial() -> None:
    model = models.article(classes=2, input_shape=(255, 255, 3))
    assert isinstance(model, keras.Model)
    assert model.count_params() == 3_706_049
    assert model.output_shape == (None, 1)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") == 3
    assert kinds.count("MaxPooling2D") == 3
    assert kinds.count("Dropout") == 3
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.2] * 3


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "parameters"), [("article", {}), ("default", {"width": 8, "blocks": (1, 1)})]
)
@pytest.mark.parametrize(("classes", "units"), [(2, 1), (5, 5)])
def test_any_number_of_classes(
    name: str, parameters: dict[str, Any], classes: int, units: int
) -> None:
    model = models.build(name, classes, (48, 48, 1), parameters)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1)).astype(np.float32)
    outputs = model.predict_on_batch(pixels)
    assert outputs.shape == (3, units)
    assert ((outputs >= 0) & (outputs <= 1)).all()
    if units > 1:
        np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-6)


@pytest.mark.backend
def test_the_mean_of_the_activation_map_is_the_logit() -> None:
    network = models.default(3, (64, 64, 1), width=8, blocks=(1, 1))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 1), dtype=np.uint8)
    outputs = models.calibrated(network, 1, 2.0).predict_on_batch(pixels)
    maps, probabilities = (outputs[k] for k in ("activation_map", "probabilities"))
    logits = maps.mean(axis=(1, 2)) / 2.0
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.backend
def test_grey_pixels_are_repeated_for_a_colour_network() -> None:
    network = models.article(2, (48, 48, 3))
    grey = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), dtype=np.uint8)
    wrapped = models.calibrated(network, 1, 1.0).predict_on_batch(grey)["probabilities"]
    direct = np.asarray(network.predict_on_batch(np.repeat(grey, 3, axis=-1).astype(np.float32)))
    np.testing.assert_allclose(wrapped[:, 1:], direct, atol=1e-6)
    np.testing.assert_allclose(wrapped.sum(axis=1), 1, atol=1e-6)


def test_unknown_architectures_and_parameters_are_rejected() -> None:
    with pytest.raises(ClassifierError, match="Did you mean 'default'"):
        models.build("defualt", 2, (32, 32, 1), {})
    with pytest.raises(ClassifierError, match="no parameter 'depth'"):
        models.build("default", 2, (32, 32, 1), {"depth": 3})
    with pytest.raises(ConfigError, match="at least 2 classes"):
        models.default(1, (32, 32, 1))


def small_backbone() -> Any:
    return keras.applications.MobileNet(include_top=False, input_shape=(32, 32, 3), weights=None)


def test_the_users_own_weight_file_is_loaded(tmp_path: Path) -> None:
    body = small_backbone()
    file = tmp_path / "own.safetensors"
    save_file({variable.path: np.array(variable) for variable in body.weights}, file)
    model = models.pretrained(2, (32, 32, 3), backbone="MobileNet", weights=str(file))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    features = keras.Model(model.inputs, model.get_layer("features").output)
    expected = np.asarray(
        body.predict_on_batch(pixels / 127.5 - 1)
    )  # its input scaling is inside ours
    np.testing.assert_allclose(features.predict_on_batch(pixels), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "module"),
    [
        ("MobileNetV2", "mobilenet_v2"),
        ("DenseNet121", "densenet"),
        ("ResNet50", "resnet"),
        ("VGG16", "vgg16"),
        ("EfficientNetB0", "efficientnet"),
        ("Xception", "xception"),
    ],
)
def test_every_kind_of_backbone_gets_its_own_scaling(backbone: str, module: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    inputs = keras.Input((4, 4, 3))
    ours = backbones.scaled(inputs, backbone)
    found = pixels if ours is inputs else keras.Model(inputs, ours).predict_on_batch(pixels)
    preprocess = getattr(keras.applications, module).preprocess_input
    np.testing.assert_allclose(found, preprocess(pixels.copy()), atol=2e-5)


@pytest.mark.parametrize("name", ["own.weights.h5", "own.h5", "own.keras"])
def test_a_file_that_keras_would_have_to_read_is_not_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)  # opening it would block forever
    with pytest.raises(ConfigError, match=r"existing \.safetensors.*save_file") as caught:
        models.pretrained(2, (32, 32, 3), backbone="MobileNet", weights=str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_the_line_that_converts_weights_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small_backbone().save_weights("own.weights.h5")
    with pytest.raises(ConfigError, match="On a computer") as caught:
        models.pretrained(2, (32, 32, 3), backbone="MobileNet", weights="own.weights.h5")
    line = str(caught.value).partition("may run it: ")[2]
    exec(line, {})  # noqa: S102 - the line that users are asked to run
    network = models.pretrained(
        2, (32, 32, 3), backbone="MobileNet", weights="MobileNet.safetensors"
    )
    ours = {variable.path: np.array(variable) for variable in network.weights}
    for variable in small_backbone_from("own.weights.h5").weights:
        np.testing.assert_array_equal(ours[variable.path], np.array(variable))


def small_backbone_from(file: str) -> Any:
    body = small_backbone()
    body.load_weights(file)
    return body


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, first: arrays.pop(first), "missing"),
        (lambda arrays, _: arrays.update(more=np.zeros(1, np.float32)), "no variable"),
        (lambda arrays, first: arrays.update({first: arrays[first][..., :1]}), "backbone's is"),
        (lambda arrays, first: arrays.update({first: arrays[first].astype(int)}), "int64"),
        (lambda arrays, first: arrays.update({first: arrays[first] * np.nan}), "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_rejected(tmp_path: Path, change: Any, message: str) -> None:
    arrays = {variable.path: np.array(variable) for variable in small_backbone().weights}
    change(arrays, next(iter(arrays)))
    file = tmp_path / "own.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)
    with pytest.raises(ConfigError, match=f"do not fit MobileNet.*{message}"):
        models.pretrained(2, (32, 32, 3), backbone="MobileNet", weights=str(file))


def test_errors_of_wrong_weights_have_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = models.pretrained
    with pytest.raises(ConfigError, match="No such file"):
        make(2, (32, 32, 3), backbone="MobileNet", weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(ConfigError, match=r"existing \.safetensors file"):
        make(2, (32, 32, 3), backbone="MobileNet", weights="imagnet")
    with pytest.raises(ConfigError, match="Did you mean 'MobileNet'"):
        make(2, (32, 32, 3), backbone="MobilNet", weights="none")

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    with pytest.raises(BackendError, match=r"Without a network connection: .*save_file"):
        make(2, (96, 96, 3), backbone="MobileNet", weights="imagenet")
