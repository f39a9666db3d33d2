"""Reference images: chosen from validation, kept, rejected when damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lucency.classifier import Classifier, ReferenceImages
from lucency.classifier.stored_files import read_arrays
from lucency.errors import ClassifierError
from lucency.run_folder.files import REFERENCE_IMAGES
from small_runs import SIDE, brightness_network, spec_of


def some(count: int = 5) -> ReferenceImages:
    pixels = np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 1), np.uint8)
    classifier = Classifier(spec_of(), {}, brightness_network())
    return ReferenceImages(pixels, classifier.predict_pixels(pixels).astype(np.float32))


def test_they_detect_changed_predictions() -> None:
    reference_images = some()
    assert reference_images.largest_difference(lambda _: reference_images.probabilities) == 0
    assert (
        reference_images.largest_difference(lambda _: reference_images.probabilities[:, ::-1])
        > 0.01
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("pixels"),
        lambda a: a.update(more=a["pixels"]),
        lambda a: a.update(pixels=a["pixels"][:, :-1]),
        lambda a: a.update(pixels=a["pixels"][:0], probabilities=a["probabilities"][:0]),
        lambda a: a.update(probabilities=a["probabilities"] * np.float32(np.nan)),
        lambda a: a.update(probabilities=a["probabilities"].astype(np.float64)),
        lambda a: a.update(probabilities=a["probabilities"][:-1]),
    ],
)
def test_damaged_arrays_are_rejected(change: Any) -> None:
    arrays = dict(some().arrays())
    change(arrays)
    with pytest.raises(ClassifierError, match="reference images are damaged"):
        ReferenceImages.from_arrays(arrays, (SIDE, SIDE, 1), 2)


def test_they_are_read_from_a_folder(tmp_path: Path) -> None:
    classifier = Classifier(spec_of(), {}, brightness_network())
    classifier.reference_images = some()
    classifier.save(tmp_path)
    document = (tmp_path / "classifier.json").read_text()
    assert "reference_images.safetensors" in document
    (tmp_path / "reference_images.safetensors").write_bytes(b"other")
    with pytest.raises(ClassifierError, match=r"reference_images\.safetensors is not the file"):
        read_arrays(tmp_path, json.loads(document)["reference_images"], REFERENCE_IMAGES)
