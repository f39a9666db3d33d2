"""ONNX files of the backbones of keras.applications, exported from TensorFlow and from JAX.

The smallest network of each family, with random weights, at the smallest side that all take. Its
last layer is scaled so that the logits of noise have mean 0 and standard deviation 1: random
weights alone would give every image the same probability. The largest difference is that of a
probability between Keras and ONNX Runtime; a backbone without an ONNX file has none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.command import run_json
from benchmarks.results import Figure, Skipped

FAMILIES = (
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetLite0", "EfficientNetV2B0"),
    *("EfficientNetV2S", "InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2"),
    *("MobileNetV3Large", "MobileNetV3Small", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG16"),
    "Xception",
)
_BACKENDS = ("tensorflow", "jax")
_SIDE, _IMAGES = 96, 16


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    backends = [name for name in _BACKENDS if importlib.util.find_spec(name)]
    if not backends:
        raise Skipped("neither TensorFlow nor JAX is installed")
    figures = []
    for name in FAMILIES[:: 8 if quick else 1]:
        for backend in backends:
            with mock.patch.dict(os.environ, KERAS_BACKEND=backend):
                found = run_json(__name__, name)
            title = f"{name}, {backend}"
            print(title, found, flush=True)
            exported = found["difference"] is not None
            figures.append(Figure(f"{title}: exported", "", [float(exported)], 1, least=1))
            if exported:
                figures.append(
                    Figure(f"{title}: difference", "", [found["difference"]], _IMAGES, most=1e-4)
                )
    return figures


def _measured(name: str) -> dict[str, Any]:
    """Return the largest difference of a probability; without an ONNX file, the error."""
    import lucency
    from lucency.classifier import Classifier
    from lucency.errors import BackendError
    from lucency.export.parity import to_onnx
    from lucency.models import keras, variables_of
    from lucency.training.fit import spec_of
    from lucency.training.plan import make_plan
    from lucency.training.speed import noise_split
    from lucency.training.trainer import build_network

    split = noise_split(("a", "b"), (_SIDE, _SIDE, 3), _IMAGES)
    plan = make_plan(split, lucency.Config(backbone=name, weights="none", size=_SIDE))
    network = build_network(plan, len(split.classes))
    last = network.get_layer("logits")
    logits = keras.Model(network.input, last.output)(split.pixels(range(_IMAGES)).astype("float32"))
    spread = np.asarray(keras.ops.convert_to_numpy(logits))
    last.kernel.assign(last.kernel / spread.std())
    last.bias.assign((last.bias - spread.mean()) / spread.std())
    variables = variables_of(network).items()
    weights = {name: keras.ops.convert_to_numpy(each.value) for name, each in variables}
    try:
        _, parity = to_onnx(Classifier(spec_of(plan, split.classes), weights), split)
    except BackendError as error:
        return {"difference": None, "error": str(error)}
    return {"difference": parity.max_abs_difference}


if __name__ == "__main__":
    print(json.dumps(_measured(*sys.argv[1:])))
