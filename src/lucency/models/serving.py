"""From a trained network to the model that predicts: stored pixels in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucency.backend import load_keras
from lucency.models.networks import BACKBONE_MAP

keras = load_keras()


def widened(network: Any, channels: int) -> Any:
    """Return a function that repeats the channels of pixels to those of the network."""
    wanted = network.input_shape[-1]
    if channels == wanted:
        return lambda pixels: pixels
    return lambda pixels: keras.ops.repeat(pixels, wanted // channels, axis=-1)


def calibrated(
    network: Any,
    channels: int,
    temperature: float,
    bias: Sequence[float] = (),
    dtype: str = "uint8",
) -> Any:
    """Wrap a network: stored pixels in, calibrated probabilities out.

    Args:
        network: A network of this package, in float32.
        channels: Channels of the stored images: 1 (grey) or 3.
        temperature: Divisor of the logits, above 0.
        bias: Added to the logits after that, one value per class; none if empty.
        dtype: Of the pixels: ``uint8`` or ``float32``.

    Returns:
        A model from ``pixels`` (n, height, width, channels), 0 to 255, to a dictionary with
        ``probabilities`` (n, classes) float32, rows sum to 1 unless the network has a sigmoid unit
        for each of several labels; ``embedding`` (n, d) float32, the
        input of the last layer, or that part of it which an ensemble has from its pretrained
        network; and ``activation_map`` (n, h, w, units) float32, the evidence at each position. The
        mean of a map is the logit, including the bias of the last layer and before the temperature.
        With one unit it is the evidence for the second class.

        With a layer ``features`` the map is the last layer applied to each position (Zhou et al.
        2016, "Learning Deep Features for Discriminative Localization"). Without one it is the
        contribution of each position of the last feature map: see ``FlatEvidence``.
    """
    height, width = network.input_shape[1:3]
    pixels = keras.Input((height, width, channels), dtype=dtype, name="pixels")
    x = widened(network, channels)(keras.ops.cast(pixels, "float32"))
    names = {layer.name for layer in network.layers}
    logits_layer = network.get_layer("logits")
    if "features" in names:
        evidence = logits_layer(network.get_layer("features").output)
        taps = [logits_layer.output, logits_layer.input, evidence]
    else:
        flat = FlatEvidence(network.get_layer("dense"), logits_layer, name="evidence")
        embedding, evidence = flat(network.get_layer("flatten").input)
        taps = [logits_layer(embedding), embedding, evidence]
    logits, embedding, evidence = keras.Model(network.inputs, taps)(x)
    if BACKBONE_MAP in names:
        embedding = embedding[:, -network.get_layer(BACKBONE_MAP).output.shape[-1] :]
    scaled = logits / temperature
    if any(bias):
        shift = [bias[1] - bias[0]] if logits.shape[-1] == 1 else bias
        scaled = keras.ops.add(scaled, np.asarray(shift, np.float32))  # a tensor would be an input
    multilabel = logits.shape[-1] > 1 and network.layers[-1].activation is keras.activations.sigmoid
    if multilabel:
        outputs = {"probabilities": keras.ops.sigmoid(scaled)}
    elif logits.shape[-1] == 1:
        both = [keras.ops.sigmoid(-scaled), keras.ops.sigmoid(scaled)]
        outputs = {"probabilities": keras.ops.concatenate(both, axis=-1)}
    else:
        outputs = {"probabilities": keras.ops.softmax(scaled, axis=-1)}
    outputs |= {"embedding": embedding, "activation_map": evidence}
    return keras.Model(pixels, outputs, name="calibrated")


class FlatEvidence(keras.layers.Layer):  # type: ignore[misc, name-defined]
    """The head *flatten, dense, ReLU, dense* of a feature map, with each position's contribution.

    For a given image each unit of the hidden layer is either active or not, so that the logit is a
    linear function of the feature map. Gradient times feature map, summed over the channels, is
    then exactly the contribution of each position to the logit (HiResCAM: Draelos & Carin 2020,
    "Use HiResCAM instead of Grad-CAM for faithful explanations"). Grad-CAM (Selvaraju et al. 2017)
    averages the gradient over all positions first, and so loses the position in a flattened
    network.

    Args:
        hidden: The dense layer with ReLU after the flattening, already built.
        logits: The dense layer after it.
        name: Of the layer.
    """

    def __init__(self, hidden: Any, logits: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self.hidden, self.logits = hidden, logits

    def call(self, features: Any) -> tuple[Any, Any]:
        """Return the hidden layer's output (n, units) and the map (n, h, w, logits).

        The mean of the map is the logit: each position holds its contribution times the number of
        positions, plus the terms that depend on no position.
        """
        ops = keras.ops
        height, width, channels = features.shape[1:]
        places = height * width
        # One product per position, so that an exported file holds the large kernel only once.
        kernel = ops.reshape(self.hidden.kernel, (places, channels, self.hidden.units))
        columns = ops.transpose(ops.reshape(features, (-1, places, channels)), (1, 0, 2))
        parts = ops.transpose(ops.matmul(columns, kernel), (1, 0, 2))  # (n, places, hidden)
        before = ops.sum(parts, axis=1) + self.hidden.bias
        active = ops.cast(before > 0, before.dtype)
        added = ops.matmul(parts, ops.expand_dims(active, -1) * self.logits.kernel)
        rest = ops.matmul(active * self.hidden.bias, self.logits.kernel) + self.logits.bias
        evidence = places * added + ops.expand_dims(rest, 1)
        return ops.relu(before), ops.reshape(evidence, (-1, height, width, self.logits.units))
