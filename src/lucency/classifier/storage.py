"""A classifier as the files of a folder: written, and read with every checksum verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.calibration.ood import OODDetector
from lucency.classifier.neighbours import Neighbours, StoredNeighbours
from lucency.classifier.reference_images import ReferenceImages
from lucency.classifier.spec import Spec
from lucency.classifier.stored_files import (
    StoredWeights,
    entry_of,
    read_arrays,
    read_document,
    read_entry,
)
from lucency.io import write_bytes
from lucency.run_folder.files import (
    CLASSIFIER,
    NEIGHBOURS,
    ONNX,
    OOD_DETECTOR,
    REFERENCE_IMAGES,
    WEIGHTS,
)

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of a classifier's folder.

    Attributes:
        spec: The values of ``classifier.json``.
        weights: Arrays by variable name, or the file that they are read from when needed.
        onnx: The bytes of the ONNX model.
        parity: How well the ONNX model agrees with Keras.
        ood_detector: The out-of-distribution detector.
        reference_images: Images with the predictions for them.
        neighbours: Training images, or the file that they are read from when needed.
    """

    spec: Spec
    weights: Weights | StoredWeights
    onnx: bytes | None = None
    parity: Mapping[str, Any] | None = None
    ood_detector: OODDetector | None = None
    reference_images: ReferenceImages | None = None
    neighbours: Neighbours | StoredNeighbours | None = None


def save_contents(contents: Contents, folder: Path) -> None:
    """Write the files of a classifier.

    Args:
        contents: What to write.
        folder: Where to; made if it does not exist.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    weights, neighbours = contents.weights, contents.neighbours
    data = weights_file(weights.read() if isinstance(weights, StoredWeights) else weights)
    document = contents.spec.to_json() | {"weights": entry_of(WEIGHTS, data)}
    document |= {"onnx": None, "ood_detector": None, "reference_images": None, "neighbours": None}
    write_bytes(folder / WEIGHTS, data)
    if isinstance(neighbours, StoredNeighbours):
        neighbours = neighbours.read(contents.spec)
    for key, file, part in (
        ("ood_detector", OOD_DETECTOR, contents.ood_detector),
        ("reference_images", REFERENCE_IMAGES, contents.reference_images),
        ("neighbours", NEIGHBOURS, neighbours),
    ):
        if part is not None:
            arrays = save(part.arrays())
            write_bytes(folder / file, arrays)
            document[key] = entry_of(file, arrays)
    if contents.onnx is not None:
        write_bytes(folder / ONNX, contents.onnx)
        document["onnx"] = entry_of(ONNX, contents.onnx) | {"parity": contents.parity}
    CLASSIFIER.write(folder, document)


def load_contents(folder: Path) -> Contents:
    """Read the files of a classifier; weights and neighbours are read when they are needed.

    Raises:
        ClassifierError: The folder holds no classifier, or a file is damaged or foreign.
    """
    document = read_document(folder)
    spec = Spec.from_json(document)
    weights = StoredWeights(folder, document.get("weights"), spec.weight_count)
    onnx, ood_detector, reference_images, neighbours = (
        document.get(key) for key in ("onnx", "ood_detector", "reference_images", "neighbours")
    )
    return Contents(
        spec=spec,
        weights=weights,
        onnx=read_entry(folder, onnx, ONNX) if onnx else None,
        parity=onnx.get("parity") if onnx else None,
        ood_detector=OODDetector.from_arrays(read_arrays(folder, ood_detector, OOD_DETECTOR))
        if ood_detector
        else None,
        reference_images=ReferenceImages.from_arrays(
            read_arrays(folder, reference_images, REFERENCE_IMAGES),
            (*spec.size, spec.channels),
            len(spec.classes),
        )
        if reference_images
        else None,
        neighbours=StoredNeighbours(folder, neighbours) if neighbours else None,
    )


def weights_file(weights: Weights) -> bytes:
    """Return weights by name as the content of a safetensors file."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in weights.items()})
