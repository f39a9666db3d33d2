"""Inputs and outputs of an exported file, and how to use it: for programs and for readers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lucency.classifier import Classifier, Spec
from lucency.export.answers import (
    INTERVAL,
    UNIT,
    UNIT_INTERVAL,
    UNIT_VALUE,
    VALUE,
    answers_of,
)
from lucency.imaging.depths import is_deep, white_of
from lucency.imaging.raster import DRAFT
from lucency.run_folder.files import FORMAT
from lucency.task import task_of

_OUTPUTS = {
    "probabilities": "float32, one per class in the order of `classes`; calibrated, they sum to 1",
    "embedding": "float32, pooled features: the input of the last dense layer, or of an ensemble "
    "those of its pretrained network",
    "activation_map": "float32 (rows, columns, logits): the evidence at each position; its mean is "
    "the logit before calibration; with one logit it is the evidence for the second class",
}
_ANSWERS = {
    UNIT: "float32 (1, classes): the answer for one {unit}, whose images are all images of the "
    "call, one or more in any order; calibrated, as `probabilities` are",
    VALUE: "float32 (n,): {value}, the mean of the distribution of each image",
    INTERVAL: "float32 (n, 2): both ends of its prediction interval, with a coverage of {coverage}",
    UNIT_VALUE: "float32 (1,): {value} of the {unit}",
    UNIT_INTERVAL: "float32 (1, 2): both ends of its prediction interval, with a coverage of "
    "{coverage}",
}
_OF_LABELS = (
    "float32, one per label in the order of `classes`, that it is present; calibrated, each by "
    "itself: they do not add up to 1"
)


def describe(name: str, file: str, classifier: Classifier, run: str) -> dict[str, Any]:
    """Return the content of ``model.json``.

    Args:
        name: The format.
        file: Name of the exported file or folder.
        classifier: The exported classifier.
        run: Name of its run.
    """
    spec = classifier.spec
    outputs = dict(_OUTPUTS)
    if spec.labels:
        outputs["probabilities"] = _OF_LABELS
    if spec.architecture == "article":  # it has no feature map
        del outputs["activation_map"]
    answers = answers_of(spec) if name == "onnx" else ()
    outputs |= {each: _ANSWERS[each].format(**_words(spec)) for each in answers}
    return {
        "format": FORMAT,
        "exported": name,
        "file": file,
        "classifier": {"run": run, "sha256": classifier.fingerprint},
        "classes": list(spec.classes),
        **({"value": dict(spec.value)} if spec.value else {}),
        **({"unit": _unit(spec.unit)} if spec.unit and UNIT in answers else {}),
        "positive": spec.positive,
        "threshold": spec.threshold if spec.positive else None,
        "decision": _decision(spec),
        "input": {
            "name": "pixels",
            "type": spec.dtype,
            "shape": [None, *spec.size, spec.channels],
            "channels": "red, green, blue" if spec.channels == 3 else "grey",
            "values": _values(spec),
            "resizing": _resizing(spec),
        },
        "outputs": outputs,
        "not_included": "the out-of-distribution detector and the prediction sets: this file never "
        "abstains, and `lucency predict` does"
        + (
            f"; and one answer for all images of a {spec.unit['name']}"
            if spec.unit and UNIT not in answers
            else ""
        ),
    }


def _words(spec: Spec) -> dict[str, Any]:
    """Return what the texts on answers name."""
    value = spec.value or {}
    return {
        "unit": (spec.unit or {}).get("name"),
        "value": value.get("name"),
        "coverage": value.get("coverage"),
    }


def _unit(unit: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a unit is, and how it is decided from its probabilities."""
    keys = ("name", "threshold", "rule", "cut", "labels", "value")
    return {key: unit[key] for key in keys if key in unit}


def metadata(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the description as strings by key, for formats that store metadata."""
    keys = ("classes", "positive", "threshold", "decision", "input", "classifier", "unit")
    return {
        f"lucency.{key}": json.dumps(document[key], ensure_ascii=False)
        for key in keys
        if document.get(key) is not None
    }


def _decision(spec: Spec) -> str:
    if spec.value:
        return (
            f"{spec.value['name']} is the sum of the probabilities times the centres of value; the "
            "prediction interval is between two quantiles of the distribution over its edges, "
            "widened by its offset at both ends"
        )
    if spec.labels:
        pairs = zip(spec.classes, spec.labels, strict=True)
        thresholds = ", ".join(f"{name} at {each['threshold']!r}" for name, each in pairs)
        return f"each label is present from a probability on: {thresholds}"
    if spec.positive is None:
        decision = task_of(spec.task).decision
        if spec.cut is None:
            return decision
        return (
            f"{decision}; positive if {spec.cut['from']} and the grades above it together have a "
            f"probability of at least {spec.cut['threshold']!r} ({spec.cut['rule']})"
        )
    other = next(name for name in spec.classes if name != spec.positive)
    return (
        f"{spec.positive} if its probability is at least {spec.threshold!r}, else {other} "
        f"({spec.rule})"
    )


def _values(spec: Spec) -> str:
    if not is_deep(spec.depth):
        return "0 to 255 as stored; do not scale them"
    return f"0 to 255: in files of more than 8 bits, 255 stands for {white_of(spec.depth):,}"


def _resizing(spec: Spec) -> list[str]:
    height, width = spec.size
    kind = "red, green and blue" if spec.channels == 3 else "grey (luma of ITU-R BT.601)"
    return [
        "Rotate the image upright according to its EXIF orientation.",
        f"Convert it to {_bits(spec)} {kind}; put transparent areas on black.",
        f"Resize the whole image to {width} x {height} (width x height) without keeping the aspect "
        "ratio, by bilinear interpolation over all source pixels (antialiased), as Pillow's "
        "Image.resize with Resampling.BILINEAR; neither crop nor pad it.",
        "The classifier itself decodes a JPEG at the smallest of 1/8, 1/4, 1/2 and 1/1 that is "
        f"still {DRAFT:g} times that size (Pillow's Image.draft); without this, pixels differ by "
        "0.3 grey levels on average.",
    ]


def _bits(spec: Spec) -> str:
    if not is_deep(spec.depth):
        return "8-bit"
    white = white_of(spec.depth)
    return f"float (files of more than 8 bits: times 255 / {white}, clipped to 255)"


def usage(name: str, file: str, spec: Spec) -> str:
    """Return a program that classifies ``image.png`` with an exported file."""
    imports, load, run = _USAGE[name]
    height, width = spec.size
    return "\n".join(
        [
            f"import numpy as np\n{imports}\nfrom PIL import Image\n",
            'image = Image.open("image.png")',
            *_read(spec),
            f"pixels = np.asarray(image).reshape(1, {height}, {width}, {spec.channels})",
            load.format(file=file),
            f"probabilities = {run}",
        ]
    )


def _read(spec: Spec) -> list[str]:
    """Return the lines that convert and resize ``image``."""
    height, width = spec.size
    mode = "RGB" if spec.channels == 3 else "L"
    wide, high = round(DRAFT * width), round(DRAFT * height)
    if is_deep(spec.depth) and spec.channels == 1:
        white = white_of(spec.depth)
        return [
            f"deep = np.asarray(image, np.float32).clip(0, {white}) * np.float32(255 / {white})",
            f"image = Image.fromarray(deep).resize(({width}, {height}), Image.BILINEAR)",
        ]
    lines = [
        f'drafted = image.draft("{mode}", ({wide}, {high}))  # JPEGs only, else None',
        "box = drafted[1] if drafted else None",
        f'image = image.convert("{mode}").resize(({width}, {height}), Image.BILINEAR, box)',
    ]
    return [*lines, "image = np.asarray(image, np.float32)"] if is_deep(spec.depth) else lines


# Imports, opening the file, and computing the probabilities of `pixels`.
_USAGE = {
    "onnx": (
        'import os\n\nos.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it sends telemetry by default\n'
        "import onnxruntime",
        'session = onnxruntime.InferenceSession("{file}")',
        'session.run(["probabilities"], {"pixels": pixels})[0]',
    ),
    "saved_model": (
        "import tensorflow as tf",
        'loaded = tf.saved_model.load("{file}")',
        'loaded.signatures["serving_default"](pixels=tf.constant(pixels))["probabilities"].numpy()',
    ),
    "litert": (
        "import tensorflow as tf  # or: from ai_edge_litert.interpreter import Interpreter",
        'run = tf.lite.Interpreter("{file}").get_signature_runner()',
        'run(pixels=pixels)["probabilities"]',
    ),
    "openvino": (
        "import openvino",
        'network = openvino.compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})',
        'network({"pixels": pixels})["probabilities"]',
    ),
}


def readme(document: Mapping[str, Any], spec: Spec, certificate: Mapping[str, Any]) -> str:
    """Return ``README.md`` of an export."""
    agreement = certificate["agreement"]
    steps = "\n".join(f"{k}. {step}" for k, step in enumerate(document["input"]["resizing"], 1))
    outputs = "\n".join(f"- `{key}`: {text}" for key, text in document["outputs"].items())
    shape = ", ".join(map(str, ("n", *document["input"]["shape"][1:])))
    return f"""# {document["classifier"]["run"]} as {document["exported"]}

`{document["file"]}` takes `pixels`, ({shape}) {document["input"]["type"]}, \
{document["input"]["channels"]}, {document["input"]["values"]}.

{steps}

Outputs:

{outputs}

Decision: {document["decision"]}. Not included: {document["not_included"]}.

On {agreement["n"]:,} validation images its probabilities are within \
{agreement["max_abs_difference"]:.2g} of the classifier's, and \
{agreement["decision_agreement"]:.2%} of the decisions agree. All figures are in \
`certificate.json`, all names in `model.json`.

```python
{usage(document["exported"], document["file"], spec)}
```
"""
