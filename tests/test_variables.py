"""Names of variables: the same whenever a network is built."""

from __future__ import annotations

import numpy as np
import pytest

from lucency import models
from lucency.models import keras, variables_of

layers = keras.layers


def unnamed() -> keras.Model:
    pixels = keras.Input((8, 8, 3))
    x = layers.Normalization()(pixels)
    x = layers.Conv2D(4, 3, name="conv2d_of_ours")(x)
    for _ in range(2):
        x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    return keras.Model(pixels, layers.LayerNormalization()(x))


def test_numbers_start_anew_in_each_network() -> None:
    first, second = unnamed(), unnamed()
    assert [each.path for each in first.weights] != [each.path for each in second.weights]
    ours, others = variables_of(first), variables_of(second)
    assert [*ours] == [*others]
    assert [each.shape for each in ours.values()] == [each.shape for each in others.values()]
    assert {
        "conv2d/kernel", "conv2d_1/kernel", "conv2d_of_ours/kernel", "layer_normalization/gamma",
        "batch_normalization/gamma", "batch_normalization_1/gamma", "normalization/mean",
    } <= ours.keys()  # fmt: skip
    convolutions = [each for each in first.layers if isinstance(each, layers.Conv2D)]
    assert ours["conv2d_1/kernel"] is convolutions[-1].kernel


def test_what_only_counts_is_left_out() -> None:
    network = unnamed()
    left = {each.path for each in network.weights} - {
        x.path for x in variables_of(network).values()
    }
    assert [path.split("/")[1] for path in left] == ["count"]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["ConvNeXtTiny", "EfficientNetB0", "InceptionV3", "Xception"])
def test_weights_of_a_backbone_fit_one_that_is_built_later(backbone: str) -> None:
    first, second = (
        models.pretrained(2, (96, 96, 3), backbone=backbone, weights="none") for _ in range(2)
    )
    kept = {name: np.asarray(each) for name, each in variables_of(first).items()}
    assert kept.keys() == variables_of(second).keys()
    assert len(kept) >= len(first.weights) - 1
