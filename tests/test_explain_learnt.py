"""Maps of trained networks: do they mark the planted evidence?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from benchmarks.trust import synthetic_evidence

from lucency import models
from lucency.classifier import Classifier, Outputs
from lucency.dataset import Split
from lucency.explain import faithfulness, occlusion_maps, randomisation
from lucency.explain.layers import write_layers
from lucency.imaging.image import encode_png

pytestmark = pytest.mark.slow


class Store:
    """Pixels in memory, read as a store's."""

    def __init__(self, pixels: Any) -> None:
        self._pixels = pixels

    def read(self, rows: Any) -> Any:
        return self._pixels[rows]


def split_of(drawn: synthetic_evidence.Drawn) -> Split:
    n = len(drawn.pixels)
    names = tuple(f"{i}.png" for i in range(n))
    store = cast("Any", Store(drawn.pixels))
    return Split("val", synthetic_evidence.CLASSES, names, names, drawn.labels, store, np.arange(n))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return synthetic_evidence.train()


def test_the_map_points_at_the_planted_square(classifier: Classifier) -> None:
    """By chance a twelfth of the cells hits; required are 95 of 100."""
    drawn = synthetic_evidence.with_square(synthetic_evidence.draw(400, 99))
    outputs = classifier.infer(drawn.pixels, maps=True)
    assert outputs.maps is not None
    assert outputs.map_classes is not None
    assert synthetic_evidence.hits(outputs.maps, drawn).mean() >= 0.95
    assert set(outputs.map_classes) == {1}
    odds = np.log(outputs.probabilities[:, 1] / outputs.probabilities[:, 0])
    np.testing.assert_allclose(outputs.maps.mean(axis=(1, 2)), odds, atol=1e-3)
    hidden = occlusion_maps(classifier.predict_pixels, drawn.pixels, outputs.map_classes, grid=8)
    assert synthetic_evidence.hits(hidden, drawn).mean() >= 0.9
    noise = np.random.default_rng(0).normal(size=outputs.maps.shape)
    assert synthetic_evidence.hits(noise, drawn).mean() < 0.3


def test_the_tests_find_its_maps_informative(classifier: Classifier) -> None:
    before = {name: array.copy() for name, array in classifier.weights.items()}
    found = faithfulness(classifier, classifier, split_of(synthetic_evidence.draw(200, 7)))
    document = found.document
    assert found.summary["informative"], document
    assert document["n"] == 64
    assert document["randomisation"]["rows"][-1]["layers"] == document["randomisation"]["of"]
    assert document["occlusion"]["rank"]["low"] > 0
    again = faithfulness(classifier, classifier, split_of(synthetic_evidence.draw(200, 7)))
    assert again.document == document
    for variable in classifier.keras_model.weights:  # shuffled, and put right again
        np.testing.assert_array_equal(np.array(variable), before[variable.path])


class Dishonest(Classifier):
    """Predicts as trained, and outputs maps of noise."""

    def infer(self, pixels: Any, maps: bool = False) -> Outputs:
        outputs = super().infer(pixels, maps)
        if outputs.maps is None:
            return outputs
        noise = np.random.default_rng(len(pixels)).normal(size=outputs.maps.shape)
        return dataclasses.replace(outputs, maps=noise.astype(np.float32))


def test_random_maps_are_uninformative(classifier: Classifier) -> None:
    dishonest = Dishonest(classifier.spec, classifier.weights)
    found = faithfulness(dishonest, classifier, split_of(synthetic_evidence.draw(200, 7)))
    assert not found.summary["informative"]
    assert "hiding what the maps mark changed the output no more" in found.summary["sentence"]
    assert not found.document["deletion"]["gain_over_random"]["low"] > 0.05


def test_maps_that_do_not_depend_on_weights_are_uninformative(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(randomisation, "_maps", lambda _, sample: sample.maps)
    found = faithfulness(classifier, classifier, split_of(synthetic_evidence.draw(200, 7)))
    assert found.document["deletion"]["gain_over_centre"]["low"] > 0
    assert not found.summary["informative"]
    assert "shuffled" in found.summary["sentence"]


@pytest.mark.backend
def test_each_cell_is_the_slope_of_the_logit() -> None:
    """The article's head is linear as long as no unit of its hidden layer changes sign."""
    network = models.article(3, (48, 48, 1))
    hidden, logits = network.get_layer("dense"), network.get_layer("logits")
    random = np.random.default_rng(0)
    for layer in (hidden, logits):
        layer.kernel.assign(random.normal(0, layer.kernel.shape[0] ** -0.5, layer.kernel.shape))
        layer.bias.assign(random.normal(0, 0.1, layer.bias.shape))
    head = models.FlatEvidence(hidden, logits)
    features = random.uniform(0, 1, (2, 4, 4, 32)).astype(np.float32)
    embedding, maps = (np.asarray(each) for each in head(features))
    weights = [
        np.asarray(each, np.float64)
        for each in (hidden.kernel, hidden.bias, logits.kernel, logits.bias)
    ]

    def plain(features: Any) -> tuple[Any, Any]:
        """Compute the head in double precision: a step must not change the sign of a unit."""
        units = np.maximum(features.reshape(len(features), -1) @ weights[0] + weights[1], 0)
        return units, units @ weights[2] + weights[3]

    exact = features.astype(np.float64)
    units, odds = plain(exact)
    np.testing.assert_allclose(embedding, units, atol=1e-4)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), odds, atol=1e-4)
    slopes = []
    for place in ((1, 2), (3, 0)):
        moved = exact.copy()
        moved[:, place[0], place[1]] *= 1 + 1e-7
        slopes.append((plain(moved)[1] - odds) / 1e-7)
    expected = (maps[:, 1, 2] - maps[:, 3, 0]) / 16  # what does not depend on a place falls out
    np.testing.assert_allclose(slopes[0] - slopes[1], expected, atol=1e-4)


@pytest.mark.backend
def test_members_are_averaged() -> None:
    network = models.default(2, (32, 32, 1), width=4, blocks=(1, 1), members=2)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), np.uint8)
    outputs = models.calibrated(network, 1, 1.0).predict_on_batch(pixels)
    odds = np.log(outputs["probabilities"][:, 1] / outputs["probabilities"][:, 0])
    np.testing.assert_allclose(outputs["activation_map"].mean(axis=(1, 2))[:, 0], odds, atol=1e-3)


def test_learners_see_filters_and_maps_of_every_block(
    classifier: Classifier, tmp_path: Path
) -> None:
    file = tmp_path / "square.png"
    file.write_bytes(encode_png(synthetic_evidence.draw(2, 5).pixels[1]))
    page = write_layers(classifier, "tiny", file, tmp_path / "out").read_text()
    assert "8 filters of 3 x 3" in page
    assert "stem_relu</bdi>: 16 x 16 x 8" in page
    assert "features</bdi>: 8 x 8 x 16" in page
    assert f"{classifier.keras_model.count_params():,}" in page
    assert page.count("data:image/png") == 1 + 8 + 3 * 8 + 8
    assert "Another step" not in page
    assert "<script" not in page
