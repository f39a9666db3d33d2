"""A page for learners: filters, feature maps and layers of a network on one image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier
from lucency.errors import ImageError
from lucency.explain.drawing import drawn_values
from lucency.explain.folder import PAGES, check_new
from lucency.imaging.decoder.pool import DecoderPool, Pixels
from lucency.imaging.image import encode_png, png_uri
from lucency.io import built_folder, write_text
from lucency.plots.html import draw

PAGE = "layers.html"
_FILTERS, _MAPS = 32, 16  # shown
_BLOCKS = ("stem_relu", "_out", "features")  # suffixes of the last layers of our blocks


def write_layers(classifier: Classifier, name: str, file: Path, out: Path) -> Path:
    """Write a page that shows each layer of a network on one image; needs Keras.

    Args:
        classifier: With weights.
        name: Of its run.
        file: The image.
        out: The folder; it must not exist.

    Returns:
        The page.

    Raises:
        ImageError: The file cannot be read.
        RunError: The folder exists, or cannot be written.
        BackendError: Keras or its backend is not installed.
    """
    check_new(out)
    with DecoderPool(1) as pool:
        decoded = pool.submit(classifier.spec.request(str(file))).result()
    if decoded.pixels is None:
        raise ImageError(f"{file} cannot be read: {decoded.reason}.")
    with built_folder(out) as partial:
        write_text(partial / PAGE, _drawn(classifier, name, file, decoded.pixels))
    return out / PAGE


def _drawn(classifier: Classifier, name: str, file: Path, pixels: Pixels) -> str:
    network = classifier.keras_model
    repeats = classifier.spec.network_channels // classifier.spec.channels
    batch = np.repeat(pixels, repeats, axis=-1)[None].astype(np.float32)
    kernel, where = _first_kernel(network)
    scale = float(np.abs(kernel).max())
    shown = np.moveaxis(kernel.sum(axis=2), -1, 0)[:_FILTERS]
    return draw(
        PAGES,
        PAGE,
        name=name,
        file=file.name,
        image=png_uri(encode_png(pixels)),
        size=" x ".join(map(str, pixels.shape[:2])),
        filters=[png_uri(drawn_values(each, max(scale, 1e-9))) for each in shown],
        filtered=where,
        count=kernel.shape[-1],
        kernel=" x ".join(map(str, kernel.shape[:2])),
        scale=f"{scale:.2g}",
        blocks=_blocks(network, batch),
        rows=[_row(layer) for layer in network.layers],
        parameters=f"{network.count_params():,}",
    )


def _first_kernel(network: Any) -> tuple[NDArray[np.float32], str]:
    """Return the kernel of the first convolution, (height, width, in, out), and its name."""
    for layer in network.layers:
        if type(layer).__name__ == "Conv2D":
            return np.asarray(layer.kernel, np.float32), layer.name
    raise ValueError("the network has no convolution")


def _blocks(network: Any, batch: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return the strongest feature maps after each block, for one image."""
    from lucency.models import keras

    layers = _ends(network)
    found = keras.Model(network.inputs, [layer.output for layer in layers]).predict_on_batch(batch)
    values = found if isinstance(found, list) else [found]
    blocks = []
    words = _descriptions(network, layers)
    for layer, maps in zip(layers, (np.asarray(each)[0] for each in values), strict=True):
        top = float(max(maps.max(), 1e-9))
        strongest = np.argsort(-maps.mean(axis=(0, 1)), kind="stable")[:_MAPS]
        grey = (255 * np.clip(maps[..., strongest] / top, 0, 1)).round().astype(np.uint8)
        blocks.append(
            {
                "name": layer.name,
                "words": words[layer.name],
                "shape": _shape(layer),
                "count": maps.shape[-1],
                "top": f"{top:.2g}",
                "maps": [png_uri(encode_png(grey[..., k : k + 1])) for k in range(len(strongest))],
            }
        )
    return blocks


def _ends(network: Any) -> list[Any]:
    """Return the last layer of each block, of the first ensemble member only."""
    grids = [layer for layer in network.layers if len(_output(layer)) == 4]
    if network.name == "article":
        return [layer for layer in grids if type(layer).__name__ in ("Conv2D", "MaxPooling2D")]
    if network.name == "default":
        ours = [layer for layer in grids if layer.name.endswith(_BLOCKS)]
        first = [layer for layer in ours if layer.name.startswith("member1_")]
        return first or ours
    sizes = [_output(layer)[1:3] for layer in grids]
    return [
        layer
        for layer, size, after in zip(grids, sizes, [*sizes[1:], ()], strict=True)
        if size != after
    ]


def _descriptions(network: Any, ends: list[Any]) -> dict[str, str]:
    """Return for each shown layer a description of the layers since the previous one."""
    descriptions, since = {}, []
    for layer in network.layers:
        if type(layer).__name__ == "Conv2D":
            since.append(layer)
        if layer not in ends:
            continue
        steps = ", ".join(
            f"{x.kernel_size[0]} x {x.kernel_size[1]} in steps of {x.strides[0]}" for x in since
        )
        inside = layer not in since and since
        descriptions[layer.name] = f"After convolutions of {steps}." if inside else _words(layer)
        since = []
    return descriptions


def _row(layer: Any) -> dict[str, str]:
    """Return the table row of a layer."""
    return {
        "name": layer.name,
        "kind": type(layer).__name__,
        "words": _words(layer),
        "shape": _shape(layer),
        "parameters": f"{layer.count_params():,}",
    }


def _shape(layer: Any) -> str:
    return " x ".join(f"{side:,}" for side in _output(layer)[1:])


def _output(layer: Any) -> tuple[Any, ...]:
    return tuple(layer.output.shape)


def _words(layer: Any) -> str:
    """Describe a layer with its numbers."""
    describe = _WORDS.get(type(layer).__name__)
    return describe(layer) if describe else "Another layer of this network."


def _convolution(layer: Any) -> str:
    kernel, stride = (" x ".join(map(str, x)) for x in (layer.kernel_size, layer.strides))
    edge = "the border is kept (padded)" if layer.padding == "same" else "the border is lost"
    ends = "; negative values become 0 (ReLU)" if layer.activation.__name__ == "relu" else ""
    return (
        f"{layer.filters} filters of {kernel} (kernel) slide over the maps in steps of {stride} "
        f"(stride); each gives one new map, and {edge}{ends}."
    )


def _pooling(word: str) -> Callable[[Any], str]:
    def describe(layer: Any) -> str:
        window = " x ".join(map(str, layer.pool_size))
        return f"Each window of {window} values becomes its {word}: smaller maps."

    return describe


def _dense(layer: Any) -> str:
    ends = "; negative values become 0 (ReLU)" if layer.activation.__name__ == "relu" else ""
    return f"{layer.units} weighted sums over all values{ends}."


_WORDS: dict[str, Callable[[Any], str]] = {
    "InputLayer": lambda _: "The image, values from 0 to 255.",
    "Rescaling": lambda layer: f"Every value is multiplied by {float(np.max(layer.scale)):.3g}.",
    "Conv2D": _convolution,
    "DepthwiseConv2D": lambda layer: (
        f"One filter of {layer.kernel_size[0]} x {layer.kernel_size[1]} for each map."
    ),
    "MaxPooling2D": _pooling("largest"),
    "AveragePooling2D": _pooling("mean"),
    "GlobalAveragePooling2D": lambda _: "Each map becomes one number: its mean.",
    "BatchNormalization": lambda _: (
        "Each map is normalised, then scaled and shifted by learnt numbers."
    ),
    "ReLU": lambda _: "Negative values become 0.",
    "Add": lambda _: (
        "Two stacks of maps are added: the block learns only the difference (residual)."
    ),
    "Concatenate": lambda _: "Several stacks of maps are joined.",
    "Dropout": lambda layer: (
        f"During training, {100 * layer.rate:.0f} % of the values are set to 0 at random."
    ),
    "Flatten": lambda _: "All maps become one row of numbers.",
    "Dense": _dense,
    "Activation": lambda layer: {
        "sigmoid": "The sum becomes a probability from 0 to 1 (sigmoid).",
        "softmax": "The sums become probabilities that sum to 1 (softmax).",
    }.get(layer.activation.__name__, "A function of each value."),
}
