"""The networks: a name and parameters in, a plain ``keras.Model`` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lucency.backend import load_keras
from lucency.errors import ClassifierError, ConfigError, nearest
from lucency.models.backbones import backbone_body, fix_normalization, parameters_of, scaled
from lucency.models.efficientnet_lite import last_stage_of

keras = load_keras()

Shape = tuple[int, int, int]

BACKBONE_MAP = "backbone_features"  # last feature map of the pretrained network of an ensemble


def article(classes: int = 2, input_shape: Shape = (255, 255, 3)) -> Any:
    """Build the network of the tutorial: three convolutions, then two dense layers.

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
    multilabel: bool = False,
) -> Any:
    """Build a residual network with batch normalisation and global average pooling.

    With several members it is an ensemble of networks whose logits are averaged (Lakshminarayanan
    et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles").
    Their feature maps are concatenated, so that the average is one dense layer over them.

    Args:
        classes: Number of classes, at least 2; two get one sigmoid unit, more get a softmax.
        input_shape: Height, width, channels; pixel values 0 to 255.
        width: Channels of the first stage; later stages have 2, 4 and 5 times as many.
        blocks: Residual blocks per stage; each stage after the first halves the resolution.
        dropout: Share of pooled features dropped in training, 0 to below 1.
        members: Networks whose logits are averaged, at least 1.
        multilabel: Whether each class is a label that may be present beside others.

    Returns:
        A ``keras.Model`` whose layer ``features`` is the last feature map (height / 16); with
        several members, those of all members, divided by their number.
    """
    pixels = keras.Input(input_shape, name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    if members == 1:
        x = _stages(x, width, blocks, "", "features")
    else:
        x = _members(x, width, blocks, members, "features")
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(pixels, _head(x, classes, multilabel), name="default")


def pretrained(
    classes: int = 2,
    input_shape: Shape = (224, 224, 3),
    *,
    backbone: str = "MobileNetV2",
    weights: str = "none",
    dropout: float = 0.2,
    multilabel: bool = False,
) -> Any:
    """Put a new head on a pretrained network; input scaling is included.

    Args:
        classes: Number of classes, at least 2.
        input_shape: Height, width and 3 channels; pixel values 0 to 255.
        backbone: ``EfficientNetLite0``, ``EfficientNetLite2``, or a function of
            ``keras.applications``, for example ``MobileNetV2``.
        weights: ``imagenet`` (of the extra ``pretrained`` for an EfficientNet-Lite, else downloaded
            by Keras), ``none`` for random weights, or the path of your own ``.safetensors`` file
            with an array for each variable of the backbone without its top layers, named by the
            variable's ``path``.
        dropout: Share of pooled features dropped in training.
        multilabel: As for ``default``.

    Raises:
        ConfigError: The backbone is not supported, or the weights file does not exist, is damaged
            or does not fit the backbone.
        BackendError: The weights cannot be downloaded, or the extra is missing or damaged.
    """
    pixels = keras.Input(input_shape, name="pixels")
    body = backbone_body(backbone, scaled(pixels, backbone), input_shape, weights)
    x = keras.layers.Activation("linear", name="features")(body.output)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    network = keras.Model(pixels, _head(x, classes, multilabel), name="pretrained")
    fix_normalization(network)
    return network


def ensemble(  # noqa: PLR0913 - one per parameter of the architecture
    classes: int = 2,
    input_shape: Shape = (224, 224, 1),
    *,
    width: int = 32,
    blocks: tuple[int, ...] = (1, 1, 2, 2),
    members: int = 1,
    backbone: str = "EfficientNetLite0",
    downsampling: int = 2,
    multilabel: bool = False,
) -> Any:
    """Build default networks beside a pretrained one, as an ensemble whose logits are averaged.

    The default networks see the image at a lower resolution. The feature maps of all are
    concatenated, so that the average is one dense layer over them.

    Args:
        classes: Number of classes, at least 2.
        input_shape: Height and width, multiples of 16 times the downsampling, and 1 or 3 channels;
            pixel values 0 to 255.
        width: Of the default networks.
        blocks: Of the default networks.
        members: Default networks, at least 1; their features are divided by this number.
        backbone: The pretrained network, built with random weights.
        downsampling: Factor by which height and width are larger than the default networks see
            them; even.
        multilabel: As for ``default``.

    Returns:
        A ``keras.Model`` whose layer ``features`` has the last feature maps of all, averaged to
        the resolution of the smallest.
    """
    layers = keras.layers
    pixels = keras.Input(input_shape, name="pixels")
    x = layers.AveragePooling2D(downsampling, name="downsampled")(pixels)
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale_downsampled")(x)
    maps = _members(x, width, blocks, members, "members_features")
    y = pixels if input_shape[2] == 3 else layers.Concatenate(name="colour")([pixels] * 3)
    body = backbone_body(backbone, scaled(y, backbone), (*input_shape[:2], 3), "none").output
    # To one size, with the same mean.
    ours, theirs = int(maps.shape[1]), int(body.shape[1])
    maps = layers.AveragePooling2D(max(1, ours // theirs), name="members_pooled")(maps)
    body = layers.AveragePooling2D(max(1, theirs // ours), name=BACKBONE_MAP)(body)
    x = layers.Concatenate(name="features")([maps, body])
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    network = keras.Model(pixels, _head(x, classes, multilabel), name="ensemble")
    fix_normalization(network)
    return network


def last_stage(
    classes: int = 2,
    input_shape: Shape = (7, 7, 192),
    *,
    backbone: str = "EfficientNetLite0",
    dropout: float = 0.2,
    multilabel: bool = False,
) -> Any:
    """Build the last stage of an EfficientNet-Lite and a new head, to be fine-tuned by themselves.

    Its batch normalisation keeps the statistics and the scales that it has.

    Args:
        classes: Number of classes, at least 2.
        input_shape: Height, width and channels of the feature map before the last stage.
        backbone: ``EfficientNetLite0`` or ``EfficientNetLite2``.
        dropout: Share of pooled features dropped in training.
        multilabel: As for ``default``.

    Returns:
        A ``keras.Model`` whose variables have the names that they have in ``pretrained``.
    """
    maps = keras.Input(input_shape, name="maps")
    body = last_stage_of(backbone, maps)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(body.output)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(maps, _head(x, classes, multilabel), name="last_stage")


ARCHITECTURES: Mapping[str, Callable[..., Any]] = {
    "article": article,
    "default": default,
    "ensemble": ensemble,
    "pretrained": pretrained,
}
_PARTS = {"last_stage": last_stage}  # trained by themselves; no classifier consists of one


def build(name: str, classes: int, input_shape: Shape, parameters: Mapping[str, Any]) -> Any:
    """Build the architecture ``name`` with random weights, as ``classifier.json`` describes it.

    The part ``last_stage`` of one can be built, too.

    Raises:
        ClassifierError: The name or a parameter is unknown.
    """
    functions: Mapping[str, Callable[..., Any]] = {**ARCHITECTURES, **_PARTS}
    if name not in functions:
        raise ClassifierError(
            f"Unknown architecture {name!r}.{nearest(name, ARCHITECTURES)} "
            f"Known: {', '.join(ARCHITECTURES)}."
        )
    function = functions[name]
    unknown = set(parameters) - (parameters_of(function) - {"classes", "input_shape"})
    if unknown:
        raise ClassifierError(f"Architecture {name!r} has no parameter {sorted(unknown)[0]!r}.")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}
    return function(classes, input_shape, **values)


def _head(x: Any, classes: int, multilabel: bool = False) -> Any:
    """Add the logits and the probabilities, in float32 at any precision.

    Several labels have a sigmoid unit each.
    """
    if classes < 2:
        raise ConfigError(f"A classifier needs at least 2 classes. Received: {classes}")
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    if multilabel:
        units, activation = classes, "sigmoid"
    x = keras.layers.Dense(units, name="logits", dtype="float32")(x)
    return keras.layers.Activation(activation, name="probabilities", dtype="float32")(x)


def _members(x: Any, width: int, blocks: tuple[int, ...], members: int, out: str) -> Any:
    """Add networks beside each other; their last feature maps, divided by their number."""
    names = [f"member{k + 1}_" for k in range(members)]
    maps = [_stages(x, width, blocks, name, f"{name}features") for name in names]
    if members > 1:
        maps = [keras.layers.Concatenate(name="members")(maps)]
    return keras.layers.Rescaling(1 / members, name=out)(maps[0])


def _stages(x: Any, width: int, blocks: tuple[int, ...], prefix: str, out: str) -> Any:
    """Add the stem and all stages; the last feature map has the name ``out``."""
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
        if stride > 1:  # average pooling uses the pixels that a strided 1 x 1 convolution skips
            shortcut = keras.layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
        shortcut = _linear(shortcut, filters, 1, 1, f"{name}_shortcut")
    x = _convolution(x, filters, 3, stride, f"{name}_a")
    x = _linear(x, filters, 3, 1, f"{name}_b")
    return keras.layers.ReLU(name=out)(keras.layers.Add(name=f"{name}_add")([x, shortcut]))
