"""From a trained network to the model that answers: stored pixels in, probabilities out."""

from __future__ import annotations

from typing import Any

from lucency.backend import load_keras

keras = load_keras()


def widened(network: Any, channels: int) -> Any:
    """Return a function from pixels with ``channels`` to pixels with those the network takes."""
    wanted = network.input_shape[-1]
    if channels == wanted:
        return lambda pixels: pixels
    return lambda pixels: keras.ops.repeat(pixels, wanted // channels, axis=-1)


def calibrated(network: Any, channels: int, temperature: float, *, plain: bool = False) -> Any:
    """Wrap a network so that stored pixels go in and calibrated probabilities come out.

    Args:
        network: A network of this module, in float32.
        channels: Channels of the stored images: 1 (grey) or 3.
        temperature: What the logits are divided by, above 0.
        plain: Of Keras' own layers only, so that the model can be saved as ``.keras`` and read
            back without this package; the map of a network without ``features`` is then left out.

    Returns:
        A model from ``pixels`` (n, height, width, channels) uint8 to a dictionary with
        ``probabilities`` (n, classes) float32, rows sum to 1, ``embedding`` (n, d) float32: what
        the logits are a dense layer of, and ``activation_map`` (n, h, w, units) float32: the
        logit's evidence at each position, whose mean is the logit itself, its bias included and
        before the temperature. With one unit it speaks for the second class.

        With a layer ``features`` the map is the dense layer of the logits over each position (Zhou
        et al. 2016, "Learning Deep Features for Discriminative Localization"). Without one it is
        what each position of the last feature map adds: see ``FlatEvidence``.
    """
    height, width = network.input_shape[1:3]
    pixels = keras.Input((height, width, channels), dtype="uint8", name="pixels")
    x = widened(network, channels)(keras.ops.cast(pixels, "float32"))
    names = {layer.name for layer in network.layers}
    logits_layer = network.get_layer("logits")
    if "features" in names:
        # Inside the same model as the logits: Keras cannot read a layer back that two models share.
        evidence = logits_layer(network.get_layer("features").output)
        taps = [logits_layer.output, logits_layer.input, evidence]
    elif plain:
        taps = [logits_layer.output, logits_layer.input]
    else:
        flat = FlatEvidence(network.get_layer("dense"), logits_layer, name="evidence")
        embedding, evidence = flat(network.get_layer("flatten").input)
        taps = [logits_layer(embedding), embedding, evidence]
    logits, embedding, *maps = keras.Model(network.inputs, taps)(x)
    scaled = logits / temperature
    if logits.shape[-1] == 1:
        both = [keras.ops.sigmoid(-scaled), keras.ops.sigmoid(scaled)]
        outputs = {"probabilities": keras.ops.concatenate(both, axis=-1)}
    else:
        outputs = {"probabilities": keras.ops.softmax(scaled, axis=-1)}
    outputs["embedding"] = embedding
    if maps:
        outputs["activation_map"] = maps[0]
    return keras.Model(pixels, outputs, name="calibrated")


class FlatEvidence(keras.layers.Layer):  # type: ignore[misc, name-defined]
    """The head *flatten, dense, ReLU, dense* of a feature map, with what each position adds.

    For a given image a unit of the hidden layer is either on or off, so that the logit is a
    linear function of the feature map. Gradient times feature map, summed over the channels, is
    then exactly what each position adds to the logit (HiResCAM: Draelos & Carin 2020, "Use HiResCAM
    instead of Grad-CAM for faithful explanations"). Grad-CAM (Selvaraju et al. 2017) averages the
    gradient over all positions first, and so loses where a flattened network found it.

    Args:
        hidden: The dense layer with ReLU behind the flattening, already built.
        logits: The dense layer behind it.
        name: Of the layer.
    """

    def __init__(self, hidden: Any, logits: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        self.hidden, self.logits = hidden, logits

    def call(self, features: Any) -> tuple[Any, Any]:
        """Return the hidden layer's output (n, units) and the map (n, h, w, logits).

        The mean over the map is the logit: each position holds what it adds, times the number of
        positions, plus what does not depend on any position.
        """
        ops = keras.ops
        height, width, channels = features.shape[1:]
        places = height * width
        # A product for each position: an exported file then holds the large kernel only once.
        kernel = ops.reshape(self.hidden.kernel, (places, channels, self.hidden.units))
        columns = ops.transpose(ops.reshape(features, (-1, places, channels)), (1, 0, 2))
        parts = ops.transpose(ops.matmul(columns, kernel), (1, 0, 2))  # (n, places, hidden)
        before = ops.sum(parts, axis=1) + self.hidden.bias
        on = ops.cast(before > 0, before.dtype)
        added = ops.matmul(parts, ops.expand_dims(on, -1) * self.logits.kernel)
        rest = ops.matmul(on * self.hidden.bias, self.logits.kernel) + self.logits.bias
        evidence = places * added + ops.expand_dims(rest, 1)
        return ops.relu(before), ops.reshape(evidence, (-1, height, width, self.logits.units))
