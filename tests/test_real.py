"""The main job on the real chest radiographs, small and short; skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from lucency.config import Config
from lucency.pipeline.train import run_training

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_from_radiographs_to_a_report(radiographs: Path, tmp_path: Path) -> None:
    config = Config(effort="quick", size=32, epochs=2, cache=str(tmp_path / "cache"))
    run = run_training(radiographs / "chest_xray", config, run=str(tmp_path / "run"))
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
    assert run.test.metrics["auroc"].value > 0.85  # 0.5 is guessing; two epochs reach about 0.93
    assert run.parity.passed
    again = run_training(radiographs / "chest_xray", config, run=str(tmp_path / "again"))
    for name in ("weights.safetensors", "predictions.csv"):
        assert (run.folder / name).read_bytes() == (again.folder / name).read_bytes()
    assert again.data.train.cache.decoded == 0
