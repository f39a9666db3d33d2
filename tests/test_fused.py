"""The fused network computes the same as the plain one, and shares its variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucency import backend, models
from lucency.models import keras
from lucency.training.fused_layers import fused

ops = keras.ops

pytestmark = pytest.mark.skipif(
    not backend.waits_for_memory(), reason="only TensorFlow on a processor replaces layers"
)

SIDE = 64
NETWORKS = {
    "article": lambda: models.article(2, (SIDE, SIDE, 3)),
    "article in colour": lambda: models.article(3, (SIDE, SIDE, 3)),
    "default": lambda: models.default(3, (SIDE, SIDE, 1), width=16, blocks=(1, 1)),
    "pretrained": lambda: models.pretrained(
        2, (SIDE, SIDE, 3), backbone="MobileNetV2", weights="none", dropout=0.0
    ),
    "pooled": lambda: models.pretrained(
        2, (SIDE, SIDE, 3), backbone="VGG16", weights="none", dropout=0.0
    ),
}


def without_dropout(network: Any) -> Any:
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return network


def plain(network: Any) -> Any:
    return keras.Model(network.input, network.get_layer("logits").output)


def pixels(network: Any, channels: int) -> Any:
    shape = (4, SIDE, SIDE, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def logits_and_gradients(model: Any, x: Any, variables: list[Any]) -> tuple[Any, list[Any]]:
    """Return the logits in training mode, and the gradient of the sum of their squares."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        loss = tf.reduce_sum(tf.square(logits))
    return logits.numpy(), [g.numpy() for g in tape.gradient(loss, [v.value for v in variables])]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_gradients_and_statistics_are_those_of_the_plain_network(name: str) -> None:
    keras.utils.set_random_seed(0)
    network = without_dropout(NETWORKS[name]())
    grey = name != "article in colour"
    x = pixels(network, 1 if grey else 3)
    wide = np.repeat(x, network.input_shape[-1], axis=-1) if grey else x
    quick = fused(network, x.shape[-1])
    assert {id(v) for v in network.trainable_variables} == {
        id(v) for v in quick.trainable_variables
    }
    np.testing.assert_allclose(quick(x), plain(network)(wide), rtol=1e-3, atol=1e-3)

    before = network.get_weights()
    variables = network.trainable_variables
    expected, gradients = logits_and_gradients(plain(network), wide, variables)
    statistics = network.get_weights()
    network.set_weights(before)
    found, ours = logits_and_gradients(quick, x, variables)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    # By norm, because rounding may flip a single ReLU; some gradients are zero but for rounding.
    largest = max(np.linalg.norm(each) for each in gradients)
    for one, other in zip(ours, gradients, strict=True):
        difference = np.linalg.norm(one - other)
        assert difference <= 5e-2 * np.linalg.norm(other) + 1e-4 * largest
    for one, other in zip(network.get_weights(), statistics, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_layers_are_replaced() -> None:
    names = {layer.name for layer in fused(NETWORKS["article"](), 1).layers[-1].layers}
    assert {"fused_conv1", "fused_pool1", "fused_dropout2", "rescale", "dense"} <= names
    names = {layer.name for layer in fused(NETWORKS["default"](), 1).layers[-1].layers}
    assert {"fused_stem_norm", "stem_relu"} <= names


def test_normalisation_in_bfloat16_is_replaced_if_there_is_a_kernel() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = models.default(2, (SIDE, SIDE, 1), width=24, blocks=(1, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    names = {layer.name for layer in fused(network, 1).layers[-1].layers}
    assert "stem_norm" in names  # 24 channels
    assert "fused_stage2_block1_a_norm" in names  # 48


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    inputs = keras.Input((32, 32, 8))
    network = keras.Model(inputs, keras.layers.Dropout(0.3, name="logits")(inputs))
    quick = fused(network, 8)
    x = np.ones((64, 32, 32, 8), np.float32)
    kept = np.asarray(quick(x, training=True))
    share = float(np.mean(kept == 0))
    assert share == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / x.size))
    np.testing.assert_allclose(np.unique(kept), [0, 1 / 0.7], rtol=1e-4)
    again = np.asarray(quick(x, training=True))
    assert np.mean((kept == 0) == (again == 0)) == pytest.approx(0.3**2 + 0.7**2, abs=0.01)
    # Adjacent values share the 32 bits of one draw, and must be dropped independently.
    pairs = kept.reshape(-1, 2) == 0
    assert np.mean(pairs.all(axis=1)) == pytest.approx(0.09, abs=0.005)
    np.testing.assert_array_equal(quick(x, training=False), x)
