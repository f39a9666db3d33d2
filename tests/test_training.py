from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from conftest import Heard
from lucency import backend
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.errors import ConfigError
from lucency.training import plan as plans
from lucency.training.plan import make_plan, positive_class
from lucency.training.state import Stopper, learning_rate
from lucency.training.train import train
from lucency.training.trainer import Trainer

FAST = Config(effort="quick", size=32, epochs=2, precision="float32")


@pytest.fixture(scope="module")
def data(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = tmp_path_factory.mktemp("cache")
    return load_dataset(tiny_folder, dataclasses.replace(FAST, cache=str(cache)))


# -- logic without a network ---------------------------------------------------------------------


def test_the_stopper_remembers_the_best_and_stops_in_time() -> None:
    stopper = Stopper("accuracy", patience=2)
    answers = [
        (stopper.is_best(1.0, accuracy), stopper.should_stop) for accuracy in (0.5, 0.7, 0.7, 0.6)
    ]
    assert answers == [(True, False), (True, False), (False, False), (False, True)]
    assert stopper.best_epoch == 1


def test_the_stopper_never_takes_nan_for_the_best() -> None:
    stopper = Stopper("log_loss", patience=0)
    assert not stopper.is_best(math.nan, 0.9)
    assert stopper.is_best(0.4, 0.9)
    assert not stopper.is_best(math.nan, 0.99)
    assert stopper.best_epoch == 1
    assert not stopper.should_stop


def test_the_last_sound_epoch_is_kept_where_that_is_the_plan() -> None:
    stopper = Stopper("last", patience=0)
    assert [stopper.is_best(loss, 0.5) for loss in (0.1, 0.3, math.nan)] == [True, True, False]
    assert stopper.best_epoch == 1


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


def test_the_articles_plan_is_the_articles(data: Dataset) -> None:
    plan = make_plan(data.train, Config(recipe="article"))
    assert (plan.batch, plan.optimizer, plan.patience, plan.monitor) == (100, "adam", 5, "accuracy")
    assert plan.label_smoothing == 0
    assert set(plan.class_weights) == {1.0}
    assert plan.network_channels == 3
    variation = plan.augmentation
    assert (variation.flip_vertical, variation.flip_horizontal) == (True, False)
    assert (variation.stretch, variation.zoom, variation.rotation) == (0.2, 0, 0)
    assert (variation.gamma, variation.sharpness, variation.rectangles) == (0, 0, 0)
    assert Config(recipe="article").input_size == (255, 255)


@pytest.mark.parametrize(
    ("classes", "asked", "answer"),
    [
        (("NORMAL", "PNEUMONIA"), "auto", "PNEUMONIA"),
        (("disease", "normal"), "auto", "disease"),
        (("cat", "dog"), "auto", "dog"),
        (("cat", "dog"), "cat", "cat"),
        (("a", "b", "c"), "auto", None),
    ],
)
def test_which_class_is_looked_for(
    classes: tuple[str, ...], asked: str, answer: str | None
) -> None:
    assert positive_class(classes, asked) == answer


def test_an_unknown_positive_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of cat, dog"):
        positive_class(("cat", "dog"), "bird")


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
def test_it_learns_and_the_same_seed_gives_the_same_bytes(data: Dataset) -> None:
    config = dataclasses.replace(FAST, epochs=6)
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
def test_it_says_how_long_compiling_took_and_where_another_backend_is_faster(
    data: Dataset,
) -> None:
    heard = Heard()
    train(data.train, data.val, dataclasses.replace(FAST, epochs=1), heard)
    (line,) = (line for line in heard.notes if line.startswith("Compiled"))
    assert 0 < float(line.split()[-2]) < 120
    slow = [line for line in heard.warnings if "KERAS_BACKEND=tensorflow" in line]
    assert len(slow) == backend.is_slow_here()


@pytest.mark.slow
def test_the_best_epoch_is_kept(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.3, 0.1, 0.2])

    def judged(_: object) -> dict[str, float]:
        return {"val_loss": next(losses), "val_accuracy": 0.5, "val_auroc": 0.5}

    snapshots = []
    monkeypatch.setattr(Trainer, "_judged", judged)
    original = Stopper.is_best

    def spy(stopper: Stopper, loss: float, accuracy: float) -> bool:
        snapshots.append(loss)
        return original(stopper, loss, accuracy)

    monkeypatch.setattr(Stopper, "is_best", spy)
    plan = dataclasses.replace(make_plan(data.train, FAST), epochs=3, monitor="log_loss")
    monkeypatch.setattr("lucency.training.train.make_plan", lambda *_: plan)
    classifier = train(data.train, data.val, FAST)
    assert snapshots == [0.3, 0.1, 0.2]
    assert classifier.best_epoch == 2


@pytest.mark.slow
@pytest.mark.backend
def test_members_learn_side_by_side_and_probabilities_are_those_of_the_calibrated_mean(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    effort = plans._EFFORTS["quick"]
    efforts = {"quick": dataclasses.replace(effort, width=8, blocks=(1, 1), members=3)}
    monkeypatch.setattr(plans, "_EFFORTS", efforts)
    classifier = train(data.train, data.val, dataclasses.replace(FAST, epochs=6))
    assert max(row.val_auroc for row in classifier.history) > 0.9
    kernel = classifier.weights["logits/kernel"]
    assert kernel.shape == (3 * 16, 1)
    assert {name.split("_")[0] for name in classifier.weights} >= {"member1", "member2", "member3"}

    pixels = data.val.pixels(range(6))
    plain = np.asarray(classifier.keras_model(pixels.astype(np.float32)))[:, 0].astype(np.float64)
    logits = np.log(plain / (1 - plain))
    said = 1 / (1 + np.exp(-logits / classifier.spec.temperature))
    np.testing.assert_allclose(classifier.predict_pixels(pixels)[:, 1], said, rtol=2e-3, atol=1e-5)
