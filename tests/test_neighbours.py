"""Training images kept with a classifier: chosen, read back, rejected when damaged."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lucency.classifier import Classifier, Neighbours, neighbours_json, neighbours_of
from lucency.errors import ClassifierError
from lucency.verify.files import checksums
from lucency.verify.mismatch import Mismatch
from small_runs import SIDE, TWO, brightness_network, spec_of


def some(count: int = 6, d: int = 4) -> Neighbours:
    random = np.random.default_rng(2)
    return Neighbours(
        random.normal(size=(count, d)).astype(np.float16),
        random.integers(0, 256, (count, SIDE, SIDE, 1), np.uint8),
        np.arange(count) % 2,
        TWO,
    )


def test_the_nearest_are_those_in_the_same_direction_from_the_mean() -> None:
    # Around their mean (2, 2): right, up, left, down.
    points = np.array([[3, 2], [2, 3], [1, 2], [2, 1]], np.float16)
    kept = Neighbours(points, np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 1, 0]), TWO)
    found = kept.nearest(np.array([12, 3], np.float32), 3)
    assert [each.label for each in found] == ["NORMAL", "PNEUMONIA", "NORMAL"]
    cosine = np.array([10, 1]) / np.hypot(10, 1)
    expected = [1 - cosine[0], 1 - cosine[1], 1 + cosine[1]]
    np.testing.assert_allclose([each.distance for each in found], expected, atol=1e-6)
    assert kept.nearest(np.array([12, 3], np.float32), 0) == []
    assert len(kept.nearest(np.array([12, 3], np.float32), 99)) == 4


@pytest.mark.parametrize("embedding", [np.zeros(3), np.full(4, np.nan), np.zeros((1, 4))])
def test_an_embedding_of_another_network_is_rejected(embedding: Any) -> None:
    with pytest.raises(ClassifierError, match="Expected an embedding of 4 finite numbers"):
        some().nearest(embedding, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("labels"),
        lambda a: a.update(more=a["labels"]),
        lambda a: a.update(labels=a["labels"] + 1),
        lambda a: a.update(labels=a["labels"] - 1),
        lambda a: a.update(labels=a["labels"].astype(np.int32)),
        lambda a: a.update(labels=a["labels"][:-1]),
        lambda a: a.update(embeddings=a["embeddings"] * np.float16(np.inf)),
        lambda a: a.update(embeddings=a["embeddings"][:, 0]),
        lambda a: a.update(embeddings=a["embeddings"].astype(np.float32)),
        lambda a: a.update(images=a["images"].repeat(3, axis=3)),
        lambda a: a.update(images=a["images"].repeat(13, axis=1)),
        lambda a: a.update({name: values[:0] for name, values in a.items()}),
    ],
)
def test_damaged_arrays_are_rejected(change: Any) -> None:
    arrays = dict(some().arrays())
    change(arrays)
    with pytest.raises(ClassifierError, match="kept training images are damaged"):
        Neighbours.from_arrays(arrays, spec_of())


def saved(folder: Path, kept: Neighbours | None) -> Path:
    weights = {"w": np.ones(spec_of().weight_count, np.float32)}
    classifier = Classifier(spec_of(), weights, brightness_network())
    classifier.neighbours = kept
    classifier.save(folder)
    return folder


def test_they_are_read_from_a_folder_on_first_use(tmp_path: Path) -> None:
    kept = some()
    folder = saved(tmp_path, kept)
    again = Classifier.load(folder)
    assert again.keeps_neighbours
    assert again.neighbours is not None
    for name, array in kept.arrays().items():
        np.testing.assert_array_equal(again.neighbours.arrays()[name], array)
    (folder / "neighbours.safetensors").write_bytes(b"other")
    changed = Classifier.load(folder)  # not read yet
    with pytest.raises(ClassifierError, match=r"neighbours\.safetensors is not the file"):
        _ = changed.neighbours
    with pytest.raises(ClassifierError, match=r"neighbours\.safetensors is not the file"):
        checksums(folder)


def test_a_folder_without_them(tmp_path: Path) -> None:
    folder = saved(tmp_path, None)
    assert json.loads((folder / "classifier.json").read_text())["neighbours"] is None
    classifier = Classifier.load(folder)
    assert not classifier.keeps_neighbours
    assert classifier.neighbours is None
    assert neighbours_json(classifier.neighbours, np.zeros(4), 3) is None
    (folder / "neighbours.safetensors").write_bytes(b"foreign")
    with pytest.raises(Mismatch, match=r"not listed in classifier\.json"):
        checksums(folder)


def split_of(labels: list[int], shape: tuple[int, int, int]) -> Any:
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (len(labels), *shape), np.uint8)
    return SimpleNamespace(
        labels=np.array(labels), classes=TWO, pixels=lambda places: pixels[places]
    )


@pytest.mark.parametrize(
    ("count", "expected"), [(4, [2, 2]), (5, [2, 3]), (9, [2, 7]), (99, [2, 9])]
)
def test_all_images_of_rare_classes_are_kept(count: int, expected: list[int]) -> None:
    split = split_of([0] * 2 + [1] * 9, (8, 8, 1))
    kept = neighbours_of(split, count, lambda pixels: np.ones((len(pixels), 3), np.float32))
    assert np.bincount(kept.labels, minlength=2).tolist() == expected
    assert len({each.tobytes() for each in kept.images}) == sum(expected)


@pytest.mark.parametrize(
    ("shape", "small"),
    [((64, 64, 1), (64, 64, 1)), ((97, 97, 3), (48, 48, 3)), ((255, 255, 3), (85, 85, 3)),
     ((2048, 16, 1), (93, 1, 1))],
)  # fmt: skip
def test_images_are_resized_by_averaging(shape: Any, small: Any) -> None:
    split = split_of([0, 1], shape)
    kept = neighbours_of(split, 2, lambda pixels: np.full((len(pixels), 3), 1e9, np.float32))
    assert kept.images.shape == (2, *small)
    step = -(-max(shape[:2]) // 96)
    first = split.pixels(np.array([0]))[0, :step, :step].astype(float).mean(axis=(0, 1))
    np.testing.assert_allclose(kept.images[0, 0, 0], first, atol=0.51)
    assert np.isfinite(kept.embeddings).all()  # too large for 16 bits: clipped, not infinite


def test_the_json_of_the_service() -> None:
    kept = some()
    found = neighbours_json(kept, kept.embeddings[2].astype(np.float32), 2)
    assert found is not None
    assert [set(each) for each in found] == [{"label", "distance", "image"}] * 2
    assert found[0]["label"] == TWO[0]
    assert found[0]["distance"] == 0
    head, data = found[0]["image"].split(",")
    assert head == "data:image/png;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(shown, kept.images[2, :, :, 0])
    json.dumps(found)
