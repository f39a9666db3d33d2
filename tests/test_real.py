"""The main job on the real chest radiographs, small and short; skipped where they are absent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import load_dataset
from lucency.evaluation import predict, read_predictions
from lucency.export import to_onnx
from lucency.pipeline.train import run_training
from lucency.training.train import train

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
def some(radiographs: Path, tmp_path: Path) -> Path:
    """Return a folder with an eighth of the radiographs, drawn by content: duplicates stay so."""
    whole, folder = radiographs / "chest_xray", tmp_path / "chest_xray"
    for file in whole.rglob("*.jpeg"):
        if hashlib.sha256(file.read_bytes()).digest()[0] % 8 == 0:
            target = folder / file.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return folder


@pytest.mark.usefixtures("small_network")
def test_from_radiographs_to_a_report(some: Path, tmp_path: Path) -> None:
    config = Config(effort="quick", size=32, epochs=12, folds=0, cache=str(tmp_path / "cache"))
    run = run_training(some, config, run=str(tmp_path / "run"))
    audit = run.data.audit
    assert audit.found == audit.used + len(audit.excluded)
    assert audit.group_source == "kermany"
    assert audit.duplicates
    assert audit.colour is False  # grey radiographs saved as colour JPEG
    parts = [run.data.train, run.data.val, run.data.test]
    patients = [set(part.groups) for part in parts if part is not None]
    assert len(set.union(*patients)) == sum(map(len, patients)), "a patient is in two parts"
    assert run.test is not None
    assert run.test.baseline["class"] == "PNEUMONIA"
    assert run.test.metrics["auroc"].value > 0.85  # 0.5 is guessing
    assert run.parity.passed
    again = load_dataset(some, config)
    assert again.train.cache.decoded == 0
    assert again.test is not None
    trained = train(again.train, again.val, config)
    weights = Classifier.load(run.folder).weights
    assert trained.weights.keys() == weights.keys()
    assert all(
        trained.weights[name].tobytes() == array.tobytes() for name, array in weights.items()
    )
    found = predict(to_onnx(trained, again.test)[0], again.test)
    stored = read_predictions(run.folder / "predictions.csv")[-1]
    assert found.files == stored.files
    np.testing.assert_array_equal(found.probabilities, stored.probabilities)
