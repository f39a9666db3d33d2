from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Heard
from lucency import backend
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.errors import ConfigError
from lucency.training.early_stopping import EarlyStopping
from lucency.training.plan import make_plan, positive_class
from lucency.training.schedule import learning_rate
from lucency.training.train import train
from lucency.training.trainer import Trainer

FAST = Config(effort="quick", size=16, epochs=2, precision="float32")


@pytest.fixture(scope="module")
def data(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = tmp_path_factory.mktemp("cache")
    return load_dataset(tiny_folder, dataclasses.replace(FAST, cache=str(cache)))


# -- logic without a network ---------------------------------------------------------------------


def test_early_stopping_keeps_the_best_epoch_and_stops_in_time() -> None:
    stopping = EarlyStopping("accuracy", patience=2)
    found = [
        (stopping.is_best(1.0, accuracy), stopping.should_stop) for accuracy in (0.5, 0.7, 0.7, 0.6)
    ]
    assert found == [(True, False), (True, False), (False, False), (False, True)]
    assert stopping.best_epoch == 1


def test_early_stopping_never_takes_nan_for_the_best() -> None:
    stopping = EarlyStopping("log_loss", patience=0)
    assert not stopping.is_best(math.nan, 0.9)
    assert stopping.is_best(0.4, 0.9)
    assert not stopping.is_best(math.nan, 0.99)
    assert stopping.best_epoch == 1
    assert not stopping.should_stop


def test_the_last_epoch_with_a_finite_loss_is_kept_if_planned() -> None:
    stopping = EarlyStopping("last", patience=0)
    assert [stopping.is_best(loss, 0.5) for loss in (0.1, 0.3, math.nan)] == [True, True, False]
    assert stopping.best_epoch == 1


@pytest.mark.parametrize(("height", "stretch"), [(1.0, 0.1), (0.7, 0.3)])
def test_the_axes_are_stretched_widely_where_their_scale_tells_the_class(
    tmp_path: Path, height: float, stretch: float
) -> None:
    random = np.random.default_rng(0)
    for i in range(120):
        side = round(60 * height) if i % 2 else 60
        image = Image.fromarray(random.integers(0, 256, (side, 60), dtype=np.uint8))
        folder = tmp_path / "data" / ("wide" if i % 2 else "square")
        folder.mkdir(parents=True, exist_ok=True)
        image.resize((120, 2 * side)).save(folder / f"{i}.png")
    config = Config(size=64, cache=str(tmp_path / "cache"))
    plan = make_plan(load_dataset(tmp_path / "data", config).train, config)
    assert plan.augmentation.stretch == stretch
    (choice,) = (each for each in plan.choices if each.name == "stretch of each axis")
    assert "AUROC" in choice.reason
    assert ("does not" in choice.reason) == (height == 1)


def test_cosine_schedule(data: Dataset) -> None:
    plan = dataclasses.replace(make_plan(data.train, FAST), epochs=10, learning_rate=1.0)
    rates = [learning_rate(plan, step, 10) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == pytest.approx(1.0)
    assert rates[52] == pytest.approx(0.5, abs=0.01)
    assert 0 < rates[-1] < 1e-3
    assert all(a >= b for a, b in pairwise(rates[5:]))


def test_the_article_halves_every_ten_epochs(data: Dataset) -> None:
    plan = make_plan(data.train, Config(recipe="article"))
    assert [learning_rate(plan, epoch * 7, 7) for epoch in (0, 9, 10, 19, 20)] == pytest.approx(
        [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]
    )


def test_the_articles_plan_is_that_of_the_tutorial(data: Dataset) -> None:
    plan = make_plan(data.train, Config(recipe="article"))
    assert (plan.batch, plan.optimizer, plan.patience, plan.monitor) == (100, "adam", 5, "accuracy")
    assert plan.label_smoothing == 0
    assert set(plan.class_weights) == {1.0}
    assert plan.network_channels == 3
    augmentation = plan.augmentation
    assert (augmentation.flip_vertical, augmentation.flip_horizontal) == (True, False)
    assert (augmentation.stretch, augmentation.zoom, augmentation.rotation) == (0.2, 0, 0)
    assert (augmentation.gamma, augmentation.sharpness, augmentation.rectangles) == (0, 0, 0)
    assert Config(recipe="article").input_size == (255, 255)


@pytest.mark.parametrize(
    ("classes", "requested", "expected"),
    [
        (("NORMAL", "PNEUMONIA"), "auto", "PNEUMONIA"),
        (("disease", "normal"), "auto", "disease"),
        (("cat", "dog"), "auto", "dog"),
        (("cat", "dog"), "cat", "cat"),
        (("a", "b", "c"), "auto", None),
    ],
)
def test_the_positive_class(classes: tuple[str, ...], requested: str, expected: str | None) -> None:
    assert positive_class(classes, requested) == expected


def test_an_unknown_positive_class_is_rejected() -> None:
    with pytest.raises(ConfigError, match="one of cat, dog"):
        positive_class(("cat", "dog"), "bird")


@pytest.mark.parametrize("recipe", ["default", "article"])
def test_the_plan_has_the_positive_class(data: Dataset, recipe: str) -> None:
    first, second = data.classes
    config = Config(recipe=recipe)
    assert make_plan(data.train, config).positive == second
    config = dataclasses.replace(config, positive=first)
    assert make_plan(data.train, config).positive == first
    with pytest.raises(ConfigError, match="--positive must be one of"):
        make_plan(data.train, dataclasses.replace(config, positive="bird"))


def test_the_plan_gives_a_reason_for_every_choice(data: Dataset) -> None:
    for config in (FAST, Config(recipe="article")):
        choices = make_plan(data.train, config).choices
        assert all(c.name and c.value and c.reason for c in choices)
    with pytest.raises(ConfigError, match="--backbone"):
        make_plan(data.train, Config(recipe="article", backbone="MobileNet"))


def test_rare_classes_weigh_as_much_as_frequent_ones(data: Dataset) -> None:
    labels = np.repeat([0, 1], [30, 10])
    rare = dataclasses.replace(
        data.train, labels=labels, files=data.train.files[:40], rows=data.train.rows[:40]
    )
    weights = make_plan(rare, FAST).class_weights
    assert weights == pytest.approx((40 / 60, 40 / 20))
    off = dataclasses.replace(FAST, class_weighting=False)
    assert make_plan(rare, off).class_weights == (1.0, 1.0)


# -- with a network ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.usefixtures("small_network")
def test_it_learns_and_the_same_seed_gives_the_same_bytes(data: Dataset) -> None:
    config = dataclasses.replace(FAST, epochs=6, batch=16)
    first, second = (train(data.train, data.val, config) for _ in range(2))
    assert len(first.history) == 6
    assert max(row.val_auroc for row in first.history) > 0.9
    assert first.weights.keys() == second.weights.keys()
    for name, array in first.weights.items():
        assert array.tobytes() == second.weights[name].tobytes(), name
    assert first.spec.temperature == second.spec.temperature
    a, b = (classifier.predict_split(data.val) for classifier in (first, second))
    assert a.tobytes() == b.tobytes()


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.usefixtures("small_network")
def test_a_compiled_step_serves_the_next_network_as_a_new_one_would(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucency.training.step._kept", [])
    heard = Heard()
    seeds = (0, 1, 0)
    made = [
        train(data.train, data.val, dataclasses.replace(FAST, seed=seed), progress=heard)
        for seed in seeds
    ]
    assert len([line for line in heard.notes if line.startswith("Compiled")]) == 1
    first, other, again = ([*each.weights.values()] for each in made)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert [row.val_loss for row in made[0].history] == [row.val_loss for row in made[2].history]


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.usefixtures("small_network")
def test_progress_has_the_time_of_compiling_and_a_faster_backend(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucency.training.step._kept", [])
    heard = Heard()
    train(data.train, data.val, dataclasses.replace(FAST, epochs=1), progress=heard)
    (line,) = (line for line in heard.notes if line.startswith("Compiled"))
    assert 0 < float(line.split()[-2]) < 120
    slow = [line for line in heard.warnings if "KERAS_BACKEND=tensorflow" in line]
    assert len(slow) == backend.is_slow_here()


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_the_best_epoch_is_kept(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.3, 0.1, 0.2])

    def validate(_: object) -> dict[str, float]:
        return {"val_loss": next(losses), "val_accuracy": 0.5, "val_auroc": 0.5}

    recorded = []
    monkeypatch.setattr(Trainer, "_validate", validate)
    original = EarlyStopping.is_best

    def spy(stopping: EarlyStopping, loss: float, accuracy: float) -> bool:
        recorded.append(loss)
        return original(stopping, loss, accuracy)

    monkeypatch.setattr(EarlyStopping, "is_best", spy)
    plan = dataclasses.replace(make_plan(data.train, FAST), epochs=3, monitor="log_loss")
    classifier = train(data.train, data.val, FAST, plan=plan)
    assert recorded == [0.3, 0.1, 0.2]
    assert classifier.best_epoch == 2
