"""Networks without their top layers, most of ``keras.applications``: input scaling, weights."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lucency.backend import load_keras
from lucency.errors import BackendError, ConfigError, nearest
from lucency.io import arrays_of, read_bytes, why
from lucency.models.efficientnet_lite import (
    LITE,
    efficientnet_lite,
    imagenet_origin,
    load_imagenet,
)
from lucency.models.variables import variables_of

keras = load_keras()

# How the networks of keras.applications expect 0..255 scaled; networks not listed are rejected.
_SELF_SCALING = ("ConvNeXt", "EfficientNet", "MobileNetV3")
_MINUS_ONE_TO_ONE = (
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "NASNetLarge"),
    *("NASNetMobile", "ResNet50V2", "ResNet101V2", "ResNet152V2", "Xception"),
)
_STANDARDISED = ("DenseNet121", "DenseNet169", "DenseNet201")
_BLUE_FIRST = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, red green blue
_BLUE_FIRST_MEAN = (103.939, 116.779, 123.68)
_MAX_WEIGHTS = 2**31  # bytes; the largest network of keras.applications has 1.4 * 10**9


def backbone_body(backbone: str, x: Any, input_shape: tuple[int, int, int], weights: str) -> Any:
    """Build a network of ``keras.applications``, or an EfficientNet-Lite, without its top layers.

    Args:
        backbone: Its name.
        x: The input, as returned by ``scaled``.
        input_shape: Height, width and channels of the images.
        weights: As for ``lucency.models.pretrained``.
    """
    if backbone in LITE:
        return _with_weights(lambda source: _lite(backbone, x, source), backbone, weights)
    build = application(backbone)
    has_scaling = "include_preprocessing" in parameters_of(build)
    options = {"include_preprocessing": True} if has_scaling else {}
    return _with_weights(
        lambda source: build(
            include_top=False, input_tensor=x, input_shape=input_shape, weights=source, **options
        ),
        backbone,
        weights,
    )


def _lite(backbone: str, x: Any, weights: str | None) -> Any:
    body = efficientnet_lite(backbone, x)
    if weights:
        load_imagenet(body)
    return body


def application(backbone: str) -> Callable[..., Any]:
    """Return the Keras function of a backbone whose input scaling is known."""
    known_scaling = {*_MINUS_ONE_TO_ONE, *_STANDARDISED, *_BLUE_FIRST}
    names = (name for name in dir(keras.applications) if name[0].isupper())
    known = [name for name in names if name in known_scaling or name.startswith(_SELF_SCALING)]
    known = sorted([*known, *LITE])
    if backbone not in known:
        raise ConfigError(
            f"Unknown backbone {backbone!r}.{nearest(backbone, known)} Known: {', '.join(known)}."
        )
    build: Callable[..., Any] = getattr(keras.applications, backbone)
    return build


def scaled(pixels: Any, backbone: str) -> Any:
    """Scale 0..255 as ``keras.applications`` does it for this backbone."""
    scale: Any
    offset: Any
    if backbone in _MINUS_ONE_TO_ONE:
        scale, offset = 1 / 127.5, -1.0
    elif backbone in _STANDARDISED:
        scale = [1 / (255 * sd) for sd in _SD]
        offset = [-mean / sd for mean, sd in zip(_MEAN, _SD, strict=True)]
    elif backbone in _BLUE_FIRST:
        # Reversed by slices: flip and steps of -1 become operators that few runtimes have.
        pixels = keras.ops.concatenate([pixels[..., c : c + 1] for c in (2, 1, 0)], axis=-1)
        scale, offset = 1.0, [-mean for mean in _BLUE_FIRST_MEAN]
    elif backbone in LITE:
        scale, offset = 1 / 128, -127 / 128
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
            warnings.simplefilter("ignore")  # Keras warns of sizes other than those of training
            return make("imagenet")
    except BackendError:  # the package is missing or its file is damaged
        raise
    except Exception as error:
        raise BackendError(
            f"The ImageNet weights of {backbone} could not be downloaded ({error}). Without a "
            "network connection: on a computer that has one, run: "
            f"{_conversion(backbone)}. Copy that file here and use --weights "
            f"{backbone}.safetensors; or train from random weights with --weights none."
        ) from error


def weights_origin(backbone: str, weights: str) -> str:
    """Return where the initial weights of a backbone come from; empty if they are random.

    Args:
        backbone: Its name.
        weights: As for ``lucency.models.pretrained``. The name of a file is left out, as it may be
            private; its sha256 is.

    Raises:
        ConfigError: The weights file cannot be read.
    """
    if weights == "none":
        return ""
    if weights != "imagenet":
        digest = hashlib.sha256(_weight_file(backbone, Path(weights))).hexdigest()
        return f"a file of weights of {backbone}, sha256 {digest}"
    if backbone in LITE:
        return imagenet_origin(backbone)
    return f"ImageNet weights of {backbone}, downloaded by Keras {keras.__version__}"


def _with_weight_file(make: Callable[[str | None], Any], backbone: str, file: Path) -> Any:
    """Load the user's own arrays into a backbone; all are checked before the first is used."""
    data = _weight_file(backbone, file)
    body = make(None)
    variables = variables_of(body)
    try:
        arrays = arrays_of(data)
        _check_arrays(arrays, variables)
    except ValueError as error:
        raise _unfit(backbone, file, error) from error
    for path, variable in variables.items():
        variable.assign(arrays[path])
    return body


def _weight_file(backbone: str, file: Path) -> bytes:
    """Return the content of the user's own file, which must be a safetensors file."""
    if file.suffix != ".safetensors":
        # Formats that Keras would have to read can contain code or refer to other files.
        keras_file = file.suffix in (".h5", ".hdf5", ".keras") and backbone not in LITE
        line = _conversion(backbone, f", weights='{file.name}'") if keras_file else ""
        how = f" On a computer that may run it: {line}" if keras_file else ""
        raise ConfigError(
            "--weights must be imagenet, none or an existing .safetensors file. "
            f"Received: {str(file)!r}.{how}"
        )
    try:
        return read_bytes(file, _MAX_WEIGHTS, follow=True)
    except OSError as error:
        raise _unfit(backbone, file, error) from error


def _unfit(backbone: str, file: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"The weights do not fit {backbone} without its top layers: {file} ({why(error)}). "
        f"Write them with: {_conversion(backbone)}"
    )


def _check_arrays(arrays: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
    """Raise ValueError at the first array that is missing, unknown, misshapen or not finite."""
    for path in sorted(arrays.keys() ^ variables.keys()):
        raise ValueError(f"{path[:80]!r} is {'missing' if path in variables else 'no variable'}")
    for path, array in arrays.items():
        shape, kind = tuple(variables[path].shape), str(variables[path].dtype)
        if array.shape != shape or str(array.dtype) != kind:
            raise ValueError(
                f"{path!r} is {array.dtype} {array.shape}, and the backbone's is {kind} {shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{path!r} has values that are not finite")


def _conversion(backbone: str, weights: str = "") -> str:
    """Return the line of Python that writes the weights of a backbone in our format."""
    made = f"keras.applications.{backbone}(include_top=False{weights})"
    if backbone in LITE:
        shape = "(64, 64, 3)"  # any, as the weights do not depend on it
        made = f"b.backbone_body('{backbone}', keras.Input({shape}), {shape}, 'imagenet')"
    imports = "lucency.models.backbones as b, numpy" if backbone in LITE else "numpy"
    return (
        f"import keras, {imports}, safetensors.numpy as s; s.save_file({{w.path: numpy.array(w) "
        f"for w in {made}.weights if len(w.shape)}}, '{backbone}.safetensors')"
    )


def fix_normalization(network: Any) -> None:
    """Make mean and variance of layers that normalise pixels those of their weights.

    Keras computes both once, as tensors: they stay as they were when weights are assigned later,
    and TensorFlow exports them as inputs of the network. As arrays they are constants.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
            layer.mean = keras.ops.convert_to_numpy(layer.mean)
            layer.variance = keras.ops.convert_to_numpy(layer.variance)


def parameters_of(function: Callable[..., Any]) -> set[str]:
    """Return the names of a function's parameters."""
    return set(inspect.signature(function).parameters)
