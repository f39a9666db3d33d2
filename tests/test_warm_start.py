"""Fine-tuning of an earlier classifier, and the images that it must not hold out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from benchmarks import small_network as small
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file

from conftest import Finished, Heard, call_lucency, draw_folder
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import load_dataset
from lucency.errors import ConfigError, LeakError
from lucency.pipeline.train import run_training
from lucency.signals import Interrupted
from lucency.training import ensemble
from lucency.training.plan import make_plan
from lucency.training.train import train
from lucency.training.trainer import build_network
from lucency.training.warm_start import settled, warm_start

FEW: dict[str, Any] = {"effort": "quick", "epochs": 2}


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with small.small_network():
        yield


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two data sets, and a run with and one without folds on the first."""
    folder = tmp_path_factory.mktemp("warm")
    draw_folder(folder / "spots", 40)
    draw_folder(folder / "kinds", 40, ("a", "b", "c"))
    for file in (folder / "kinds").rglob("*.png"):
        ImageOps.invert(Image.open(file)).save(file)  # other images than those of spots
    for name, folds in (("single", 0), ("folded", 2)):
        run_training(
            folder / "spots", Config(**FEW, folds=folds, size=32, start="scratch"),
            run=str(folder / name),
        )  # fmt: skip
    return folder


def trained(folder: Path, start: Path, run: Path, **options: object) -> tuple[Classifier, Heard]:
    heard = Heard()
    config = Config(**{**FEW, "folds": 0, "start": str(start), **options})
    run_training(folder, config, run=str(run), progress=heard)
    return Classifier.load(run), heard


def without_head(weights: Any) -> dict[str, np.ndarray]:
    return {name: array for name, array in weights.items() if not name.startswith("logits/")}


@pytest.mark.parametrize("members", [1, 3])
def test_an_ensemble_is_split_into_what_it_was_joined_from(members: int) -> None:
    random = np.random.default_rng(0)
    networks = [
        {
            "stem_conv/kernel": random.normal(size=(3, 3, 1, 8)),
            "logits/kernel": random.normal(size=(8, 2)),
            "logits/bias": np.ones(2, np.float32),
        }
        for _ in range(members)
    ]
    found = ensemble.split(ensemble.join(networks) if members > 1 else networks[0])
    assert len(found) == members
    for before, after in zip(networks, found, strict=True):
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["single", "folded"])
def test_training_begins_with_the_weights_of_the_run(places: Path, run: str) -> None:
    before = Classifier.load(places / run)
    start = warm_start(Config(start=str(places / run)))
    assert start is not None
    own = ensemble.split(before.weights)
    for classes, kept in ((before.spec.classes, True), (("a", "b", "c"), False)):
        config = settled(Config(start=str(places / run), effort="quick"))
        data = load_dataset(places / ("spots" if kept else "kinds"), config)
        plan = make_plan(data.train, config)
        assert plan.size == before.spec.size
        assert plan.learning_rate < make_plan(data.train, Config(effort="quick")).learning_rate
        network = build_network(plan, len(classes))
        random = {each.path: np.array(each) for each in network.weights}
        start.assign(network, classes, seed=1)
        after = {each.path: np.array(each) for each in network.weights}
        expected = own[1 % len(own)]
        assert without_head(after).keys() == without_head(expected).keys()
        for name, array in after.items():
            source = expected if kept or not name.startswith("logits/") else random
            assert np.array_equal(array, source[name]), name
    assert before.spec.weights_origin == ""
    assert start.sha256 in make_plan(data.train, config).weights_origin


@pytest.mark.slow
def test_a_run_is_fine_tuned_for_other_classes(places: Path, tmp_path: Path) -> None:
    made, heard = trained(places / "kinds", places / "folded", tmp_path / "run")
    assert made.spec.classes == ("a", "b", "c")
    assert made.spec.size == (32, 32)
    assert made.spec.weights_origin.startswith("weights of an earlier classifier, sha256 ")
    choices = json.loads((tmp_path / "run" / "plan.json").read_text())["choices"]
    assert choices[0]["name"] == "start"
    assert any(line.startswith("start: an earlier classifier") for line in heard.notes)
    again, warned = trained(places / "spots", tmp_path / "run", tmp_path / "again")
    assert again.spec.weights_origin.count("sha256") == 2
    assert any("learned from are known" in line for line in warned.warnings)


@pytest.mark.slow
def test_images_that_the_run_has_learned_from_are_not_held_out(
    places: Path, tmp_path: Path
) -> None:
    with pytest.raises(LeakError, match=r"has learned from \d+ of the \d+ images") as leak:
        trained(places / "spots", places / "folded", tmp_path / "leak", folds=2)
    assert f"--split-file {places / 'folded' / 'split.csv'}" in str(leak.value)
    _, heard = trained(
        places / "spots", places / "folded", tmp_path / "ignored", folds=2, on_leak="ignore"
    )
    assert any("figures are invalid" in line for line in heard.warnings)
    kept = Config(
        **FEW, folds=0, start=str(places / "single"), split_file=str(places / "single/split.csv")
    )
    with pytest.MonkeyPatch.context() as patch:  # what follows is that of every run
        patch.setattr("lucency.pipeline.train._trained", Mock(side_effect=Interrupted(15)))
        with pytest.raises(Interrupted):
            run_training(
                places / "spots", kept, run=str(tmp_path / "kept"), progress=(heard := Heard())
            )
    assert not any("learned from" in line for line in heard.warnings)


@pytest.mark.slow
def test_a_file_of_weights_will_do(places: Path, tmp_path: Path) -> None:
    file = places / "single" / "weights.safetensors"
    made, heard = trained(places / "kinds", file, tmp_path / "run", size=32)
    assert made.spec.weights_origin.startswith("weights of a file, sha256 ")
    assert any("learned from are known" in line for line in heard.warnings)
    assert "single" not in made.spec.weights_origin


@pytest.mark.slow
def test_an_interrupted_warm_start_comes_to_the_same_bytes(places: Path, tmp_path: Path) -> None:
    config = Config(**FEW, start=str(places / "folded"), checkpoint_seconds=0)
    data = load_dataset(places / "kinds", settled(config))

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    once = train(data.train, data.val, config)
    with pytest.raises(KeyboardInterrupt):
        train(data.train, data.val, config, on_epoch=stop, checkpoints=tmp_path)
    resumed = train(data.train, data.val, config, checkpoints=tmp_path)
    assert len(resumed.history) == 2
    for name, array in once.weights.items():
        assert np.array_equal(array, resumed.weights[name]), name


def damaged(places: Path, tmp_path: Path, kind: str) -> str:
    weights = dict(load_file(places / "single" / "weights.safetensors"))
    path = tmp_path / "start.safetensors"
    if kind == "not finite":
        weights["logits/bias"] = np.full_like(weights["logits/bias"], np.nan)
    elif kind == "no stem":
        del weights["stem_conv/kernel"]
    elif kind == "no head":
        weights = without_head(weights)
    elif kind == "two channels":
        weights["stem_conv/kernel"] = np.repeat(weights["stem_conv/kernel"], 2, axis=2)
    save_file(weights, path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    return str(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("not finite", "values that are not finite"),
        ("no stem", "it has no stem_conv/kernel"),
        ("no head", "it has no logits/kernel"),
        ("two channels", "its images have 2 channels"),
        ("cut", "does not hold the weights of the default network"),
    ],
)
@pytest.mark.slow
def test_a_damaged_file_is_one_line(places: Path, tmp_path: Path, kind: str, message: str) -> None:
    file = damaged(places, tmp_path, kind)
    done = call(places / "kinds", "--start", file)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def call(folder: Path, *options: object) -> Finished:
    return call_lucency("train", folder, "--quiet", *options, cwd=folder.parent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--start", "EficientNetLite0"), "Did you mean 'EfficientNetLite0'?"),
        (("--start", "missing"), "a run folder or a .safetensors file"),
        (("--start", "missing.safetensors"), "does not hold the weights"),
        (("--start", "spots"), "a run folder or a .safetensors file"),
        (("--start", "single", "--recipe", "article"), "needs --recipe default"),
        (("--start", "single", "--backbone", "MobileNetV2"), "is not the network of --start"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_started_from_is_one_line(
    places: Path, options: tuple[str, ...], message: str
) -> None:
    done = call(places / "kinds", *options)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert not list(places.glob("runs/*"))


@pytest.mark.slow
def test_grey_and_colour_do_not_mix(places: Path, tmp_path: Path) -> None:
    colour = draw_folder(tmp_path / "colour", 20)
    for file in colour.rglob("*.png"):
        grey = np.asarray(Image.open(file))
        Image.fromarray(np.stack([grey, 255 - grey, grey // 2], axis=-1)).save(file)
    done = call(colour, "--start", places / "single")
    assert done.returncode == 2
    assert "was trained on images that are grey, and these are in colour" in " ".join(
        done.stderr.split()
    )


def test_the_article_takes_no_other_start() -> None:
    with pytest.raises(ConfigError, match=r"needs --recipe default"):
        Config(recipe="article", start="runs/some")
