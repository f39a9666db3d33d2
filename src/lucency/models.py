"""Architectures: names and numbers in, plain ``keras.Model`` out.

Every network takes pixel values from 0 to 255 and scales them itself. It ends in a layer called
``logits`` and, after it, ``probabilities`` (sigmoid for two classes, softmax for more). Where there
is a layer ``features``, the logits are a dense layer over its global average, so that the same
dense layer over each position is a class activation map.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lucency.backend import load_keras
from lucency.errors import BackendError, ClassifierError, ConfigError, nearest
from lucency.files import arrays_of, read_bytes, why

keras = load_keras()

Shape = tuple[int, int, int]

# How the networks of keras.applications want 0..255 scaled; what is in none is refused.
_SELF_SCALING = ("ConvNeXt", "EfficientNet", "MobileNetV3")
_MINUS_ONE_TO_ONE = (
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "NASNetLarge"),
    *("NASNetMobile", "ResNet50V2", "ResNet101V2", "ResNet152V2", "Xception"),
)
_STANDARDISED = ("DenseNet121", "DenseNet169", "DenseNet201")
_BLUE_FIRST = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red green blue
_BLUE_FIRST_MEAN = (103.939, 116.779, 123.68)
_LARGEST_WEIGHTS = 2**31  # bytes; the largest network of keras.applications has 1.4 * 10**9


def article(classes: int = 2, input_shape: Shape = (255, 255, 3)) -> Any:
    """Build the tutorial's network: three convolutions, then two dense layers.

    Args:
        classes: Number of classes, at least 2; two get one sigmoid unit, more get a softmax.
        input_shape: Height, width, channels; pixel values 0 to 255.

    Returns:
        A ``keras.Model`` with 3,706,049 parameters for two classes at 255 x 255 x 3.
    """
    layers = keras.layers
    pixels = keras.Input(input_shape, name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(pixels)
    for block, dropout in enumerate((0.0, 0.2, 0.2), start=1):
        x = layers.Conv2D(32, 3, activation="relu", name=f"conv{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{block}")(x)
    x = layers.Dropout(0.2, name="dropout")(layers.Flatten(name="flatten")(x))
    x = layers.Dense(128, activation="relu", name="dense")(x)
    return keras.Model(pixels, _head(x, classes), name="article")


def default(
    classes: int = 2,
    input_shape: Shape = (112, 112, 1),
    *,
    width: int = 32,
    blocks: tuple[int, ...] = (1, 1, 2, 2),
    dropout: float = 0.2,
    members: int = 1,
) -> Any:
    """Build a residual network with batch normalisation and global average pooling.

    Several members are as many networks side by side, whose logits are averaged (Lakshminarayanan
    et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles"). As
    their feature maps stand beside each other, the average is one dense layer over them.

    Args:
        classes: Number of classes, at least 2; two get one sigmoid unit, more get a softmax.
        input_shape: Height, width, channels; pixel values 0 to 255.
        width: Channels of the first stage; later stages have 2, 4 and 5 times as many.
        blocks: Residual blocks per stage; each stage after the first halves the resolution.
        dropout: Share of pooled features dropped while training, 0 to below 1.
        members: Networks whose logits are averaged, at least 1.

    Returns:
        A ``keras.Model`` whose layer ``features`` is the last feature map (height / 16), or those
        of all members, each divided by their number.
    """
    pixels = keras.Input(input_shape, name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    if members == 1:
        x = _stages(x, width, blocks, "", "features")
    else:
        names = [f"member{k + 1}_" for k in range(members)]
        maps = [_stages(x, width, blocks, name, f"{name}features") for name in names]
        x = keras.layers.Concatenate(name="members")(maps)
        x = keras.layers.Rescaling(1 / members, name="features")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(pixels, _head(x, classes), name="default")


def pretrained(
    classes: int = 2,
    input_shape: Shape = (224, 224, 3),
    *,
    backbone: str = "MobileNetV2",
    weights: str = "none",
    dropout: float = 0.2,
) -> Any:
    """Put a new head on a network of ``keras.applications``, with its input scaling inside.

    Args:
        classes: Number of classes, at least 2.
        input_shape: Height, width and 3 channels; pixel values 0 to 255.
        backbone: Name of a ``keras.applications`` function, for example ``ConvNeXtTiny``.
        weights: ``imagenet`` (downloaded by Keras), ``none`` for random ones, or the path of a
            ``.safetensors`` file of your own: for each variable of the backbone without its top,
            an array of its ``path``.
        dropout: Share of pooled features dropped while training.

    Raises:
        ConfigError: The backbone is not one that can be used, or the weights file does not exist,
            is damaged or does not fit the backbone.
        BackendError: The weights cannot be downloaded.
    """
    build = _application(backbone)
    pixels = keras.Input(input_shape, name="pixels")
    x = _scaled(pixels, backbone)
    given = {"include_preprocessing": True} if "include_preprocessing" in _names(build) else {}
    body = _with_weights(
        lambda source: build(
            include_top=False, input_tensor=x, input_shape=input_shape, weights=source, **given
        ),
        backbone,
        weights,
    )
    x = keras.layers.Activation("linear", name="features")(body.output)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(pixels, _head(x, classes), name="pretrained")


ARCHITECTURES: Mapping[str, Callable[..., Any]] = {
    "article": article,
    "default": default,
    "pretrained": pretrained,
}


def build(name: str, classes: int, input_shape: Shape, parameters: Mapping[str, Any]) -> Any:
    """Build the architecture ``name`` with random weights, as ``classifier.json`` describes it.

    Raises:
        ClassifierError: The name or a parameter is unknown.
    """
    if name not in ARCHITECTURES:
        raise ClassifierError(
            f"Unknown architecture {name!r}.{nearest(name, ARCHITECTURES)} "
            f"Known: {', '.join(ARCHITECTURES)}."
        )
    function = ARCHITECTURES[name]
    unknown = set(parameters) - (_names(function) - {"classes", "input_shape"})
    if unknown:
        raise ClassifierError(f"Architecture {name!r} has no parameter {sorted(unknown)[0]!r}.")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}
    return function(classes, input_shape, **given)


def widened(network: Any, channels: int) -> Any:
    """Return a function from pixels with ``channels`` to pixels with those the network takes."""
    wanted = network.input_shape[-1]
    if channels == wanted:
        return lambda pixels: pixels
    return lambda pixels: keras.ops.repeat(pixels, wanted // channels, axis=-1)


def calibrated(network: Any, channels: int, temperature: float) -> Any:
    """Wrap a network so that stored pixels go in and calibrated probabilities come out.

    Args:
        network: A network of this module, in float32.
        channels: Channels of the stored pictures: 1 (grey) or 3.
        temperature: What the logits are divided by, above 0.

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
        taps = [logits_layer.input, network.get_layer("features").output]
        embedding, features = keras.Model(network.inputs, taps)(x)
        evidence = logits_layer(features)
    else:
        features = keras.Model(network.inputs, network.get_layer("flatten").input)(x)
        hidden = network.get_layer("dense")
        embedding, evidence = FlatEvidence(hidden, logits_layer, name="evidence")(features)
    logits = logits_layer(embedding)
    scaled = logits / temperature
    if logits.shape[-1] == 1:
        both = [keras.ops.sigmoid(-scaled), keras.ops.sigmoid(scaled)]
        outputs = {"probabilities": keras.ops.concatenate(both, axis=-1)}
    else:
        outputs = {"probabilities": keras.ops.softmax(scaled, axis=-1)}
    outputs["embedding"] = embedding
    outputs["activation_map"] = evidence
    return keras.Model(pixels, outputs, name="calibrated")


class FlatEvidence(keras.layers.Layer):  # type: ignore[misc, name-defined]
    """The head *flatten, dense, ReLU, dense* of a feature map, with what each position adds.

    For a given picture a unit of the hidden layer is either on or off, so that the logit is a
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


def _head(x: Any, classes: int) -> Any:
    """Add the logits and, in float32 whatever the precision, the probabilities."""
    if classes < 2:
        raise ConfigError(f"A classifier needs at least 2 classes. Received: {classes}")
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    x = keras.layers.Dense(units, name="logits", dtype="float32")(x)
    return keras.layers.Activation(activation, name="probabilities", dtype="float32")(x)


def _stages(x: Any, width: int, blocks: tuple[int, ...], prefix: str, out: str) -> Any:
    """Add the stem and all stages; the last feature map is called ``out``."""
    x = _convolution(x, width, 3, 2, f"{prefix}stem")
    for stage, count in enumerate(blocks):
        filters = width * (1, 2, 4, 5)[min(stage, 3)]
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            last = stage == len(blocks) - 1 and block == count - 1
            name = f"{prefix}stage{stage + 1}_block{block + 1}"
            x = _residual(x, filters, stride, name, out if last else f"{name}_out")
    return x


def _convolution(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    x = _linear(x, filters, kernel, stride, name)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _linear(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    x = keras.layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(x)  # fmt: skip
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)


def _residual(x: Any, filters: int, stride: int, name: str, out: str) -> Any:
    """Two convolutions beside a shortcut (He et al. 2015, "Deep Residual Learning", section 3)."""
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        if stride > 1:  # average pooling keeps what a strided 1 x 1 convolution would skip
            shortcut = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
        shortcut = _linear(shortcut, filters, 1, 1, f"{name}_shortcut")
    x = _convolution(x, filters, 3, stride, f"{name}_a")
    x = _linear(x, filters, 3, 1, f"{name}_b")
    return keras.layers.ReLU(name=out)(keras.layers.Add(name=f"{name}_add")([x, shortcut]))


def _application(backbone: str) -> Callable[..., Any]:
    """Return the Keras function of a backbone whose input scaling is known."""
    scaled = {*_MINUS_ONE_TO_ONE, *_STANDARDISED, *_BLUE_FIRST}
    names = (name for name in dir(keras.applications) if name[0].isupper())
    known = [name for name in names if name in scaled or name.startswith(_SELF_SCALING)]
    if backbone not in known:
        raise ConfigError(
            f"Unknown backbone {backbone!r}.{nearest(backbone, known)} Known: {', '.join(known)}."
        )
    build: Callable[..., Any] = getattr(keras.applications, backbone)
    return build


def _scaled(pixels: Any, backbone: str) -> Any:
    """Scale 0..255 as ``keras.applications`` does for this backbone."""
    scale: Any
    offset: Any
    if backbone in _MINUS_ONE_TO_ONE:
        scale, offset = 1 / 127.5, -1.0
    elif backbone in _STANDARDISED:
        scale = [1 / (255 * sd) for sd in _SD]
        offset = [-mean / sd for mean, sd in zip(_MEAN, _SD, strict=True)]
    elif backbone in _BLUE_FIRST:
        pixels, scale, offset = pixels[..., ::-1], 1.0, [-mean for mean in _BLUE_FIRST_MEAN]
    else:
        return pixels
    return keras.layers.Rescaling(scale, offset=offset, name="rescale")(pixels)


def _with_weights(make: Callable[[str | None], Any], backbone: str, weights: str) -> Any:
    if weights == "none":
        return make(None)
    if weights != "imagenet":
        return _with_weight_file(make, backbone, Path(weights))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of sizes that it was not trained at
            return make("imagenet")
    except Exception as error:
        raise BackendError(
            f"The ImageNet weights of {backbone} could not be downloaded ({error}). Without a "
            "network: on a computer that has one, run: "
            f"{_conversion(backbone, f'keras.applications.{backbone}(include_top=False)')}. Bring "
            f"that file here and give --weights {backbone}.safetensors; or train without, by "
            "--weights none."
        ) from error


def _with_weight_file(make: Callable[[str | None], Any], backbone: str, file: Path) -> Any:
    """Put the user's own arrays into a backbone, all of them checked before the first is used."""
    if file.suffix != ".safetensors":
        # Formats that Keras would have to read: they can hold code, or name other files.
        made = f"keras.applications.{backbone}(include_top=False, weights='{file.name}')"
        keras_file = file.suffix in (".h5", ".hdf5", ".keras")
        how = f" On a computer that may run it: {_conversion(backbone, made)}" if keras_file else ""
        raise ConfigError(
            "--weights must be imagenet, none or an existing .safetensors file. "
            f"Received: {str(file)!r}.{how}"
        )
    body = make(None)
    variables = {variable.path: variable for variable in body.weights}
    try:
        arrays = arrays_of(read_bytes(file, _LARGEST_WEIGHTS, follow=True))
        _check_arrays(arrays, variables)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The weights do not fit {backbone} without its top: {file} ({why(error)}). "
            "Make them by: "
            f"{_conversion(backbone, f'keras.applications.{backbone}(include_top=False)')}"
        ) from error
    for path, variable in variables.items():
        variable.assign(arrays[path])
    return body


def _check_arrays(arrays: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
    """Raise ValueError at the first array that is missing, foreign, misshapen or not finite."""
    for path in sorted(arrays.keys() ^ variables.keys()):
        raise ValueError(f"{path[:80]!r} is {'not there' if path in variables else 'no variable'}")
    for path, array in arrays.items():
        shape, kind = tuple(variables[path].shape), str(variables[path].dtype)
        if array.shape != shape or str(array.dtype) != kind:
            raise ValueError(
                f"{path!r} is {array.dtype} {array.shape}, and the backbone's is {kind} {shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{path!r} is not finite everywhere")


def _conversion(backbone: str, made: str) -> str:
    """Return the line of Python that writes the weights of a backbone as we read them."""
    return (
        "import keras, numpy, safetensors.numpy as s; "
        f"s.save_file({{w.path: numpy.array(w) for w in {made}.weights}}, '{backbone}.safetensors')"
    )


def _names(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)
