"""The permitted descriptions of a network, and the number of its weights, without Keras.

A few digits in an untrusted file can describe a network that no machine has memory for. Parameters
are bounded, and weights counted, before anything is built; the count must then be that of the
weights file, whose length cannot be forged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lucency.errors import nearest

_MAX_WIDTH, _MAX_BLOCKS, _MAX_STAGES, _MAX_MEMBERS = 512, 64, 8, 16
_PARAMETERS = {
    "article": frozenset[str](),
    "default": frozenset({"width", "blocks", "dropout", "members", "multilabel"}),
    "ensemble": frozenset({"width", "blocks", "members", "backbone", "downsampling", "multilabel"}),
    "pretrained": frozenset({"backbone", "dropout", "multilabel"}),
}

# Networks without their top layers: number of weights, and of features.
BACKBONES: Mapping[str, tuple[int, int]] = {
    "ConvNeXtBase": (87_566_464, 1024),
    "ConvNeXtLarge": (196_230_336, 1536),
    "ConvNeXtSmall": (49_454_688, 768),
    "ConvNeXtTiny": (27_820_128, 768),
    "ConvNeXtXLarge": (348_147_968, 2048),
    "DenseNet121": (7_037_504, 1024),
    "DenseNet169": (12_642_880, 1664),
    "DenseNet201": (18_321_984, 1920),
    "EfficientNetB0": (4_049_570, 1280),
    "EfficientNetB1": (6_575_238, 1280),
    "EfficientNetB2": (7_768_568, 1408),
    "EfficientNetB3": (10_783_534, 1536),
    "EfficientNetB4": (17_673_822, 1792),
    "EfficientNetB5": (28_513_526, 2048),
    "EfficientNetB6": (40_960_142, 2304),
    "EfficientNetB7": (64_097_686, 2560),
    "EfficientNetLite0": (3_413_024, 1280),
    "EfficientNetLite2": (4_869_168, 1280),
    "EfficientNetV2B0": (5_919_312, 1280),
    "EfficientNetV2B1": (6_931_124, 1280),
    "EfficientNetV2B2": (8_769_374, 1408),
    "EfficientNetV2B3": (12_930_622, 1536),
    "EfficientNetV2L": (117_746_848, 1280),
    "EfficientNetV2M": (53_150_388, 1280),
    "EfficientNetV2S": (20_331_360, 1280),
    "InceptionResNetV2": (54_336_736, 1536),
    "InceptionV3": (21_802_784, 2048),
    "MobileNet": (3_228_864, 1024),
    "MobileNetV2": (2_257_984, 1280),
    "MobileNetV3Large": (2_996_352, 960),
    "MobileNetV3Small": (939_120, 576),
    "NASNetLarge": (84_916_818, 4032),
    "NASNetMobile": (4_269_716, 1056),
    "ResNet101": (42_658_176, 2048),
    "ResNet101V2": (42_626_560, 2048),
    "ResNet152": (58_370_944, 2048),
    "ResNet152V2": (58_331_648, 2048),
    "ResNet50": (23_587_712, 2048),
    "ResNet50V2": (23_564_800, 2048),
    "VGG16": (14_714_688, 512),
    "VGG19": (20_024_384, 512),
    "Xception": (20_861_480, 2048),
}


def check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Reject parameters that ``lucency.models`` does not have, and values out of range.

    Args:
        name: The architecture.
        parameters: By name; the others have their defaults.

    Raises:
        ValueError: The name or a parameter is unknown, or a value is out of range.
    """
    if name not in _PARAMETERS:
        raise ValueError(
            f"unknown architecture {name[:40]!r}.{nearest(name[:40], _PARAMETERS)} "
            f"Known: {', '.join(_PARAMETERS)}"
        )
    if "weights" in parameters:
        raise ValueError("the architecture must not have weights; they are in a file of their own")
    if unknown := sorted(parameters.keys() - _PARAMETERS[name]):
        raise ValueError(f"the architecture {name!r} has no parameter {unknown[0][:40]!r}")
    for parameter, value in parameters.items():
        _CHECKS[parameter](value)


def _check_width(value: Any) -> None:
    if type(value) is not int or not 1 <= value <= _MAX_WIDTH:
        raise ValueError(f"width must be from 1 to {_MAX_WIDTH}, received {str(value)[:40]}")


def _check_blocks(value: Any) -> None:
    valid = isinstance(value, list | tuple) and 1 <= len(value) <= _MAX_STAGES
    if not valid or any(type(count) is not int or not 1 <= count <= _MAX_BLOCKS for count in value):
        raise ValueError(
            f"blocks must be 1 to {_MAX_STAGES} numbers from 1 to {_MAX_BLOCKS}, "
            f"received {str(value)[:40]}"
        )


def _check_dropout(value: Any) -> None:
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise ValueError(f"dropout must be from 0 to below 1, received {str(value)[:40]}")


def _check_members(value: Any) -> None:
    if type(value) is not int or not 1 <= value <= _MAX_MEMBERS:
        raise ValueError(f"members must be from 1 to {_MAX_MEMBERS}, received {str(value)[:40]}")


def _check_downsampling(value: Any) -> None:
    if value not in (2, 4) or type(value) is not int:
        raise ValueError(f"downsampling must be 2 or 4, received {str(value)[:40]}")


def _check_multilabel(value: Any) -> None:
    if value is not True:  # it is left out otherwise
        raise ValueError(f"multilabel must be true or missing, received {str(value)[:40]}")


def _check_backbone(value: Any) -> None:
    if not isinstance(value, str) or value not in BACKBONES:
        raise ValueError(f"unknown backbone {str(value)[:40]!r}")


_CHECKS = {
    "width": _check_width,
    "blocks": _check_blocks,
    "dropout": _check_dropout,
    "members": _check_members,
    "backbone": _check_backbone,
    "downsampling": _check_downsampling,
    "multilabel": _check_multilabel,
}


def weight_count(
    name: str, classes: int, shape: tuple[int, int, int], parameters: Mapping[str, Any]
) -> int:
    """Return the number of weights of a network, as ``count_params`` does.

    Args:
        name: An architecture whose parameters are checked.
        classes: Number of classes.
        shape: Height, width and channels of its input.
        parameters: As for ``check_parameters``.

    Returns:
        The number of all weights, including those of batch normalisation.
    """
    units = 1 if classes == 2 and not parameters.get("multilabel") else classes
    if name == "article":
        return _article(shape) + 129 * units
    if name == "pretrained":
        weights, features = BACKBONES[parameters.get("backbone", "MobileNetV2")]
        return weights + (features + 1) * units
    beside, others = 0, 0  # weights and features of a backbone beside the default networks
    if name == "ensemble":
        beside, others = BACKBONES[parameters.get("backbone", "EfficientNetLite0")]
    width, blocks = parameters.get("width", 32), parameters.get("blocks", (1, 1, 2, 2))
    weights, features = _default(shape[2], width, blocks)
    members = int(parameters.get("members", 1))
    return members * weights + beside + (members * features + others + 1) * units


def _article(shape: tuple[int, int, int]) -> int:
    """Return the number of weights of three convolutions and the hidden dense layer."""
    height, width, channels = shape
    for _ in range(3):
        height, width = (max(0, (side - 2) // 2) for side in (height, width))
    convolutions = 9 * 32 * (channels + 32 + 32) + 3 * 32
    return convolutions + (height * width * 32 + 1) * 128


def _default(channels: int, width: int, blocks: Sequence[int]) -> tuple[int, int]:
    """Return the number of weights before the head, and the number of its input features."""
    total, before = _normalised(channels, width, 9), width
    for stage, count in enumerate(blocks):
        filters = width * (1, 2, 4, 5)[min(stage, 3)]
        for block in range(count):
            total += _normalised(before, filters, 9) + _normalised(filters, filters, 9)
            if before != filters or (stage and not block):
                total += _normalised(before, filters, 1)
            before = filters
    return total, before


def _normalised(before: int, after: int, area: int) -> int:
    """Return the number of weights of a convolution without bias, and its normalisation."""
    return before * after * area + 4 * after
