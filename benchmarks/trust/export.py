"""Every export format beside the classifier: predictions, size, time.

The classifier is of ``--effort quick``, trained on ``$LUCENCY_DATA/chest_xray/train``, which is
split by patient into train, validation and test; without that folder, and with ``--quick``, it is
trained on the native radiographs for one epoch. The validation images are compared, and training
images set the scale of 8-bit integers. Times are measured in turns with the classifier's own, on
ONNX Runtime.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import LUCENCY, run
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY, copy_images

_FORMATS = {
    "onnx": "onnxruntime",
    "saved_model": "tensorflow",
    "litert": "tensorflow",
    "openvino": "openvino",
}
_EIGHT_BITS = ("onnx", "litert", "openvino")


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    if not importlib.util.find_spec("keras"):
        raise Skipped("Keras is not installed")
    radiographs = CHEST_XRAY / "train"
    with TemporaryDirectory() as temporary:
        small = quick or not radiographs.is_dir()
        folder = copy_images(files, Path(temporary) / "images") if small else radiographs
        trained = f"{temporary}/run"
        options = ("--effort", "quick", "--quiet", *(("--set", "epochs=1") if small else ()))
        places = ("--folds", "0", "--run", trained, "--cache", f"{temporary}/cache")
        run(LUCENCY, "train", str(folder), *options, *places)
        return [
            figure
            for name, library in _FORMATS.items()
            if importlib.util.find_spec(library)
            for option in ((), ("--quantize", "int8"))
            if not option or (name in _EIGHT_BITS and not small)
            for figure in _figures(_export(temporary, trained, folder, name, *option))
        ]


def _export(temporary: str, trained: str, folder: Path, name: str, *option: str) -> Any:
    out = f"{temporary}/{'-'.join([name, *option])}"
    command = (LUCENCY, "export", trained, str(folder), "--format", name, *option, "--out", out)
    return json.loads(run(*command, "--json").output)


def _figures(found: Mapping[str, Any]) -> list[Figure]:
    name = " ".join(filter(None, (found["exported"], found["quantized"])))
    agreement, tolerance = found["agreement"], found["tolerance"]
    n, most = agreement["n"], tolerance["max_abs_difference"]
    agree, least = 100 * agreement["decision_agreement"], 100 * tolerance["decision_agreement"]
    largest, mean = agreement["max_abs_difference"], agreement["mean_abs_difference"]
    return [
        Figure(f"{name}: largest difference of a probability", "", [largest], n, most=most),
        Figure(f"{name}: mean difference", "", [mean], n),
        Figure(f"{name}: predicted classes that agree", "%", [agree], n, least=least),
        Figure(f"{name}: size", "MB", [found["bytes"] / 1e6], 1),
        *(
            Figure(f"{name}: time of {each['n']} at once / the classifier's", "x",
                   [each["ratio"]], each["n"])
            for each in found["latency"]
        ),
    ]  # fmt: skip
