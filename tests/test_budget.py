"""A time as effort: how it is written, what it buys, and that a resumed run keeps to it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lucency import signals
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.dataset.survey import survey
from lucency.errors import ConfigError
from lucency.pipeline.train import run_training
from lucency.run_folder.files import BUDGET, PLAN
from lucency.signals import Interrupted
from lucency.training import speed as training_speed
from lucency.training.budget import Bought, Images, Speed, buy, choose, described
from lucency.training.budget import Offer as Measured
from lucency.training.plan import make_plan
from lucency.training.speed import measure_speed, noise_split
from lucency.training.train import train

IMAGES = Images(train=1000, val=180, test=300)
SPEEDS = {"quick": Speed(140, 6), "standard": Speed(45, 7)}
FAST = Config(effort="quick", size=32, epochs=2, precision="float32", batch=32)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("20min", 1200), ("20m", 1200), ("2h", 7200), ("1h30min", 5400), ("1.5h", 5400),
     ("1h0min30s", 3630)],
)  # fmt: skip
def test_times_are_read(written: str, seconds: float) -> None:
    assert Config.load(None, [f"effort={written}"]).seconds == seconds
    assert Config(effort=written).seconds == seconds


@pytest.mark.parametrize("level", ["quick", "standard", "thorough"])
def test_a_level_is_no_time(level: str) -> None:
    assert Config(effort=level).seconds is None


@pytest.mark.parametrize(
    ("written", "hint"),
    [("20", "'20min'?"), ("20minuets", "'20min'?"), ("20 min", "'20min'?"), ("90sec", "'90s'?"),
     ("quik", "'quick'?"), ("0min", ""), ("-5min", ""), ("9s", ""), ("1000h", ""), ("", ""),
     ("30min1h", ""), ("1e9h", ""), ("\u0665min", ""), ("nan", ""), ("min", "")],
)  # fmt: skip
def test_other_values_are_explained_in_one_line(written: str, hint: str) -> None:
    for make in (lambda: Config(effort=written), lambda: Config.load(None, [f"effort={written}"])):
        with pytest.raises(ConfigError, match="one of quick, standard, thorough, or a time") as e:
            make()
        assert "\n" not in str(e.value)
        assert str(e.value).endswith(hint or f"Received: {written!r}.")


def test_a_number_in_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("effort = 20")
    with pytest.raises(ConfigError, match="Did you mean '20min'"):
        Config.load(tmp_path / "a.toml")


def bought(
    time: str, speeds: dict[str, Speed] = SPEEDS, images: Images = IMAGES, **settings: object
) -> tuple[Bought, list[str]]:
    """Return what a time buys at these speeds, and what was measured for it."""
    measured = []

    def measure(config: Config) -> Speed:
        measured.append(config.effort)
        return speeds[config.effort]

    config = Config.load(None, effort=time, **settings)
    return buy(config, images, lambda: config.seconds or 0, measure), measured


@pytest.mark.parametrize(
    ("time", "level", "measured"),
    [("5min", "quick", 1), ("17min", "quick", 2), ("30min", "standard", 2), ("1h", "standard", 2)],
)
def test_more_time_buys_more(time: str, level: str, measured: int) -> None:
    found, levels = bought(time)
    assert found.config.effort == level
    assert len(levels) == measured
    seconds = Config(effort=time).seconds or 0
    epoch = (IMAGES.train + 0.3 * IMAGES.val) / SPEEDS[level].images_per_second
    assert found.config.epochs is not None
    training = found.config.epochs * epoch
    assert 0.4 * seconds < training < 0.93 * seconds


def test_epochs_grow_with_the_time_and_the_speed() -> None:
    epochs = [bought(f"{minutes}min")[0].config.epochs or 0 for minutes in (3, 4, 5, 6)]
    assert epochs == sorted(set(epochs))
    faster = {name: Speed(2 * x.images_per_second, x.ready) for name, x in SPEEDS.items()}
    assert (bought("4min", faster)[0].config.epochs or 0) > 1.8 * epochs[1]


def test_too_little_time_is_one_line_that_says_how_much_is_needed() -> None:
    with pytest.raises(ConfigError, match="is too short") as caught:
        bought("40s")
    words = str(caught.value)
    assert "\n" not in words
    needed = words.partition("takes about ")[2].partition(".")[0]
    assert bought(needed)[0].config.epochs
    with pytest.raises(ConfigError, match=r"training with epochs=500 takes about 1h\d"):
        bought("5min", epochs=500)


def test_more_time_than_helps_is_not_spent() -> None:
    found, _ = bought("3h", images=Images(200, 40, 60))
    assert (found.config.effort, found.config.epochs) == ("standard", 400)
    assert found.complete
    assert not bought("5min")[0].complete


def test_settings_stay_as_they_are() -> None:
    found, _ = bought("20min", epochs=7)
    assert found.config.epochs == 7
    assert found.config.effort == "standard"
    found, levels = bought("30min", size=96)
    assert levels[0] == "standard"  # quick has the same network
    assert found.config.input_size == (96, 96)
    for fixed in ({"recipe": "article"}, {"backbone": "MobileNetV2"}):
        found, levels = bought("30min", **fixed)
        assert levels == ["standard"]
    assert (bought("8h", recipe="article")[0].config.epochs, bought("8h", size=64)[1][-1]) == (
        30, "standard",
    )  # fmt: skip


def test_the_choice_depends_on_nothing_else() -> None:
    offers = [Measured(Config(effort=name), speed) for name, speed in SPEEDS.items()]
    config = Config(effort="30min")
    assert choose(1500, offers, IMAGES, config) == choose(1500, offers, IMAGES, config)
    stored = json.loads(json.dumps(choose(1500, offers, IMAGES, config).to_json()))
    assert Bought.from_json(stored, config) == choose(1500, offers, IMAGES, config)


def test_the_plan_says_what_the_time_buys() -> None:
    found, _ = bought("30min")
    config = Config(effort="30min", precision="float32")
    split = noise_split(("a", "b"), (112, 112, 1), 64)
    made = make_plan(split, dataclasses.replace(found.config, precision="float32"))
    plan = described(made, found, config)
    assert (plan.effort, plan.epochs) == ("30min", found.config.epochs)
    first = plan.choices[0]
    assert (first.name, first.value) == ("time budget", "30min")
    assert f"buys {plan.epochs} epochs with --effort standard" in first.reason
    assert "140 images/s with --effort quick (64 px), 45 images/s" in first.reason
    assert f"--effort standard --set epochs={plan.epochs} --folds 0" in first.reason
    with pytest.raises(ConfigError, match="train measures"):
        make_plan(split, config)


def test_a_survey_counts_as_the_split_will(tiny_folder: Path, tmp_path: Path) -> None:
    config = Config(cache=str(tmp_path), size=32)
    found, data = survey(tiny_folder, config), load_dataset(tiny_folder, config)
    assert data.test
    assert (found.classes, found.colour) == (data.classes, False)
    for estimate, split in (
        (found.train, data.train),
        (found.val, data.val),
        (found.test, data.test),
    ):
        assert abs(estimate - len(split)) <= 0.1 * 240
    assert found.reading > 0


@pytest.fixture(scope="module")
def data(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(
        tiny_folder, dataclasses.replace(FAST, cache=str(tmp_path_factory.mktemp("cache")))
    )


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_measuring_changes_nothing_in_what_is_trained(data: Dataset) -> None:
    timed = dataclasses.replace(FAST, effort="1h")
    measured = train(data.train, data.val, timed)
    assert len(measured.history) == 2
    again = train(data.train, data.val, dataclasses.replace(FAST, effort="standard"))
    plain = {name: array.tobytes() for name, array in again.weights.items()}
    assert {name: array.tobytes() for name, array in measured.weights.items()} == plain


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_the_speed_is_that_of_training(data: Dataset) -> None:
    found = measure_speed(data.train, FAST)
    assert found.images_per_second > 1
    assert found.ready > 0.01


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_a_resumed_run_keeps_what_its_time_has_bought(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(
        FAST, effort="1h", epochs=None, size=None, cache=str(tmp_path / "cache")
    )

    def measures(images_per_second: float) -> Callable[..., Speed]:
        return lambda *_: Speed(images_per_second, 1.0)

    calls = iter(range(10**6))

    def check() -> None:
        if next(calls) == 8:
            raise Interrupted(15)

    run = tmp_path / "run"
    monkeypatch.setattr(training_speed, "measure_speed", measures(0.35))
    with monkeypatch.context() as patch:
        patch.setattr(signals, "check", check)
        with pytest.raises(Interrupted):
            run_training(small_folder, config, run=str(run))
    partial = tmp_path / "run.unfinished"
    stored = BUDGET.read(partial)
    assert (stored["effort"], stored["epochs"]) == ("quick", pytest.approx(4, abs=1))

    monkeypatch.setattr(training_speed, "measure_speed", measures(1e6))
    done = run_training(small_folder, config, run=str(run), resume=True)
    plan = PLAN.read(done.folder)
    assert plan["time_budget"] == {k: v for k, v in stored.items() if k != "format"}
    assert len(plan["epochs"]) == stored["epochs"]
    assert (plan["effort"], plan["config"]["epochs"]) == ("1h", None)
    assert not BUDGET.is_in(done.folder)
    assert done.data.train.cache.shape == (64, 64, 1)
