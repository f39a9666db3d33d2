"""Several labels for each image: reading them, strata, loss, scaling, figures and a whole run."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import small_network as small
from benchmarks.trust.label_coverage import Setting, sets_of
from PIL import Image
from scipy import special, stats
from sklearn import metrics as reference

from conftest import Heard, call_lucency
from lucency.calibration import scaling
from lucency.calibration.conformal import Threshold
from lucency.calibration.operating_point import choose, parse
from lucency.classifier import Classifier, Spec
from lucency.classifier.prediction import label_prediction
from lucency.config import Config
from lucency.dataset import Dataset, Entry, load_dataset, load_labelled, write_split
from lucency.dataset.batches import training_batches
from lucency.dataset.columns import Columns
from lucency.dataset.multilabel import (
    Findings,
    listing,
    read_written,
    states_of,
    strata,
    targets_of,
    written,
)
from lucency.dataset.scan import Scan, scan
from lucency.dataset.split_file import write_entries
from lucency.errors import ClassifierError, DataError
from lucency.evaluation import (
    evaluate_predictions,
    read_predictions,
    write_predictions,
)
from lucency.evaluation.labels import mean_metrics
from lucency.metrics import FloatArray, label_losses
from lucency.pipeline.evaluate import evaluate_run
from lucency.training.linear_head import Examples, cross_fit, fit_head
from lucency.training.plan import BALANCED_LABEL, make_plan
from small_runs import NAMES, labelled_predictions, labelled_spec, write_predicted_run

SMALL: dict[str, Any] = {
    "effort": "quick", "size": 16, "epochs": 2, "batch": 16, "folds": 0, "start": "scratch",
    "precision": "float32", "labels": "labels.csv",
}  # fmt: skip
AUTO, FORCED = Columns(), Columns(task="multilabel")


def table(folder: Path, text: str, columns: Columns = AUTO) -> Scan:
    """Scan as many empty images as the rows of a table need, which name them 0.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(text.splitlines()) - 1):
        (folder / f"{i}.png").write_bytes(b"")
    labels = folder.parent / f"{folder.name}.csv"
    labels.write_text(text)
    return scan(folder, labels=labels, columns=columns)


def rows(cells: list[str], times: int = 15) -> list[str]:
    """Return rows that begin with the file; each of the cells is repeated."""
    return [f"{i}.png,{cell}" for i, cell in enumerate(cells * times)]


def shown(found: Scan, number: int) -> str:
    return next(entry.states for entry in found.entries if entry.file == f"{number}.png")


def rejected(folder: Path, text: str, columns: Columns = AUTO) -> str:
    with pytest.raises(DataError) as caught:
        table(folder, text, columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def draw_labels(folder: Path, images: int = 100, seed: int = 0) -> Path:
    """Draw noise with a spot in a corner for each label; two images of each patient.

    The second and the third label are unknown or uncertain on some images.
    """
    random, lines = np.random.default_rng(seed), ["file,patient,a,b,c"]
    (folder / "images").mkdir(parents=True)
    for i in range(images):
        has = random.random(3) < 0.45
        grey = random.normal(70, 12, (40, 40))
        for corner, is_there in zip((slice(0, 12), slice(14, 26), slice(28, 40)), has, strict=True):
            grey[corner, corner] += 90 * is_there
        image = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
        image.save(folder / "images" / f"{i}.png")
        a, b, c = map(str, has.astype(int))
        cells = [a, "" if i % 10 == 4 else b, "-1" if i % 10 == 6 else c]
        lines.append(f"images/{i}.png,p{i // 2},{','.join(cells)}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_labels(tmp_path_factory.mktemp("labelled") / "drawn")


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return load_dataset(folder, Config(**SMALL))


# -- the labels file -------------------------------------------------------------------------------


def test_the_columns_of_chexpert_are_read(tmp_path: Path) -> None:
    header = "Path,Sex,Age,Frontal/Lateral,No Finding,Edema,Support Devices"
    cells = [
        "M,61,Frontal,1.0,,0.0",
        "F,7,Frontal,,1.0,1.0",
        "M,40,Lateral,,0.0,-1.0",
        "F,1,L,,,1.0",
    ]
    found = table(tmp_path / "x", "\n".join([header, *rows(cells)]))
    assert found.labels == ("Edema", "Support Devices")
    # Where there is no finding, labels without a value are absent.
    assert [shown(found, i) for i in range(4)] == [
        "|", "|Edema|Support Devices|", "|~Support Devices|", "|?Edema|Support Devices|",
    ]  # fmt: skip
    assert any("Edema 15 (15 unknown)" in note for note in found.notes)
    assert any("Support Devices 30 (15 uncertain)" in note for note in found.notes)


def test_a_finding_beside_no_finding_keeps_its_column(tmp_path: Path) -> None:
    header = "Path,No Finding,Support Devices"
    found = table(tmp_path / "x", "\n".join([header, *rows(["1,1", "1,", "0,1", "0,0"])]))
    assert found.labels == ("No Finding", "Support Devices")
    assert shown(found, 1) == "|No Finding|?Support Devices|"


def test_the_lists_of_nih_are_read(tmp_path: Path) -> None:
    header = "Image Index,Finding Labels,Patient ID"
    cells = ["No Finding,1", "Mass|Hernia,2", "Mass,3", "Hernia|Edema|Mass,4"]
    found = table(tmp_path / "x", "\n".join([header, *rows(cells)]))
    assert found.labels == ("Edema", "Hernia", "Mass")
    assert [shown(found, i) for i in range(4)] == [
        "|", "|Hernia|Mass|", "|Mass|", "|Edema|Hernia|Mass|",
    ]  # fmt: skip
    assert found.entries[0].group


def test_the_lists_of_padchest_are_read(tmp_path: Path) -> None:
    header = "ImageID;Labels"
    cells = ["['normal']", "['nodule', 'effusion']", "['effusion']", "[]", "['nodule']"]
    text = "\n".join([header, *(row.replace(",", ";", 1) for row in rows(cells))])
    found = table(tmp_path / "x", text)
    assert found.labels == ("effusion", "nodule")
    assert [shown(found, i) for i in range(5)] == [
        "|", "|effusion|nodule|", "|effusion|", "|", "|nodule|",
    ]  # fmt: skip


def test_a_column_each_is_read(tmp_path: Path) -> None:
    cells = ["p1,1,yes", "p2,0,no", "p3,1,no", "p4,0,yes"]
    found = table(tmp_path / "x", "\n".join(["file,patient,a,b", *rows(cells)]))
    assert found.labels == ("a", "b")
    assert [shown(found, i) for i in range(4)] == ["|a|b|", "|", "|a|", "|b|"]


def test_one_class_in_columns_is_still_no_list_of_labels(tmp_path: Path) -> None:
    text = "\n".join(["file,a,b", *rows(["1,0", "0,1"])])
    assert "Expected one column with the name of the class" in rejected(tmp_path / "x", text)
    assert table(tmp_path / "y", text, FORCED).labels == ("a", "b")


def test_one_of_several_columns_is_a_class(tmp_path: Path) -> None:
    text = "\n".join(["file,a,b", *rows(["1,1", "0,1", "0,0", "1,0"])])
    assert table(tmp_path / "x", text).labels == ("a", "b")
    one = table(tmp_path / "x", text, Columns(label="a"))
    assert (one.labels, one.classes) == ((), ("0", "1"))
    classes = "several 1 (line 2): several labels per image. Expected one."
    assert classes in rejected(tmp_path / "x", text, Columns(task="classification"))


def test_a_few_lists_are_mistakes_in_a_table_of_classes(tmp_path: Path) -> None:
    lines = ["file,label", *rows(["a", "b"], 300), *(f"{i}.png,a|b" for i in range(600, 611))]
    message = rejected(tmp_path / "x", "\n".join(lines))
    assert "11 of 611 rows seem to name several labels" in message
    assert table(tmp_path / "x", "\n".join(lines), FORCED).labels == ("a", "b")


def test_images_without_a_known_label_are_not_used(tmp_path: Path) -> None:
    cells = ["1,1", "0,0", ",", "1,0", "0,1", ",-1"]
    found = table(tmp_path / "x", "\n".join(["file,a,b", *rows(cells)]))
    assert len(found.entries) == 15 * 5
    assert shown(found, 5) == "|?a|~b|"
    (left,) = found.not_used
    assert (left.images, left.reason) == (15, "no known label in x.csv")


FOUR = ["1,1", "0,0", "1,0", "0,1"]


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        ("file,a,b", [*FOUR * 10, "1,2"], "42: expected 1, 0, -1 (uncertain) or an empty cell in "
         "the column 'b'. Received: '2'"),
        ("file,a,b", ["1,1", "1,0"], "only 0 images lack the label 'a'; at least 10 are needed"),
        ("file,a,b", [*FOUR[1:3] * 10, *["0,1"] * 9], "only 9 images have the label 'b'; at least"),
        ("file,a,b?", FOUR, "must not be empty or have the signs ? | ~. Received: 'b?'"),
        ("file,a,a", FOUR, "the label 'a' has several columns. Keep one of them."),
        ("file,a,b\x07", FOUR, "has control characters"),
        ("file,labels", ["a|b", "a", "b", ""], "line 5: the list of labels is empty in 15 of 60 "
         "rows"),
        ("file,labels", ["a|b", "a", "b", "nan"], "Write No finding where an image has none"),
    ],
)  # fmt: skip
def test_bad_labels_are_rejected(
    tmp_path: Path, header: str, cells: list[str], message: str
) -> None:
    times = 1 if len(cells) > 10 else 15
    text = "\n".join([header, *rows(cells, times)])
    assert message in rejected(tmp_path / "x", text)


def test_a_single_label_is_no_list(tmp_path: Path) -> None:
    text = "\n".join(["file,a", *rows(["1", "0"])])
    message = rejected(tmp_path / "x", text, FORCED)
    assert (
        "expected two labels or more. Received: a. For a single label, leave out --task" in message
    )


def test_a_row_that_contradicts_another_is_rejected(tmp_path: Path) -> None:
    text = "\n".join(["file,a,b", *rows(FOUR), "0.png,0,1"])
    assert "0.png was already listed in line 2" in rejected(tmp_path / "x", text)


# -- states, strata and texts ----------------------------------------------------------------------


def test_the_stratum_is_the_rarest_label() -> None:
    states = ["110"] * 20 + ["010"] * 20 + ["000"] * 25 + ["011"] * 5
    found = Findings(NAMES, tuple(states), "")
    expected = ["a"] * 20 + ["b"] * 20 + ["No finding"] * 25 + ["c"] * 5
    # Five of one stratum are too few to split, so they join the smallest other one.
    small = ["Others" if name in ("c", "a") else name for name in expected]
    assert strata(found) == small
    many = Findings(NAMES, tuple(states + ["001"] * 15), "")
    assert strata(many) == [*expected, *["c"] * 15]


@pytest.mark.parametrize("seed", range(5))
def test_there_are_two_strata_of_ten_at_least(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(100):
        n = int(random.integers(20, 70))
        present = random.random((n, 3)) < random.uniform(0.05, 0.95, 3)
        if (present.sum(axis=0) < 10).any() or ((~present).sum(axis=0) < 10).any():
            continue
        states = tuple("".join("01"[int(x)] for x in row) for row in present)
        _, sizes = np.unique(strata(Findings(NAMES, states, "")), return_counts=True)
        assert len(sizes) > 1
        assert sizes.min() >= 10


def test_uncertain_labels_become_what_is_asked_for() -> None:
    text = ["|a|~b|?c|"]
    for how, expected in {"ignore": -1, "positive": 1, "negative": 0, "soft": 0.5}.items():
        assert targets_of(text, NAMES, how).tolist() == [[1, expected, -1]]
    assert targets_of(["|"], NAMES, "soft").tolist() == [[0, 0, 0]]
    assert targets_of([], NAMES, "soft").shape == (0, 3)


def test_the_labels_of_an_image_are_a_text() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        states = "".join(random.choice([*"10~?"], 3))
        assert states_of(listing(NAMES, states), NAMES) == states
        values = random.choice([1.0, 0.0, -1.0], 3)
        assert read_written(written(NAMES, values), NAMES) == values.tolist()
    assert written(NAMES, [1, 0, -1]) == "|a|?c|"
    for wrong in ("a", "|a", "|d|", "|a|?a|", "|a|a|"):
        with pytest.raises(ValueError, match=r"list of labels|unknown label|twice"):
            read_written(wrong, NAMES)


# -- learning --------------------------------------------------------------------------------------


def reference_loss(targets: FloatArray, logits: FloatArray, smoothing: float) -> FloatArray:
    losses = []
    for truth, z in zip(targets, logits, strict=True):
        own = []
        for t, x in zip(truth, z, strict=True):
            if t >= 0:
                s = t * (1 - smoothing) + smoothing / 2
                own.append(-s * np.log(special.expit(x)) - (1 - s) * np.log(special.expit(-x)))
        losses.append(np.mean(own) if own else 0.0)
    return np.array(losses)


@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_unknown_labels_have_no_loss(smoothing: float) -> None:
    from lucency.training.step import KnownLabels, known_accuracy

    random = np.random.default_rng(0)
    targets = random.choice([1.0, 0.0, 0.5, -1.0], (40, 5)).astype(np.float32)
    targets[:3] = -1
    logits = random.normal(0, 3, (40, 5)).astype(np.float32)
    loss = KnownLabels(smoothing)
    expected = reference_loss(targets, logits.astype(np.float64), smoothing)
    np.testing.assert_allclose(np.asarray(loss.call(targets, logits)), expected, rtol=1e-4)
    assert float(loss(targets, logits)) == pytest.approx(expected.mean(), rel=1e-4)
    found = np.asarray(known_accuracy(targets, logits))
    for row, truth, z in zip(found, targets, logits, strict=True):
        known = truth >= 0
        right = ((truth > 0.5) == (z > 0))[known]
        assert row == pytest.approx(right.mean() if known.any() else 0)
    other = np.where(targets < 0, logits + 5, logits)
    np.testing.assert_array_equal(loss.call(targets, logits), loss.call(targets, other))


def test_losses_of_probabilities_are_those_of_known_labels() -> None:
    random = np.random.default_rng(1)
    targets = random.choice([1.0, 0.0, 0.5, -1.0], (40, 4)).astype(np.float32)
    logits = random.normal(0, 3, (40, 4))
    found = label_losses(targets, special.expit(logits))
    np.testing.assert_allclose(found, reference_loss(targets, logits, 0), rtol=1e-9)


def labelled_logits(n: int = 400) -> tuple[FloatArray, Any, list[str]]:
    """Return logits (n, 3) that are 2, 1 and 0.5 times too large, and targets with gaps."""
    random = np.random.default_rng(0)
    odds = random.normal(0, 2, (n, 3)) + np.array([0, -1, 1])
    targets = (random.random((n, 3)) < special.expit(odds)).astype(np.float32)
    targets[random.random((n, 3)) < 0.3] = -1
    return odds * [2, 1, 0.5], targets, [f"p{i // 2}" for i in range(n)]


def test_each_label_has_a_scaling_of_its_own() -> None:
    logits, targets, groups = labelled_logits(4000)
    found = scaling.fit_labels(logits, targets, groups=groups, seed=0)
    np.testing.assert_allclose(found.temperature, [2, 1, 0.5], rtol=0.1)
    for k in range(3):
        known = np.flatnonzero(targets[:, k] >= 0)
        own = scaling.fit(
            logits[known, k], targets[known, k].astype(np.int64),
            groups=[groups[i] for i in known], seed=0,
        )  # fmt: skip
        assert (own.temperature, own.bias[0]) == (found.temperature[k], found.bias[k])
        np.testing.assert_allclose(found(logits)[:, [k]], own(logits[:, k]))
    targets[:, 1] = -1
    with pytest.raises(DataError, match="no images"):
        scaling.fit_labels(logits, targets)


def test_a_head_has_a_regression_for_each_label() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 120, 6)).astype(np.float32)
    targets = (x.mean(axis=0)[:, :3] + random.normal(0, 0.3, (120, 3)) > 0).astype(np.float32)
    targets[:20, 0] = -1
    strata_of, groups = np.zeros(120, np.int64), [str(i // 2) for i in range(120)]
    known = Examples(x, strata_of, np.ones(1), targets=targets)
    head = fit_head(known, groups, seed=0)
    assert head.kernel.shape == (6, 3)
    assert list(abs(head.kernel).argmax(axis=0)) == [0, 1, 2]
    folds = np.arange(120) // 2 % 3
    _, logits = cross_fit(known, folds)
    for k in range(3):
        assert reference.roc_auc_score(targets[20:, k], logits[0, 20:, k]) > 0.65
    # Doubt is half of both, so that a label that is always in doubt has the odds of 1.
    soft = np.where(np.arange(3) == 1, np.float32(0.5), targets)
    doubted = fit_head(known._replace(targets=soft.astype(np.float32)), groups, seed=0)
    np.testing.assert_allclose(doubted.logits(x[0])[:, 1], 0, atol=1e-3)


def test_a_label_that_is_rare_in_a_fold_has_a_head() -> None:
    x = np.random.default_rng(0).normal(size=(1, 60, 4)).astype(np.float32)
    targets = np.zeros((60, 2), np.float32)
    targets[:20, 0] = targets[::2, 1] = 1  # the first label is in one fold alone
    known = Examples(x, np.zeros(60, np.int64), np.ones(1), targets=targets)
    heads, logits = cross_fit(known, np.repeat([0, 1, 2], 20))
    assert np.isfinite(logits).all()
    assert special.expit(heads[0].logits(x[0])[:, 0]).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_step_learns_from_known_labels_alone(data: Dataset, precision: str) -> None:
    """The first label is never known: its unit keeps its weights. Also in parts of a batch."""
    from lucency.training.step import Stepper
    from lucency.training.trainer import build_network

    assert data.train.learned is not None
    learned = data.train.learned.copy()
    learned[:, 0] = -1
    train = dataclasses.replace(data.train, learned=learned)
    changes = {"precision": precision, "weight_decay": 0, "label_smoothing": 0}
    with small.small_network():
        plan = make_plan(train, Config(**SMALL | changes))
        network = build_network(plan, 3)
    stepper = Stepper(network, plan, 3)
    kernel = network.get_layer("logits").kernel
    batches = training_batches(train, plan.batch, plan.augmentation, 0, 0)
    for batch in (next(batches), next(batches)):
        before = np.array(kernel)
        stepper.train(batch, 1e-2)
        after = np.array(kernel)
        np.testing.assert_array_equal(after[:, 0], before[:, 0])
        assert (after[:, 1:] != before[:, 1:]).any(axis=0).all()
        if stepper.micro == plan.batch:
            stepper.shrink()


@pytest.mark.slow
def test_a_checkpoint_belongs_to_its_labels(data: Dataset) -> None:
    from lucency.training.fit import fingerprint

    assert data.train.learned is not None
    learned = data.train.learned.copy()
    learned[3, 1] = 0.5  # as with uncertain=soft
    other = dataclasses.replace(data.train, learned=learned)
    assert fingerprint(other) != fingerprint(data.train)
    assert fingerprint(dataclasses.replace(other, learned=data.train.learned)) == fingerprint(
        data.train
    )


# -- figures ---------------------------------------------------------------------------------------


def test_the_figures_are_those_of_each_label_and_their_means() -> None:
    found = labelled_predictions()
    assert found.targets is not None
    evaluation = evaluate_predictions(Classifier(labelled_spec(), {}), found)
    assert evaluation.labels is not None
    for k, name in enumerate(NAMES):
        of, known = evaluation.labels[name], found.targets[:, k] >= 0
        truth, p = found.targets[known, k] > 0, found.probabilities[known, k]
        assert (of.n, of.positive) == (known.sum(), name)
        assert of.metrics["auroc"].value == pytest.approx(reference.roc_auc_score(truth, p))
        assert of.metrics["average_precision"].value == pytest.approx(
            reference.average_precision_score(truth, p)
        )
        assert of.metrics["sensitivity"].value == pytest.approx((p >= 0.4)[truth].mean())
        assert of.metrics["specificity"].value == pytest.approx((p < 0.4)[~truth].mean())
        assert of.metrics["log_loss"].value == pytest.approx(reference.log_loss(truth, p))
    for key, mean in evaluation.metrics.items():
        values = [of.metrics[key].value for of in evaluation.labels.values()]
        assert mean.value == pytest.approx(np.mean(values)), key
        assert mean.low < mean.value < mean.high
        widths = [of.metrics[key].high - of.metrics[key].low for of in evaluation.labels.values()]
        assert mean.high - mean.low < max(widths)
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_each_label_gets_a_new_threshold(tmp_path: Path) -> None:
    test, val = (
        labelled_predictions(),
        dataclasses.replace(labelled_predictions(seed=1), split="val"),
    )
    run = write_predicted_run(tmp_path / "run", test)
    write_predictions(run / "predictions.csv", [val, test])
    rows_ = zip(test.files, test.targets, test.groups, strict=True)
    write_entries(
        [Entry(file, written(NAMES, row), "test", group, file * 8) for file, row, group in rows_],
        run / "split.csv",
    )
    config = Config(operating_point="sensitivity>=0.9")
    found = evaluate_run(run, None, config, choose=True).evaluation
    before = evaluate_run(run, None, config).evaluation
    assert found.labels is not None
    sensitivities = []
    for k, name in enumerate(NAMES):
        known = np.flatnonzero(val.targets[:, k] >= 0)
        truth, p = val.targets[known, k] > 0, val.probabilities[known, k]
        point = choose(parse("sensitivity>=0.9"), p, truth)
        of = found.labels[name]
        assert of.operating_point["threshold"] == point.threshold
        assert (p[truth] >= point.threshold).mean() >= 0.9
        known = test.targets[:, k] >= 0
        truth, p = test.targets[known, k] > 0, test.probabilities[known, k]
        sensitivities.append((p >= point.threshold)[truth].mean())
        assert of.metrics["sensitivity"].value == pytest.approx(sensitivities[-1])
    assert found.metrics["sensitivity"].value == pytest.approx(np.mean(sensitivities))
    assert before.metrics["sensitivity"] != found.metrics["sensitivity"]
    assert before.metrics["auroc"] == found.metrics["auroc"]
    balanced = evaluate_run(run, None, Config(), choose=True).evaluation
    assert balanced.labels is not None
    assert {each.operating_point["threshold"] for each in balanced.labels.values()} == {0.3}
    assert balanced.labels["a"].operating_point["rule"] == BALANCED_LABEL


def test_unknown_labels_are_not_evaluated() -> None:
    found = labelled_predictions()
    assert found.targets is not None
    other = dataclasses.replace(
        found,
        probabilities=np.where(found.targets < 0, 0.999, found.probabilities),
        decisions=np.where(found.targets < 0, 1, found.decisions),
    )
    assert mean_metrics(other) == mean_metrics(found)


def test_the_interval_of_a_mean_is_that_of_the_jackknife() -> None:
    found = labelled_predictions(400, each=1)
    for key in ("auroc", "sensitivity", "log_loss"):
        whole, without = mean_metrics(found)[key], []
        for i in range(400):
            kept = np.arange(400) != i
            some = dataclasses.replace(
                found, groups=tuple(np.array(found.groups)[kept]),
                probabilities=found.probabilities[kept], decisions=found.decisions[kept],
                targets=None if found.targets is None else found.targets[kept],
            )  # fmt: skip
            without.append(mean_metrics(some)[key].value)
        error, v = np.sqrt(399 * np.var(without)), whole.value
        scale = 1 / v if key == "log_loss" else 1 / (v * (1 - v))
        change = np.log if key == "log_loss" else special.logit
        half = (change(whole.high) - change(whole.low)) / 2
        assert half == pytest.approx(1.97 * error * scale, rel=0.05), key


def test_intervals_of_means_contain_the_true_value() -> None:
    """400 test sets of 100 patients with two images each."""
    truth = {key: found.value for key, found in mean_metrics(labelled_predictions(200_000)).items()}
    inside = dict.fromkeys(truth, 0)
    for seed in range(1, 401):
        for key, found in mean_metrics(labelled_predictions(200, seed)).items():
            inside[key] += found.low <= truth[key] <= found.high
    for key, count in inside.items():
        # An interval of 92 to 97.5 % is outside of this for one seed in 100,000.
        low, high = stats.binom.ppf(5e-6, 400, 0.92), stats.binom.isf(5e-6, 400, 0.975)
        assert low <= count <= high, (key, count)


def test_sets_of_each_label_have_their_coverage() -> None:
    """``python -m benchmarks label_coverage`` does the same with 1,000 data sets of more kinds."""
    rows_ = [sets_of(Setting((0.5, 0.2), 200, 2), 1, seed) for seed in range(150)]
    for found in zip(*rows_, strict=True):
        coverage, inside = np.mean([each for each in found if each], axis=0)
        # 90 % are promised; means of 150 differ by chance by at most 2 points, 1 seed in 10,000.
        assert 0.88 <= coverage <= 0.95
        assert inside >= 0.97


def test_a_label_without_two_values_has_no_mean() -> None:
    found = labelled_predictions()
    assert found.targets is not None
    targets = found.targets.copy()
    targets[:, 1] = np.minimum(targets[:, 1], 0)
    evaluation = evaluate_predictions(
        Classifier(labelled_spec(), {}), dataclasses.replace(found, targets=targets)
    )
    assert np.isnan(evaluation.metrics["auroc"].value)
    assert np.isnan(evaluation.metrics["sensitivity"].value)
    assert not np.isnan(evaluation.metrics["specificity"].value)
    assert evaluation.labels is not None
    assert not np.isnan(evaluation.labels["a"].metrics["auroc"].value)
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = labelled_predictions(40)
    write_predictions(tmp_path / "predictions.csv", [found])
    (again,) = read_predictions(tmp_path / "predictions.csv")
    assert again.targets is not None
    assert found.targets is not None
    np.testing.assert_array_equal(again.targets, found.targets)
    np.testing.assert_array_equal(again.decisions, found.decisions)
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    assert (again.classes, again.files, again.groups) == (found.classes, found.files, found.groups)


# -- predictions -----------------------------------------------------------------------------------


def predict(p: list[float], ood_score: float | None = None, sure: bool = True) -> Any:
    rule = Threshold(0.1, "class-conditional", (0.6, 0.6), (50, 50)) if sure else None
    row = np.array(p)
    return label_prediction("x.png", NAMES, row, row >= 0.5, [rule] * 3, ood_score)


def test_a_prediction_names_the_labels_that_are_present() -> None:
    found = predict([0.9, 0.1, 0.7])
    assert (found.decision, found.reason) == ("a, c", "")
    assert found.labels["b"] == {
        "probability": 0.1, "present": False, "prediction_set": ["absent"],
    }  # fmt: skip
    assert predict([0.1, 0.1, 0.2]).decision == "No finding"
    document = found.to_json(NAMES)
    assert document["labels"]["c"]["present"] is True
    assert document["probabilities"] == {"a": 0.9, "b": 0.1, "c": 0.7}


def test_a_label_may_be_unclear() -> None:
    beside = predict([0.9, 0.5, 0.1])
    assert (beside.decision, beside.reason) == ("a", "")
    assert beside.labels["b"]["present"] is None
    assert beside.labels["b"]["prediction_set"] == ["absent", "present"]
    alone = predict([0.1, 0.5, 0.1])
    assert (alone.decision, alone.reason) == ("", "ambiguous: b")
    far = predict([0.9, 0.1, 0.1], ood_score=1.5)
    assert (far.decision, far.reason) == ("", "out of distribution: OOD score 1.5, limit 1")
    assert predict([0.9, 0.5, 0.1], sure=False).decision == "a, b"


def test_the_description_of_labels_is_checked() -> None:
    document = json.loads(json.dumps(labelled_spec().to_json()))
    assert Spec.from_json(document).labels == labelled_spec().labels
    for change in (
        {"threshold": 1.5}, {"threshold": None}, {"temperature": 0}, {"bias": "x"},
        {"prevalence": -1}, {"conformal": {}}, {"rule": 3}, {"validation": {"sensitivity": 2}},
    ):  # fmt: skip
        wrong = json.loads(json.dumps(document))
        wrong["labels"][1] |= change
        with pytest.raises(ClassifierError):
            Spec.from_json(wrong)
    for labels in (document["labels"][:2], {}, [], None, "abc", [1, 2, 3]):
        with pytest.raises(ClassifierError):
            Spec.from_json({**document, "labels": labels})
    with pytest.raises(ClassifierError):  # values for labels that images of one class do not have
        Spec.from_json({**document, "task": "classification"})


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recipe", "article"), "--recipe article is for one class per image"),
        (("--positive", "a"), "--positive is for one class per image"),
        (("--prevalence", "0.1"), "--prevalence is for one class per image"),
        (("--unit", "patient"), "--unit patient needs labels that agree within each patient"),
        (("--neighbours", "5"), "--neighbours is for one class per image"),
        (("--task", "ordinal"), "several labels per image. Expected one."),
        (("--task", "classification"), "or train with --task multilabel"),
        (("--uncertain", "maybe"), "uncertain must be one of ignore, positive, negative, soft"),
    ],
)
def test_one_line_says_what_is_wrong(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = call_lucency("train", folder, "--labels", "labels.csv", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not [each for each in tmp_path.rglob("*") if each.name != "runs"]


def test_folders_have_one_class_per_image(tiny_folder: Path, tmp_path: Path) -> None:
    done = call_lucency("train", tiny_folder, "--task", "multilabel", cwd=tmp_path)
    assert done.returncode == 2
    assert "--task multilabel needs several labels for each image" in done.stderr


# -- splits ----------------------------------------------------------------------------------------


def test_every_split_has_every_label(data: Dataset) -> None:
    assert data.test is not None
    for split in (data.train, data.val, data.test):
        assert split.outputs == ("a", "b", "c")
        assert split.targets is not None
        assert ((split.targets == 1).any(axis=0) & (split.targets == 0).any(axis=0)).all()
        assert data.audit.labels is not None
        present, known = (split.targets == 1).sum(axis=0), (split.targets >= 0).sum(axis=0)
        assert list(data.audit.labels[split.name].values()) == [*zip(present, known, strict=True)]
    entry = {each.file: each for each in data.entries}
    for split in (data.train, data.val):
        assert split.targets is not None
        for file, row in zip(split.files, split.targets, strict=True):
            assert written(split.outputs, row) == entry[file].states.replace("~", "?")


def test_given_splits_need_every_label(folder: Path, tmp_path: Path) -> None:
    """The rarest labels of images may differ between the splits, as long as all can be learned."""
    lines = (folder / "labels.csv").read_text().splitlines()
    for name, of_test in (("strata", 0), ("lacking", 1)):
        rows = [f"{lines[0]},split"]
        for i, line in enumerate(lines[1:]):
            file, patient, _, *rest = line.split(",")
            split = "test" if i >= 80 else "val" if i >= 60 else "train"
            a = "1" if (i % 2 if of_test and split == "test" else not (i % 3 or of_test)) else "0"
            rows.append(",".join([file, patient, a, *rest, split]))
        (tmp_path / f"{name}.csv").write_text("\n".join(rows))
    found = load_dataset(folder, Config(**SMALL | {"labels": str(tmp_path / "strata.csv")}))
    assert (len(found.train), len(found.val)) == (60, 20)
    with pytest.raises(DataError, match="train split has no image with the label 'a'"):
        load_dataset(folder, Config(**SMALL | {"labels": str(tmp_path / "lacking.csv")}))


def test_a_split_file_needs_the_same_labels(folder: Path, data: Dataset, tmp_path: Path) -> None:
    write_split(data, tmp_path / "split.csv")
    given = Config(**SMALL | {"split_file": str(tmp_path / "split.csv")})
    again = load_dataset(folder, given)
    assert (again.fingerprint, again.train.files) == (data.fingerprint, data.train.files)
    header, (*first, c), *others = (
        line.split(",") for line in (folder / "labels.csv").read_text().splitlines()
    )
    other_label = [*first, "1" if c == "0" else "0"]
    changed = "\n".join(map(",".join, [header, other_label, *others]))
    (tmp_path / "labels.csv").write_text(changed)
    other = dataclasses.replace(given, labels=str(tmp_path / "labels.csv"))
    with pytest.raises(DataError, match="1 images have another class in the folder"):
        load_dataset(folder, other)
    loaded = load_dataset(folder, dataclasses.replace(other, split_file=""))
    assert loaded.fingerprint != data.fingerprint


def test_new_images_are_evaluated_on_the_labels_they_have(folder: Path, tmp_path: Path) -> None:
    few = draw_labels(tmp_path / "few", 12, seed=1)
    rows_ = [line.rsplit(",", 2)[0] + ",F" for line in (few / "labels.csv").read_text().split()]
    rows_[0] = "file,patient,a,Sex"
    (few / "labels.csv").write_text("\n".join(rows_))
    config = Config(labels="labels.csv", task="multilabel")
    found = load_labelled(few, ("a", "b", "c"), config, size=(16, 16), colour=False)
    assert found.targets is not None
    assert set(found.targets[:, 0]) == {0, 1}
    assert (found.targets[:, 1:] == -1).all()


# -- whole runs ------------------------------------------------------------------------------------


def figures(run: Path) -> Any:
    return json.loads((run / "evaluation.json").read_text())["test"]


@pytest.mark.slow
@pytest.mark.backend
def test_from_a_labels_file_to_predictions(folder: Path, tmp_path: Path) -> None:
    run, settings = tmp_path / "run", ("--cache", tmp_path / "cache")
    with small.small_network():
        done = call_lucency(
            "train", folder, "--labels", "labels.csv", "--run", run, "--effort", "quick", "--start",
            "scratch", "--folds", 0, "--set", "size=16", "--set", "epochs=12", "--set", "batch=8",
            "--set", "learning_rate=0.01", *settings,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    classifier = Classifier.load(run)
    assert (classifier.spec.task, classifier.classes) == ("multilabel", ("a", "b", "c"))
    assert len(classifier.spec.labels) == 3
    assert {each["rule"] for each in classifier.spec.labels} == {BALANCED_LABEL}
    assert figures(run)["metrics"]["auroc"]["value"] > 0.8
    report, card = (run / "report.html").read_text(), (run / "model_card.md").read_text()
    for words in (
        "multilabel, 3 labels",
        "Images with each label",
        "mean over 3 labels",
        "Each label",
        " ranked",
        "evidence for <bdi>the label named below each image</bdi>",
    ):
        assert words in report, words
    index = json.loads((run / "images" / "index.json").read_text())
    mapped = [each for each in index["images"] if each["kind"] == "map"]
    states = {each.file: each.states for each in load_dataset(folder, Config(**SMALL)).entries}
    assert {each["label"] for each in mapped} == {"a", "b", "c"}
    assert all(f"|{each['label']}|" in states[each["file"]] for each in mapped)
    assert "3 labels, of which an image may have several: a, b, c" in card
    done = call_lucency("verify", run, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    # ONNX, which predicts, is what Keras computes.
    rows_ = json.loads(call_lucency("predict", run, folder / "images", "--json").stdout)
    data = load_dataset(folder, Config(**SMALL))
    pixels = data.train.pixels(np.arange(len(data.train)))
    at_once = classifier.calibrated_model.predict_on_batch(pixels)["probabilities"]
    by_file = {Path(each["file"]).name: each for each in rows_}
    for file, expected in zip(data.train.files, at_once, strict=True):
        found = by_file[Path(file).name]
        p = np.array([found["probabilities"][name] for name in classifier.classes])
        np.testing.assert_allclose(p, expected, atol=1e-4)
        for k, name in enumerate(classifier.classes):
            is_present = bool(p[k] >= classifier.spec.labels[k]["threshold"])
            assert found["labels"][name]["present"] in (is_present, None)
    done = call_lucency("predict", run, folder / "images", "--csv")
    for row in csv.DictReader(io.StringIO(done.stdout)):
        found = by_file[Path(row["file"]).name]
        state = found["labels"]["b"]["present"]
        assert row["present_b"] == ("" if state is None else json.dumps(state))
    out = tmp_path / "onnx"
    done = call_lucency("export", run, folder, "--out", out)
    assert done.returncode == 0, done.stderr
    described = json.loads((out / "model.json").read_text())
    for name, each in zip(classifier.classes, classifier.spec.labels, strict=True):
        assert f"{name} at {each['threshold']!r}" in described["decision"]
    assert "do not add up to 1" in described["outputs"]["probabilities"]
    done = call_lucency("evaluate", run, folder, "--labels", "labels.csv", "--json", *settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 100
    for command, words in (
        (("evaluate", run, "--prevalence", "0.2"), "each of several labels has its own"),
        (
            ("evaluate", run, "--operating-point", "sensitivity>=1,specificity>=1"),
            "Validation does not reach sensitivity>=1 and specificity>=1",
        ),
        (("compare", run, run), "hold the same classifier"),
    ):
        done = call_lucency(*command)
        assert done.returncode == 2
        assert words in done.stderr.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_joined_folds_and_starts_are_verified(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two networks from scratch, and a backbone whose last stage is fine-tuned after its head."""
    from lucency.cli.console.results import show_run
    from lucency.pipeline.train import run_training
    from lucency.verify import verify

    config = Config(**SMALL | {
        "start": "ensemble", "fine_tune": True, "folds": 2, "uncertain": "soft",
        "cache": str(tmp_path / "cache"),
    })  # fmt: skip
    with small.small_network():
        done = run_training(folder, config, run=str(tmp_path / "run"), progress=Heard())
    classifier = Classifier.load(done.folder)
    assert classifier.spec.architecture == "ensemble"
    assert classifier.weights["logits/kernel"].shape[1] == 3
    assert done.folds is not None
    assert set(done.folds.folds[0].metrics) == {"auroc", "average_precision", "log_loss"}
    assert verify(done.folder).passed
    show_run(done)
    shown = " ".join(capsys.readouterr().out.split())
    assert "Mean over 2 folds: AUROC" in shown
    assert "Average precision" in shown
