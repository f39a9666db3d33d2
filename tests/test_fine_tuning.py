"""Fine-tuning of the last stage of a pretrained backbone, on feature maps computed once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from conftest import Heard, draw_folder, needs_weights
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.errors import ConfigError
from lucency.pipeline.start import plan_of
from lucency.signals import Interrupted
from lucency.training import fine_tuning

if TYPE_CHECKING:
    from lucency.training.plan import Plan

SETTINGS: dict[str, Any] = {"start": "EfficientNetLite0", "size": 64, "effort": "quick"}


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("tuned") / "spots", 30)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show each image in three views, twice."""
    monkeypatch.setattr(fine_tuning, "_MOST_VIEWS", 3)
    monkeypatch.setattr(fine_tuning, "_PASSES", 6)


def tuned(data: Dataset, checkpoints: Path | None = None, **settings: Any) -> Any:
    """Fine-tune on a data set."""
    from lucency.training.pretrained import train_backbone

    config = Config(fine_tune=True, checkpoint_seconds=0, **{**SETTINGS, **settings})
    splits = data.train, data.val, data.folds
    plan = plan_of(data, config, "")
    return train_backbone(plan, splits, config, Heard(), checkpoints=checkpoints).backbone


def test_two_views_that_are_only_trained_on_are_noisy() -> None:
    from lucency.augmentation import Augmentation
    from lucency.training.backbone import Augmenter

    policy = Augmentation(rotation=10, sharpness=1.5, rectangles=2)
    shown = Augmenter(
        cast("Plan", SimpleNamespace(
            augmentation=policy, seed=3, size=(64, 64), channels=1, dtype="uint8"
        ))
    )  # fmt: skip
    grey, items = np.full((40, 64, 64, 1), 128, np.uint8), np.arange(40)
    for view in range(7):
        pixels = shown(grey, items, view)
        assert pixels.dtype == np.uint8
        spread = pixels[:, 24:40, 24:40].std(axis=(1, 2, 3))  # no rectangle is there
        if view in (2, 5):
            assert spread.max() == pytest.approx(0.05 * 255, rel=0.1)
            assert spread.mean() == pytest.approx(0.025 * 255, rel=0.2)
            alone = shown(grey[:1], items[7:8], view)
            np.testing.assert_array_equal(alone[0], pixels[7])
        else:
            assert spread.max() < 1


def test_many_images_are_seen_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    size = 224, 224
    for images, views, epochs in ((50, 7, 2), (2000, 7, 2), (5000, 3, 2), (15_000, 2, 1)):
        found = fine_tuning.views_of(images, size), fine_tuning.epochs_of(images, size)
        assert found == (views, epochs), images
    assert fine_tuning.views_of(100_000, size) == 0
    assert fine_tuning.views_of(2_000, (1024, 1024)) == 0  # few but large


def test_more_images_than_memory_holds_are_an_error(
    spots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(fine_tune=True, folds=0, **SETTINGS)
    data = load_dataset(spots, config)
    monkeypatch.setattr(fine_tuning, "_BYTES", 2**16)
    with pytest.raises(ConfigError, match=r"too much memory for \d+ images of 64 x 64\. Leave"):
        plan_of(data, config, "")


def test_that_is_known_before_anything_is_trained(
    spots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lucency.pipeline.train import run_training

    monkeypatch.setattr(fine_tuning, "_BYTES", 2**16)
    config = Config(start="ensemble", fine_tune=True, effort="quick", size=16, folds=0)
    with pytest.raises(ConfigError, match=r"too much memory for \d+ images of 64 x 64"):
        run_training(spots, config, run=f"{tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("start", ["scratch", "runs/earlier"])
def test_only_a_pretrained_network_is_fine_tuned(start: str) -> None:
    with pytest.raises(ConfigError, match=rf"fine_tune needs --start auto, .*--start {start}"):
        Config(start=start, fine_tune=True)


@pytest.mark.parametrize(("gain", "better"), [(2.0, True), (0.0, False), (-2.0, False)])
def test_the_last_stage_stays_frozen_unless_the_gain_is_clear(
    spots: Path, gain: float, *, better: bool
) -> None:
    from lucency.training.start import compare_fine_tuning

    config = Config(folds=0, **SETTINGS)
    data = load_dataset(spots, config)
    plan = plan_of(data, config, "")
    noise = np.random.default_rng(0).normal(size=len(data.val)) * 2
    sign = np.where(data.val.labels == 1, 1.0, -1.0)

    def with_logits(strength: float) -> Any:
        logits = np.stack([strength * sign + noise] * 2)[..., None]
        return SimpleNamespace(
            logits=logits, plan=plan, splits=(data.train, data.val, None)
        )  # fmt: skip

    found = compare_fine_tuning(with_logits(2.5 - gain / 2), with_logits(2.5 + gain / 2), plan)
    assert found.is_better == better
    assert found.choice.value == ("fine-tuned" if better else "frozen")
    assert f"{found.fine_tuned:.3f} fine-tuned" in found.choice.reason


@pytest.mark.slow
def test_the_classifier_is_the_network_that_was_fine_tuned(spots: Path) -> None:
    needs_weights()
    data = load_dataset(spots, Config(folds=0, **SETTINGS))
    found = tuned(data, folds=0)
    frozen = found._frozen.weights
    changed = {name for name, array in found.weights.items() if (array != frozen[name]).any()}
    assert {name.partition("_")[0] for name in changed} == {
        "block16", "head", "logits/kernel", "logits/bias",
    }  # fmt: skip
    assert not any("norm" in name for name in changed)
    config = Config(folds=0, **SETTINGS)
    made, outputs = found.classifier(config, Heard())
    assert outputs is None
    assert (len(made.history), made.best_epoch) == (2, 2)
    pixels = data.val.pixels(np.arange(len(data.val)))
    p = made.keras_model.predict_on_batch(pixels.astype(np.float32).repeat(3, axis=-1))[:, 0]
    logits = np.log(p / (1 - p))
    difference = logits - found.logits[0, :, 0]
    assert np.ptp(difference) < 0.02  # but for the bias of the calibration; maps have 16 bits
    assert np.ptp(logits) > 0.5
    pooled = found._pooled()
    assert np.allclose(pooled.val, made.embed(data.val, np.arange(len(data.val))), atol=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_no_network_knows_the_labels_of_its_fold(spots: Path) -> None:
    data = load_dataset(spots, Config(folds=2, **SETTINGS))
    assert data.folds is not None
    labels = data.train.labels.copy()
    inside = data.folds.held_out == 1
    of_each = [np.flatnonzero(inside & (labels == k)) for k in (0, 1)]
    for places in of_each:  # equally many, so that the weights of the classes stay
        labels[places[: min(map(len, of_each))]] ^= 1
    flipped = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=labels))
    before, after = (tuned(each, folds=2).logits for each in (data, flipped))
    assert np.array_equal(before[:, inside], after[:, inside])
    assert not np.allclose(before[:, ~inside], after[:, ~inside], atol=1e-2)


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_an_interrupted_training_ends_with_the_same_bytes(
    spots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lucency.training.checkpoints import Checkpoints

    data = load_dataset(spots, Config(folds=2, **SETTINGS))
    expected = tuned(data, folds=2)
    written, write = [], Checkpoints.write

    def interrupting(self: Checkpoints, snapshot: Any) -> None:
        write(self, snapshot)
        written.append(snapshot)
        if len(written) == 8:  # within the second network
            raise Interrupted(2)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "write", interrupting)
        with pytest.raises(Interrupted):
            tuned(data, tmp_path / "checkpoints", folds=2)
    folders = sorted(each.name for each in (tmp_path / "checkpoints").glob("*/*"))
    assert folders == ["1", "2"]
    resumed = tuned(data, tmp_path / "checkpoints", folds=2)
    assert np.array_equal(resumed.logits, expected.logits)
    for name, array in expected.weights.items():
        assert np.array_equal(resumed.weights[name], array), name


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_a_run_with_folds(spots: Path, tmp_path: Path) -> None:
    from lucency.pipeline.train import run_training
    from lucency.verify import verify

    heard = Heard()
    config = Config(folds=2, fine_tune=True, **SETTINGS | {"size": 32})
    done = run_training(spots, config, run=f"{tmp_path / 'run'}", progress=heard)
    assert done.folds is not None
    assert done.parity.max_abs_difference < 1e-4
    assert done.plan.trained == "last stage"
    assert any(
        "network: EfficientNetLite0" in line and "fine-tuned" in line for line in heard.notes
    )
    assert any("one network is fine-tuned without each" in line for line in heard.notes)
    assert len((done.folder / "history.csv").read_text().splitlines()) == 1 + 2 * 2
    assert verify(done.folder).passed
    classifier = Classifier.load(done.folder)
    assert "frozen" not in classifier.training
    (prediction,) = classifier.predict([next(spots.rglob("*.png"))], maps=True)
    assert prediction.activation_map is not None
    assert prediction.ood_score is not None
    assert prediction.ood_score < 3
