"""Comparison of classifiers with several labels: references, simulations, run folders."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as reference

from conftest import call_lucency
from lucency.comparison import compare
from lucency.comparison.paired import auroc_difference, holm, mean_auroc_difference
from lucency.errors import DataError
from lucency.evaluation import Predictions
from lucency.evaluation.labels import mean_metrics
from lucency.evaluation.ledger import test_set_id
from small_runs import NAMES, labelled_predictions, write_predicted_run


def noisy(found: Predictions, noise: float, seed: int = 1, gain: float = 0) -> Predictions:
    """Return other probabilities for the same images, with the truth added for a gain."""
    random, n = np.random.default_rng(seed), len(found.files)
    assert found.targets is not None
    odds = special.logit(found.probabilities) + noise * random.normal(size=(n, 3))
    p = special.expit(odds + gain * (found.targets > 0))
    return replace(found, probabilities=p, decisions=(p >= 0.4).astype(np.int64))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return two run folders and their predictions, the second better with each label.

    The bootstrap is shorter: its size is no matter of these tests.
    """
    folder, first = tmp_path_factory.mktemp("runs"), labelled_predictions()
    found = [first, noisy(first, 0.5, gain=1.5)]
    contents = [f"{i:064x}" for i in range(300)]
    runs = [
        write_predicted_run(folder / name, each, contents, recipe=name)
        for name, each in zip(("old", "new"), found, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lucency.comparison.labels.REPLICATES", 400)
        yield runs, found


def test_differences_are_those_on_known_labels(pair: Any) -> None:
    runs, (first, second) = pair
    found = compare(runs)
    (only,) = found.pairs
    assert (only.figure, found.classes, found.positive) == ("auroc", NAMES, None)
    assert only.labels is not None
    means: dict[str, list[float]] = {}
    for k, name in enumerate(NAMES):
        known = first.targets[:, k] >= 0
        truth = first.targets[known, k] > 0
        values = []
        for each in (first, second):
            p, decided = each.probabilities[known, k], each.decisions[known, k] == 1
            values.append({
                "auroc": reference.roc_auc_score(truth, p),
                "average_precision": reference.average_precision_score(truth, p),
                "accuracy": (decided == truth).mean(),
                "sensitivity": decided[truth].mean(),
                "specificity": (~decided)[~truth].mean(),
                "brier": ((p - truth) ** 2).mean(),
                "log_loss": reference.log_loss(truth, p),
            })  # fmt: skip
        of = only.labels[name]
        assert (of.n, of.present) == (known.sum(), truth.sum())
        for key in values[0]:
            difference = values[1][key] - values[0][key]
            assert of.differences[key].value == pytest.approx(difference), key
            means.setdefault(key, []).append(difference)
        right = [each.decisions[known, k] == truth for each in (first, second)]
        assert of.decisions is not None
        assert of.decisions.only_second == (right[1] & ~right[0]).sum()
        cluster = np.unique(np.array(first.groups)[known], return_inverse=True)[1]
        expected = auroc_difference(
            truth, first.probabilities[None, known, k], second.probabilities[None, known, k],
            cluster,
        )  # fmt: skip
        auroc = of.differences["auroc"]
        assert (auroc.value, auroc.error) == pytest.approx((expected.value, expected.error))
    for key, values_ in means.items():
        assert only.differences[key].value == pytest.approx(np.mean(values_)), key
        assert only.differences[key].low < only.differences[key].value
    assert found.systems[0].metrics["auroc"].estimate == mean_metrics(first)["auroc"]
    assert found.conclusions[0].startswith("new is better than old: AUROC higher by")
    assert only.p == only.differences["auroc"].p
    raw = [each.differences["auroc"].p for each in only.labels.values()]
    assert [each.p for each in only.labels.values()] == holm(raw)
    assert "corrected for 3 comparisons (Holm)" in found.conclusions[-1]


def test_the_test_set_is_that_of_the_ledger(pair: Any) -> None:
    runs, (first, _) = pair
    names = ["|" + "".join(
        f"{'?' if x < 0 else ''}{name}|" for name, x in zip(NAMES, row, strict=True) if x
    ) for row in first.targets]  # fmt: skip
    contents = (f"{i:064x}" for i in range(300))
    assert compare(runs).test_set == test_set_id(zip(contents, names, strict=True))


def test_the_order_of_images_and_labels_does_not_matter(tmp_path: Path, pair: Any) -> None:
    runs, (first, second) = pair
    mixed, back = np.random.default_rng(2).permutation(300), [2, 0, 1]
    moved = Predictions(
        split="test", classes=tuple(NAMES[k] for k in back),
        files=tuple(second.files[i] for i in mixed),
        groups=tuple(second.groups[i] for i in mixed), labels=second.labels,
        decisions=second.decisions[mixed][:, back],
        probabilities=second.probabilities[mixed][:, back],
        targets=second.targets[mixed][:, back],
    )  # fmt: skip
    contents = [f"{i:064x}" for i in mixed]
    other = write_predicted_run(tmp_path / "new", moved, contents, recipe="new")
    a, b = compare(runs), compare([runs[0], other])
    assert a.pairs == b.pairs
    assert first.targets.shape == (300, 3)
    assert a.test_set == b.test_set


def test_unknown_labels_do_not_matter(tmp_path: Path, pair: Any) -> None:
    runs, (_, second) = pair
    changed = replace(
        second,
        probabilities=np.where(second.targets < 0, 0.99, second.probabilities),
        decisions=np.where(second.targets < 0, 1, second.decisions),
    )
    contents = [f"{i:064x}" for i in range(300)]
    other = write_predicted_run(tmp_path / "new", changed, contents, recipe="new")
    assert compare(runs).pairs == compare([runs[0], other]).pairs


def test_other_truths_are_refused_in_one_line(tmp_path: Path, pair: Any) -> None:
    runs, (first, second) = pair
    targets = second.targets.copy()
    targets[7] = [1, 0, -1] if first.targets[7, 2] >= 0 else [1, 0, 1]
    contents = [f"{i:064x}" for i in range(300)]
    other = replace(second, targets=targets)
    run = write_predicted_run(tmp_path / "other", other, contents, recipe="other")
    classes = replace(
        second, targets=None, probabilities=np.tile([0.2, 0.3, 0.5], (300, 1)),
        decisions=np.full(300, 2),
    )  # fmt: skip
    one_class = write_predicted_run(tmp_path / "one", classes, contents, recipe="one")
    for wrong, words in (
        (run, "the list of labels of 7.png is '|"),
        (one_class, "one answers with one class for each image, and the other with several"),
    ):
        with pytest.raises(DataError) as caught:
            compare([runs[0], wrong])
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_label_with_one_value_leaves_the_accuracy_to_decide(tmp_path: Path) -> None:
    first = labelled_predictions(100)
    assert first.targets is not None
    targets = first.targets.copy()
    targets[:, 1], targets[:, 2] = np.minimum(targets[:, 1], 0), -1
    found = [replace(each, targets=targets) for each in (first, noisy(first, 1))]
    runs = [
        write_predicted_run(tmp_path / name, each, recipe=name)
        for name, each in zip("ab", found, strict=True)
    ]
    (pair,) = compare(runs).pairs
    assert pair.figure == "accuracy"
    assert math.isnan(pair.differences["auroc"].value)
    assert pair.labels is not None
    assert pair.labels["a"].differences["auroc"].p > 0
    assert math.isnan(pair.labels["b"].differences["auroc"].value)
    assert pair.labels["b"].differences["specificity"].low < 0
    assert pair.labels["c"].n == 0
    json.dumps(compare(runs).to_json(), allow_nan=False)


def test_seeds_are_averaged_with_each_label(tmp_path: Path) -> None:
    first = labelled_predictions(120)
    runs = [
        write_predicted_run(tmp_path / f"{name}{seed}", found, recipe=name, seed=seed)
        for name, noise in (("a", 0.3), ("b", 0.9))
        for seed in (0, 1)
        for found in [noisy(first, noise, seed)]
    ]
    one, other = compare(runs).systems
    assert one.labels is not None
    for name in NAMES:
        each = one.labels[name]["auroc"]
        assert each.estimate.value == pytest.approx(np.mean(each.per_run))
        assert len(each.per_run) == 2
    mean = one.metrics["auroc"].estimate.value
    assert mean == pytest.approx(np.mean([one.labels[k]["auroc"].estimate.value for k in NAMES]))
    assert len(other.runs) == 2
    assert compare(runs).pairs[0].decisions is None


def test_the_error_of_the_mean_is_that_of_the_jackknife() -> None:
    first = labelled_predictions(200)
    second, patients = noisy(first, 1), np.arange(200) // 2
    assert first.targets is not None
    given = (first.probabilities[None], second.probabilities[None])
    whole = mean_auroc_difference(first.targets, *given, patients)
    without = []
    for patient in range(100):
        kept = patients != patient
        of_kept = (first.targets[kept], *(x[:, kept] for x in given), patients[kept])
        without.append(mean_auroc_difference(*of_kept).value)
    assert whole.error == pytest.approx(math.sqrt(99 * np.var(without)), rel=0.03)


def test_one_label_repeated_is_that_label() -> None:
    first = labelled_predictions(200)
    second, patients = noisy(first, 1), np.arange(200) // 2
    assert first.targets is not None
    known = first.targets[:, 0] >= 0
    p = [np.repeat(x.probabilities[:, :1], 3, axis=1)[None] for x in (first, second)]
    three = mean_auroc_difference(np.repeat(first.targets[:, :1], 3, axis=1), *p, patients)
    alone = auroc_difference(
        first.targets[known, 0] > 0, *(x[:, known, 0] for x in p),
        np.unique(patients[known], return_inverse=True)[1],
    )  # fmt: skip
    assert three.value == pytest.approx(alone.value)
    assert three.error == pytest.approx(alone.error, rel=0.03)


def test_equal_classifiers_differ_in_5_of_100() -> None:
    # Of 400, at 5 or 6 %, alarms are outside 6 to 44 with a chance below 0.02 %.
    alarms = 0
    for seed in range(400):
        truth = labelled_predictions(60, seed)
        assert truth.targets is not None
        one, other = noisy(truth, 1, 2 * seed + 1), noisy(truth, 1, 2 * seed + 2)
        found = mean_auroc_difference(
            truth.targets, one.probabilities[None], other.probabilities[None], np.arange(60) // 2
        )
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        alarms += found.p < 0.05
    assert 6 <= alarms <= 44


def test_the_command_shows_each_label(tmp_path: Path, pair: Any) -> None:
    runs, _ = pair
    done = call_lucency("compare", *runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "On 300 test images of 150 patients, means over 3 labels" in shown
    assert "label images AUROC 95 % interval p Sensitivity Specificity" in shown
    assert "predictions swapped patient by patient" in shown
    assert "Label a: new is better than old" in shown
    document = json.loads(call_lucency("compare", *runs, "--json", cwd=tmp_path).stdout)
    assert document["pairs"][0]["labels"]["a"]["differences"]["auroc"]["low"] > 0
    assert document["systems"][0]["labels"]["a"]["auroc"]["sd"] is None
