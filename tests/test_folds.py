"""Cross-validation: folds without leaks, one network of all folds, and its out-of-fold figures."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from conftest import Heard, draw_folder
from lucency.calibration import ood_folds
from lucency.classifier import Classifier, Spec
from lucency.config import Config, column_of_folds
from lucency.dataset import Entry, load_dataset, read_folds, write_folds, write_split
from lucency.dataset.folds import make_folds
from lucency.dataset.partition import partition
from lucency.dataset.split import is_measurable
from lucency.errors import ConfigError, DataError, RunError
from lucency.evaluation import (
    OUT_OF_FOLD,
    Evaluation,
    Predictions,
    cross_validation,
    evaluate_arrays,
    read_predictions,
)
from lucency.evaluation.cross_validation import FIGURES, _next
from lucency.pipeline.train import Run, run_training
from lucency.report import render
from lucency.run_folder.files import EVALUATION
from lucency.signals import Interrupted
from lucency.training.plan import LEVELS, make_plan, without_folds
from lucency.verify import verify

QUICK = Config(effort="quick", size=32, epochs=2, precision="float32", folds=3)
TWO = dataclasses.replace(QUICK, folds=2)
# Networks that compile in a second.
SMALL = {**LEVELS, "quick": dataclasses.replace(LEVELS["quick"], width=4, blocks=(1, 1))}


def entries_of(patients: int = 12, images: int = 3, **given: str) -> list[Entry]:
    """Return images of patients, who alternate between two classes; every fourth has both."""
    return [
        Entry(
            f"{i:02d}-{j}.png", "ab"[(i + (j == 0 and i % 4 == 0)) % 2], "train", f"p{i}", **given
        )
        for i in range(patients)
        for j in range(images)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_in_two_folds(seed: int) -> None:
    entries = entries_of()
    folds = make_folds(entries, dataclasses.replace(QUICK, seed=seed))
    assert folds is not None
    assert folds.names == ("1", "2", "3")
    assert not folds.column
    found = defaultdict(set)
    for entry, k in zip(entries, folds.held_out, strict=True):
        found[entry.group].add(int(k))
    assert all(len(each) == 1 for each in found.values())
    for k in range(3):
        held = {e.label for e, fold in zip(entries, folds.held_out, strict=True) if fold == k}
        assert held == {"a", "b"}


def test_folds_depend_on_the_seed_and_not_on_the_order() -> None:
    entries = entries_of()
    first, again = (make_folds(each, QUICK) for each in (entries, entries[::-1]))
    other = make_folds(entries, dataclasses.replace(QUICK, seed=1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert (first.held_out == again.held_out[::-1]).all()
    assert (first.held_out != other.held_out).any()


def by(column: list[str], patients: int = 6) -> list[Entry]:
    """Return two images of each patient, both with this value of the column."""
    return [entry._replace(fold=column[i // 2]) for i, entry in enumerate(entries_of(patients, 2))]


SITES = dataclasses.replace(QUICK, folds="site", labels="sites.csv")


def test_a_column_holds_one_value_out_at_a_time() -> None:
    folds = make_folds(by(["s10", "s10", "s2", "s2", "s1", "s1"]), SITES)
    assert folds is not None
    assert folds.names == ("s1", "s2", "s10")
    assert folds.column == "site"
    assert folds.held_out.tolist() == [2] * 4 + [1] * 4 + [0] * 4


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["x"] * 6, "column 'site' of --folds has 1 value"),
        (["x", "x", "", "y", "y", "y"], r"empty for 2 of 12 images \(02-0.png"),
        (["x", "x", "NaN", "y", "y", "y"], "is empty for 2 of 12"),
        (["x", "y", "x", "y", "x", "y"], "class 'a' are in site x"),
    ],
)
def test_a_column_that_cannot_be_held_out(column: list[str], message: str) -> None:
    entries = [
        e._replace(label="ab"[int(e.group[1:]) % 2]) if "y" in column[1] else e for e in by(column)
    ]
    with pytest.raises(DataError, match=message):
        make_folds(entries, SITES)


def test_a_planted_patient_in_two_sites_is_an_error() -> None:
    entries = by(["x", "x", "x", "y", "y", "y"])
    entries[0] = entries[0]._replace(fold="y")
    with pytest.raises(DataError, match=r"1 patient .* several values of 'site': p0 in x, y"):
        make_folds(entries, SITES)


def test_more_folds_than_patients_of_the_smallest_class() -> None:
    entries = [entry for entry in entries_of(20) if entry.label == "a" or entry.group < "p15"]
    with pytest.raises(ConfigError, match=r"class 'b' has images of \d patients.* Use --folds \d"):
        make_folds(entries, dataclasses.replace(QUICK, folds=10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["folds=1"], "from 2 to 16"),
        (["folds=-3"], "from 2 to 16"),
        (["folds=17"], "from 2 to 16"),
        (["folds=site"], "Give the file with --labels"),
        (["folds=5", "recipe=article"], "Folds need the default network"),
        (["folds=5", "backbone=MobileNetV2"], "Received: .*--backbone MobileNetV2"),
        (["folds=5", "effort=20min"], "--effort quick or standard or thorough"),
    ],
)
def test_folds_that_cannot_be(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.load(None, settings)
    for off in ("folds=0", "folds="):
        assert not Config.load(None, [off]).folds


def test_test_images_are_in_no_fold(tiny_folder: Path, tmp_path: Path) -> None:
    plain, folded = (load_dataset(tiny_folder, Config(size=16, folds=k)) for k in (0, 4))
    assert plain.folds is None
    assert folded.folds is not None
    assert len(folded.val) == 0
    assert plain.test is not None
    assert folded.test is not None
    assert plain.test.files == folded.test.files
    assert {*folded.train.files} == {*plain.train.files, *plain.val.files}
    write_folds(tmp_path / "folds.csv", folded.train.files, folded.folds)
    stored = read_folds(tmp_path / "folds.csv")
    assert [*stored] == [*folded.train.files]
    assert {*stored.values()} == {*"1234"}
    (tmp_path / "folds.csv").write_text("file,fold\na,1\na,2\n")
    with pytest.raises(RunError, match="more than once"):
        read_folds(tmp_path / "folds.csv")


def test_a_column_of_the_labels_file(tiny_folder: Path, tmp_path: Path) -> None:
    files = sorted(path.relative_to(tiny_folder) for path in tiny_folder.rglob("*.png"))
    number = {file: int(file.stem[8:11]) for file in files}
    lines = [f"{f},{f.parent},{'NWS'[number[f] % 3]}" for f in files if number[f] < 30]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,label,Site", *lines]))
    found = load_dataset(tiny_folder, Config(size=16, labels=str(table), folds="site"))
    assert found.folds is not None
    assert found.folds.names == ("N", "S", "W")
    for file, k in zip(found.train.files, found.folds.held_out, strict=True):
        assert found.folds.names[k] == "NWS"[number[Path(file)] % 3]
    with pytest.raises(DataError, match="no column 'scanner', which --folds names"):
        load_dataset(tiny_folder, Config(size=16, labels=str(table), folds="scanner"))
    assert np.unique(found.folds.held_out).tolist() == [0, 1, 2]


def unsplit(patients: Mapping[str, int], images: int = 1, split: str = "") -> list[Entry]:
    """Return so many patients of each class, with so many images each."""
    return [
        Entry(file := f"{split}{name}{i}-{j}.png", name, split, f"{split}{name}{i}", sha256=file)
        for name, n in patients.items()
        for i in range(n)
        for j in range(images)
    ]


def decided(entries: list[Entry], **settings: Any) -> tuple[int | str, str]:
    """Return what ``folds=auto`` decides, and why."""
    classes = sorted({entry.label for entry in entries})
    found = partition(entries, classes, [], Config(**settings))
    held = {entry.split for entry in found.entries}
    assert ("val" in held) != bool(found.folds)
    return found.folds, found.folds_reason


def test_folds_replace_a_validation_split_that_is_too_small() -> None:
    assert decided(unsplit({"a": 300, "b": 900})) == (
        5,
        "validation would hold only 45 images of 'a'",
    )
    assert decided(unsplit({"a": 320, "b": 900})) == (0, "validation holds 48 images of 'a'")
    assert decided(unsplit({"a": 4, "b": 900})) == (3, "validation would hold only 1 image of 'a'")
    # 47 images are the fewest of which a rate is known to within 30 points.
    assert [n for n in range(40, 60) if is_measurable(n)] == [*range(47, 60)]


def test_a_given_validation_split_stays_if_it_is_large_enough() -> None:
    train, test = unsplit({"a": 60, "b": 60}, split="train"), unsplit({"a": 9, "b": 9}, 1, "test")
    given = unsplit({"a": 50, "b": 50}, split="val")
    assert decided(train + given + test) == (0, "the validation split is given, with 100 images")
    small = unsplit({"a": 8, "b": 8}, split="val")
    assert decided(train + small + test) == (5, "validation would hold only 10 images of 'a'")
    alone = unsplit({"a": 8, "b": 8}, 1, "train") + small  # a new one would be no larger
    assert decided(alone) == (0, "the validation split is given, with 16 images")


def test_thorough_trains_a_network_for_each_fold_however_many_images_there_are() -> None:
    why = "--effort thorough trains a network for each fold"
    many, given = unsplit({"a": 320, "b": 900}), unsplit({"a": 50, "b": 50}, split="val")
    train = unsplit({"a": 60, "b": 60}, split="train")
    for entries in (many, train + given):
        assert decided(entries)[0] == 0
        assert decided(entries, effort="thorough") == (5, why)
        assert decided(entries, effort="thorough", folds=0) == (0, "")
    assert decided(unsplit({"a": 3, "b": 90}, split="train"), effort="thorough") == (2, why)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"recipe": "article"}, "--recipe article has another network"),
        ({"backbone": "MobileNetV2"}, "Received: --backbone MobileNetV2"),
        ({"effort": "10min"}, "--effort 10min is spent on one network"),
        ({"folds": 0}, "^$"),
    ],
)
def test_settings_without_automatic_folds(settings: dict[str, Any], reason: str) -> None:
    folds, why = decided(unsplit({"a": 30, "b": 30}), **settings)
    assert not folds
    assert re.search(reason, why)


def test_a_patient_with_nearly_all_images_of_a_class_prevents_automatic_folds() -> None:
    mixed = [Entry(f"m{i}.png", "ab"[i % 2], "", "m", sha256=str(i)) for i in range(40)]
    entries = [*unsplit({"a": 2, "b": 2}), *mixed]
    split = partition(entries, ["a", "b"], [], Config(folds=0)).entries
    with pytest.raises(DataError):
        make_folds([entry for entry in split if entry.split != "test"], Config(folds=2))
    folds, why = decided(entries)
    assert not folds
    assert why.endswith("and too few patients have the images of a class for folds")


def test_automatic_folds_are_of_whole_runs(tiny_folder: Path, tmp_path: Path) -> None:
    from lucency.training.plan import plan_folds

    assert Config().folds == "auto"
    alone = load_dataset(tiny_folder, Config(size=16))
    assert len(alone.val) > 0
    assert alone.folds is None
    whole, again = (load_dataset(tiny_folder, Config(size=16), auto_folds=True) for _ in "12")
    assert whole.test is not None
    assert alone.test is not None
    assert whole.test.files == alone.test.files
    assert whole.folds is not None
    assert again.folds is not None
    assert len(whole.folds) == 5
    assert (whole.folds.held_out == again.folds.held_out).all()
    why = "validation would hold only 18 images of 'dark'"
    assert whole.folds_reason == why
    assert whole.audit.notes[0].endswith(f"by patient, as {why}.")
    chosen = plan_folds(whole.train, whole.folds, Config(), why).choices[0]
    assert (chosen.name, chosen.value[:2]) == ("folds", "5,")
    assert chosen.reason.startswith(f"{why}; takes about 5 times as long as --folds 0;")
    write_split(whole, tmp_path / "split.csv")  # it has no validation split to reuse
    reused = Config(size=16, split_file=str(tmp_path / "split.csv"))
    split = load_dataset(tiny_folder, reused, auto_folds=True)
    assert split.folds_reason == "the split file has no validation split"
    assert split.train.files == whole.train.files


def test_a_plan_says_why_there_are_no_folds(tiny_folder: Path) -> None:
    plan = make_plan(load_dataset(tiny_folder, Config(size=16)).train, Config(size=16))
    assert without_folds(plan, "") is plan
    none = without_folds(plan, "validation holds 48 images of 'a'")
    assert (none.choices[0].name, none.choices[0].value) == ("folds", "none")
    assert none.choices[1:] == plan.choices


def test_auto_is_no_column() -> None:
    assert [column_of_folds(x) for x in (0, 5, "auto", "site")] == ["", "", "", "site"]


def evaluated(seed: int, values: str, n: int = 200) -> tuple[Evaluation, Predictions, list[str]]:
    """Return an evaluation, its predictions, and the site of each image."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    p = 1 / (1 + np.exp(-random.normal(2 * labels - 1)))
    probabilities = np.stack([1 - p, p], axis=1)
    groups = [f"p{i // 2}" for i in range(n)]
    found = evaluate_arrays(
        labels, probabilities, groups, classes=("a", "b"), positive="b", threshold=0.5
    )
    files = tuple(f"{i}.png" for i in range(n))
    decisions = (p >= 0.5).astype(np.int64)
    given = Predictions(
        OUT_OF_FOLD, ("a", "b"), files, tuple(groups), labels, decisions, probabilities
    )
    return found, given, [values[i // 2 % len(values)] for i in range(n)]


def test_the_next_site_is_predicted_from_three_on() -> None:
    found = cross_validation(*evaluated(0, "xyzw"), "site")
    assert [fold.fold for fold in found.folds] == [*"wxyz"]
    assert found.next is not None
    for name in ("balanced_accuracy", "auroc", "log_loss"):
        values = [fold.metrics[name].value for fold in found.folds]
        half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) * np.sqrt(1 + 1 / 4)
        assert found.next[name]["low"] == pytest.approx(np.mean(values) - half)
        top = np.inf if name == "log_loss" else 1
        assert found.next[name]["high"] == pytest.approx(min(np.mean(values) + half, top))
    assert cross_validation(*evaluated(0, "xy"), "site").next == {}
    assert cross_validation(*evaluated(0, "xyz"), "").next is None


def test_the_prediction_interval_covers_the_next_site() -> None:
    """Of 95 % of simulated sites, with sites that differ by chance and by themselves."""
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        *known, new = random.normal(0.8, 0.02, 6)
        low, high = _next("auroc", np.array(known)).values()
        inside += low <= new <= high
    assert 0.92 < inside / 400 < 0.98


def test_a_fold_without_a_class_has_no_auroc() -> None:
    evaluation, found, _ = evaluated(0, "x")
    sites = ["one class" if label else "other" for label in found.labels[:100]] + ["both"] * 100
    done = cross_validation(evaluation, found, sites, "site")
    json = done.to_json()
    assert json["spread"]["auroc"]["folds"] == 1
    assert json["spread"]["auroc"]["sd"] is None
    assert {*json["next"]} == {"log_loss"}


def test_the_ood_detector_of_folds_measures_each_image_by_the_network_new_to_it() -> None:
    """Networks that know their own images by heart must not make the limit too small."""
    random = np.random.default_rng(0)
    n, d, k = 600, 6, 3
    held_out, labels = np.arange(n) % k, np.arange(n) // k % 2

    def images(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        pixels = random.normal(128, 20, (count, 16, 16, 1)).clip(0, 255).astype(np.float32)
        return random.normal(size=(count, k * d)), pixels

    features, pixels = images(n)
    for fold in range(k):
        features[held_out != fold, fold * d : (fold + 1) * d] *= 0.7
    fitted = ood_folds.fit(features, labels, pixels, held_out)
    distances = fitted.distances(features, pixels, held_out)
    detector = fitted.detector(distances, [f"p{i}" for i in range(n)])
    new, theirs = images(2000)
    assert (detector.score(new, theirs) > 1).mean() < 0.03
    assert (detector.score(new + 8, theirs) > 1).all()
    squares = [
        own.distance(new[:, i * d : (i + 1) * d]) ** 2 for i, (own, _) in enumerate(fitted.folds)
    ]
    joined = fitted.features.distance(new) ** 2
    assert (joined > np.sum(squares, axis=0) * 0.999).all()  # the nearest mean is that of all


@pytest.fixture(scope="module")
def few_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("few") / "spots", 36)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_the_logits_are_the_mean_of_those_of_the_networks(classes: int) -> None:
    from lucency import models
    from lucency.training.folds import join_networks
    from lucency.training.step import eval_model

    names = ("a", "b", "c")[:classes]
    spec = Spec(
        classes=names, positive=None, size=(32, 32), channels=1, architecture="default",
        network_channels=1, parameters={"width": 4, "blocks": [1, 1]},
    )  # fmt: skip
    networks, random = [], np.random.default_rng(0)
    for _ in range(3):
        network = models.build("default", classes, (32, 32, 1), spec.parameters)
        weights = {
            each.path: random.normal(
                *((0.5, 0.1) if len(each.shape) == 1 else (0, 0.2)), each.shape
            ).astype(np.float32)
            for each in network.weights
        }
        networks.append(Classifier(spec, weights))
    joined = join_networks(
        networks, dataclasses.replace(spec, parameters={**spec.parameters, "members": 3})
    )
    pixels = random.integers(0, 256, (8, 32, 32, 1), np.uint8)
    own, all_ = (
        [np.asarray(eval_model(each.keras_model, 1).predict_on_batch(pixels)) for each in some]
        for some in (networks, [joined])
    )
    assert np.std(own, axis=0).min() > 1e-3
    np.testing.assert_allclose(all_[0], np.mean(own, axis=0), atol=1e-5)


@pytest.fixture(scope="module")
def run(few_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Train small networks on two folds."""
    place = tmp_path_factory.mktemp("folds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lucency.training.plan.LEVELS", SMALL)
        yield run_training(
            few_folder, dataclasses.replace(TWO, cache=str(place / "cache")), run=str(place / "run")
        )


def of(run: Run) -> dict[str, Any]:
    return EVALUATION.read(run.folder)


@pytest.mark.slow
def test_out_of_fold_predictions_cover_every_training_image_once(run: Run) -> None:
    found, test = read_predictions(run.folder / "predictions.csv")
    assert found.split == "out_of_fold"
    assert test.split == "test"
    assert found.files == run.data.train.files
    assert not {*found.files} & {*test.files}
    assert {*read_folds(run.folder / "folds.csv")} == {*found.files}
    assert found.ood_scores is not None
    assert np.isfinite(found.ood_scores).all()
    assert np.mean(found.ood_scores <= 1) > 0.9
    document = of(run)
    assert document["validation"] is None
    assert document["test"]["n"] == len(test.files)
    assert document["cross_validation"]["n"] == len(found.files)


@pytest.mark.slow
def test_figures_of_folds_stand_beside_those_of_all(run: Run) -> None:
    found = of(run)["cross_validation"]
    rows, spread = found["folds"], found["spread"]
    assert [row["fold"] for row in rows] == ["1", "2"]
    assert found["next"] is None
    assert sum(row["n"] for row in rows) == found["n"]
    for name in FIGURES:
        values = [row["metrics"][name]["value"] for row in rows]
        assert spread[name]["mean"] == pytest.approx(np.mean(values))
        assert spread[name]["sd"] == pytest.approx(np.std(values, ddof=1))
        assert found["metrics"][name]["low"] <= found["metrics"][name]["value"]


@pytest.mark.slow
def test_the_classifier_averages_the_logits_of_all_folds(run: Run) -> None:
    classifier = Classifier.load(run.folder)
    assert classifier.spec.parameters["members"] == 2
    assert run.parity.passed
    assert run.parity.max_abs_difference < 1e-5
    pixels = run.data.train.pixels(np.arange(8))
    onnx, keras = classifier.predict_pixels(pixels), classifier.predict_with_keras(pixels)
    np.testing.assert_allclose(onnx, keras, atol=1e-6)


@pytest.mark.slow
def test_verify_finds_a_changed_fold(run: Run, tmp_path: Path) -> None:
    done = verify(run.folder, run.data.root, render=render)
    assert done.passed, [check for check in done.checks if not check.passed]
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    lines = (copy / "folds.csv").read_text().splitlines()
    moved = lines[1][:-1] + {"1": "2", "2": "1"}[lines[1][-1]]
    (copy / "folds.csv").write_text("\n".join([lines[0], moved, *lines[2:], ""]))
    failed = {check.name: check.detail for check in verify(copy).checks if not check.passed}
    assert {*failed} == {"files", "split", "figures"}
    assert "several folds" in failed["split"]


@pytest.mark.slow
def test_interrupted_in_the_second_fold_gives_the_same_bits(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first fold is read from its checkpoint, the second goes on within its first epoch."""
    from lucency.training.folds import CrossValidated, train_folds

    monkeypatch.setattr("lucency.training.plan.LEVELS", SMALL)
    checks = iter(range(100))
    heard = Heard()

    def stop() -> None:
        if (tmp_path / "fold-2").exists() and next(checks) == 1:
            raise Interrupted(15)

    def train() -> CrossValidated:
        config = dataclasses.replace(TWO, checkpoint_seconds=0.0)
        assert run.data.folds is not None
        return train_folds(
            run.data.train, run.data.folds, config,
            plan=run.plan, progress=heard, checkpoints=tmp_path,
        )  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr("lucency.signals.check", stop)
        with pytest.raises(Interrupted):
            train()
    heard.notes.clear()
    again = train()
    resumed = [note for note in heard.notes if note.startswith("Resuming")]
    assert resumed == [
        "Resuming from the checkpoint at the end of training.",
        "Resuming from the checkpoint at epoch 1, step 2.",
    ]
    assert again.classifier.fingerprint == Classifier.load(run.folder).fingerprint
    stored, _ = read_predictions(run.folder / "predictions.csv")
    np.testing.assert_array_equal(again.outputs.probabilities, stored.probabilities)
    np.testing.assert_array_equal(again.outputs.ood_scores, stored.ood_scores)
