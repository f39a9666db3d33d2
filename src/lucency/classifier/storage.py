"""A classifier as the files of a folder: written, and read with every checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lucency.calibration.ood import OODDetector
from lucency.classifier.neighbours import StoredNeighbours
from lucency.classifier.reference_images import ReferenceImages
from lucency.classifier.spec import JSON, Spec
from lucency.classifier.stored_files import (
    NEIGHBOURS,
    ONNX,
    OOD_DETECTOR,
    REFERENCE_IMAGES,
    WEIGHTS,
    StoredWeights,
    entry_of,
    read_arrays,
    read_document,
    read_entry,
)
from lucency.io import write_bytes, write_text

C = TypeVar("C", bound="Classifier")

if TYPE_CHECKING:
    from lucency.classifier.classifier import Classifier


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write what ``Classifier.save`` promises."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    data = weights_file(classifier.weights)
    document = classifier.spec.to_json() | {"weights": entry_of(WEIGHTS, data)}
    document |= {"onnx": None, "ood_detector": None, "reference_images": None, "neighbours": None}
    write_bytes(folder / WEIGHTS, data)
    for key, name, held in (
        ("ood_detector", OOD_DETECTOR, classifier.ood_detector),
        ("reference_images", REFERENCE_IMAGES, classifier.reference_images),
        ("neighbours", NEIGHBOURS, classifier.neighbours),
    ):
        if held is not None:
            arrays = save(held.arrays())
            write_bytes(folder / name, arrays)
            document[key] = entry_of(name, arrays)
    if classifier.onnx is not None:
        write_bytes(folder / ONNX, classifier.onnx)
        document["onnx"] = entry_of(ONNX, classifier.onnx) | {"parity": classifier.parity}
    write_text(folder / JSON, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def load_classifier(kind: type[C], folder: Path) -> C:
    """Read what ``Classifier.load`` promises."""
    document = read_document(folder)
    spec = Spec.from_json(document)
    weights = StoredWeights(folder, document.get("weights"), spec.weight_count)
    onnx, ood_detector, reference_images = (
        document.get(key) for key in ("onnx", "ood_detector", "reference_images")
    )
    classifier = kind(
        spec,
        weights,
        read_entry(folder, onnx, ONNX) if onnx else None,
        OODDetector.from_arrays(read_arrays(folder, ood_detector, OOD_DETECTOR))
        if ood_detector
        else None,
    )
    classifier.parity = onnx.get("parity") if onnx else None
    if reference_images:
        shape = (*spec.size, spec.channels)
        arrays = read_arrays(folder, reference_images, REFERENCE_IMAGES)
        classifier.reference_images = ReferenceImages.from_arrays(arrays, shape, len(spec.classes))
    if kept := document.get("neighbours"):
        classifier.neighbours = StoredNeighbours(folder, kept)
    return classifier


def weights_file(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Return weights by name as the content of a safetensors file."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in weights.items()})
