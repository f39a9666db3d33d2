"""The number of weights is known without Keras, and is that of the network that Keras builds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lucency import models
from lucency.classifier import architectures
from lucency.classifier.architectures import BACKBONES, check_parameters, weight_count
from lucency.models import backbones

keras = models.keras


def weights_of(network: Any) -> int:
    return sum(math.prod(variable.shape) for variable in models.variables_of(network).values())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("shape", [(32, 32, 1), (47, 61, 3), (255, 255, 3)])
def test_the_article_is_counted(classes: int, shape: tuple[int, int, int]) -> None:
    network = models.article(classes, shape)
    assert (
        weight_count("article", classes, shape, {}) == weights_of(network) == network.count_params()
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"width": 3, "blocks": [1]},
        {"width": 5, "blocks": [2, 1, 3, 1, 2], "dropout": 0.0},
        {"width": 4, "blocks": [1, 1, 1, 1, 1, 1]},
        {"width": 3, "blocks": [1, 2], "members": 3},
    ],
)
@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (4, 3)])
def test_the_default_is_counted(parameters: dict[str, Any], classes: int, channels: int) -> None:
    check_parameters("default", parameters)
    shape = (64, 64, channels)
    network = models.build("default", classes, shape, parameters)
    assert weight_count("default", classes, shape, parameters) == network.count_params()


@pytest.mark.parametrize("backbone", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "VGG16"])
@pytest.mark.parametrize("classes", [2, 5])
def test_backbones_are_counted(backbone: str, classes: int) -> None:
    shape = (64, 64, 3)
    network = models.pretrained(classes, shape, backbone=backbone, weights="none")
    assert weight_count("pretrained", classes, shape, {"backbone": backbone}) == weights_of(network)


def test_the_listed_backbones_are_those_that_can_be_trained() -> None:
    with pytest.raises(Exception, match="Known: ") as caught:
        backbones.application("unknown")
    known = str(caught.value).partition("Known: ")[2].rstrip(".").split(", ")
    assert sorted(known) == sorted(BACKBONES)


def test_every_parameter_of_an_architecture_is_checked() -> None:
    for name, function in models.ARCHITECTURES.items():
        parameters = backbones.parameters_of(function) - {"classes", "input_shape", "weights"}
        assert parameters == architectures._PARAMETERS[name]
        assert parameters <= architectures._CHECKS.keys()
