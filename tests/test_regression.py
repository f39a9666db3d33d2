"""Numbers: bins of their axis, the prediction and its interval, and a whole run."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import small_network as small
from onnxruntime import InferenceSession
from PIL import Image
from sklearn.base import clone, is_regressor
from sklearn.metrics import r2_score

from conftest import call_lucency
from lucency.calibration.values import ValueRule, fit
from lucency.classifier import Classifier, Spec
from lucency.classifier.prediction import number_text, value_predictions
from lucency.config import Config
from lucency.dataset import load_dataset, read_split
from lucency.dataset.duplicates import Match
from lucency.dataset.partition import _label_doubts
from lucency.dataset.phantoms import RATIO, draw_ratios
from lucency.dataset.values import Bins
from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.estimator import LucencyRegressor
from lucency.evaluation.predictions import read_predictions
from lucency.imaging.image import read_image
from lucency.task import task_of
from lucency.training.plan import make_plan
from web_browser import browser, modules

RULE = ValueRule(
    "age", edges=(0, 10, 20, 40), centres=(5, 16, 28), mean=15, offset=1.5, tolerance=None
)
SETTINGS = (
    "--labels", "labels.csv", "--task", "regression", "--effort", "quick", "--start", "scratch",
    "--folds", "0", "--set", "size=16", "--set", "epochs=2", "--set", "batch=16",
    "--set", "precision=float32",
)  # fmt: skip


def write_numbers(folder: Path, rows: list[list[str]], header: str = "file,value") -> Path:
    """Write an image for each row of a labels file."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for file, *_ in rows:
        grey = random.integers(0, 256, (24, 24), np.uint8)
        Image.fromarray(grey).save(folder / file)
    lines = [header, *(",".join(row) for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def draw_spots(folder: Path, images: int = 120) -> Path:
    """Draw spots whose brightness is the number, two images of a patient."""
    (folder / "images").mkdir(parents=True)
    y, x = np.mgrid[:40, :40] / 40
    rows = ["file,patient,brightness"]
    for i in range(images):
        random = np.random.default_rng([7, i // 2])
        number = random.uniform(20, 180)
        a, b = np.random.default_rng([8, i]).uniform(0.35, 0.65, 2)
        spot = np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.02)
        grey = 40 + number * spot + np.random.default_rng([9, i]).normal(0, 8, (40, 40))
        name = f"images/p{i // 2:03d}_{i % 2}.png"
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / name)
        rows.append(f"{name},p{i // 2:03d},{number:.3f}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


# -- bins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "drawn",
    [
        np.random.default_rng(0).normal(size=500),
        np.random.default_rng(1).integers(0, 9, 200).astype(float),
        np.random.default_rng(2).uniform(1e6, 1e6 + 1, 300),
        np.random.default_rng(3).lognormal(0, 3, 400),
        np.repeat([-3.0, 0.0, 2.5], 12),
    ],
)
def test_bins_divide_numbers_evenly(drawn: np.ndarray[Any, Any]) -> None:
    bins = Bins.of(drawn)
    counts = np.bincount(bins.numbers(drawn), minlength=len(bins.names))
    assert 3 <= len(counts) <= 16
    assert counts.min() >= 12
    assert list(bins.edges) == sorted({*bins.edges})
    assert Bins.of_names(bins.names) == bins


def test_a_frequent_number_is_in_one_bin() -> None:
    drawn = np.concatenate([np.zeros(100), np.random.default_rng(0).uniform(1, 2, 60)])
    bins = Bins.of(drawn)
    found = bins.numbers(drawn)
    assert (found[:100] == 0).all()
    assert (found[100:] > 0).all()


def test_numbers_outside_belong_to_the_ends() -> None:
    bins = Bins((0.0, 1.0, 2.0, 3.0))
    assert bins.numbers(np.array([-5, 0, 1, 1.5, 2, 99])).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("drawn", [np.arange(35.0), np.repeat([1.0, 2.0], 50), np.ones(90)])
def test_too_few_numbers_make_no_bins(drawn: np.ndarray[Any, Any]) -> None:
    with pytest.raises(DataError, match="3 different values or more"):
        Bins.of(drawn)


def test_names_of_classes_are_no_bins() -> None:
    for names in (("cat", "dog"), ("0 to 1", "2 to 3"), ("0 to 1", "b to 3")):
        with pytest.raises(ValueError, match=r"expected|could not convert"):
            Bins.of_names(names)


# -- from probabilities to numbers -----------------------------------------------------------------


def test_the_prediction_is_the_mean_of_the_distribution() -> None:
    p = np.array([[1, 0, 0], [0.5, 0.25, 0.25], [0, 0, 1]])
    np.testing.assert_allclose(RULE.predicted(p), [5, 13.5, 28])


def test_quantiles_are_those_of_even_bins() -> None:
    p = np.array([[0.5, 0.25, 0.25], [0, 0, 1.0]])
    found = RULE.quantiles(p, (0.0, 0.25, 0.5, 0.75, 0.875, 1.0))
    np.testing.assert_allclose(found[0], [0, 5, 10, 20, 30, 40])
    np.testing.assert_allclose(found[1][1:], [25, 30, 35, 37.5, 40])
    levels = np.linspace(0, 1, 21)
    many = np.random.default_rng(0).dirichlet([0.3] * 3, 200)
    assert (np.diff(RULE.quantiles(many, levels.tolist()), axis=1) >= -1e-12).all()


def test_the_offset_widens_the_interval() -> None:
    p = np.array([[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(RULE.intervals(p), [[1 - 1.5, 36 + 1.5]])
    narrow = ValueRule("age", (0, 10, 20, 40), (5, 16, 28), 15, offset=-30.0)
    ((low, high),) = narrow.intervals(p).tolist()  # type: ignore[union-attr]
    assert low == high == 18.5
    none = ValueRule("age", (0, 10, 20, 40), (5, 16, 28), 15)
    assert none.intervals(p) is None
    assert none.is_clear(None, 2).tolist() == [True, True]


def test_intervals_have_the_promised_coverage_for_new_patients() -> None:
    """With images that agree within a patient, and a distribution that is far too narrow."""
    random, shares = np.random.default_rng(0), []
    rule = ValueRule("x", tuple(range(-8, 9)), tuple(np.arange(-7.5, 8)), 0.0)

    def sample(patients: int) -> tuple[Any, Any, list[str]]:
        images = random.integers(1, 5, patients)
        patient = np.repeat(np.arange(patients), images)
        truth = random.normal(0, 2, patients)[patient]
        middle = (
            truth + random.normal(0, 1.5, patients)[patient] + random.normal(0, 0.3, len(truth))
        )
        p = np.exp(-((np.array(rule.centres) - middle[:, None]) ** 2) / 0.5)
        return p / p.sum(axis=1, keepdims=True), truth, [f"p{k}" for k in patient]

    for _ in range(150):
        p, truth, groups = sample(60)
        fitted = fit(rule, p, truth, groups)
        p, truth, groups = sample(60)
        ends = fitted.intervals(p)
        assert ends is not None
        inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        _, at = np.unique(groups, return_inverse=True)
        shares.append(np.mean(np.bincount(at, inside) / np.bincount(at)))
    # 150 means of 60 patients: the standard error is 0.005.
    assert 0.885 <= np.mean(shares) <= 0.925


def test_too_few_patients_promise_nothing() -> None:
    p, truth = np.full((16, 3), 1 / 3), np.linspace(0, 40, 16)
    assert fit(RULE, p[:8], truth[:8], [""] * 8).offset is None
    assert fit(RULE, p[:9], truth[:9], [""] * 9).offset is not None
    assert fit(RULE, p, truth, ["a"] * 8 + ["b"] * 8).offset is None
    with pytest.raises(DataError, match="no held-out images"):
        fit(RULE, p[:0], truth[:0], [])


def test_wide_intervals_and_foreign_images_have_no_answer() -> None:
    p = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])
    rule = ValueRule("age", RULE.edges, RULE.centres, 15, offset=0.0, tolerance=10)
    found = value_predictions(["a", "b", "c"], p, rule, np.array([0.5, 0.5, 2]))
    assert [each.decision for each in found] == ["5", "", ""]
    assert found[1].reason == "ambiguous: 1.5 to 37, wider than 10"
    assert found[2].reason == "out of distribution: OOD score 2, limit 1"
    document = found[0].to_json(("0 to 10", "10 to 20", "20 to 40"))["value"]
    assert document["interval"] == pytest.approx([0.5, 9.5])
    assert (document["name"], document["predicted"], document["coverage"]) == ("age", 5, 0.9)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.51987, "0.5199"), (127.31, "127.3"), (12345.6, "12350"), (-0.0000123456, "-0.00001235"),
        (5, "5"), (0, "0"), (1e-9, "0.000000001"), (2.5e22, "25000000000000000000000"),
    ],
)  # fmt: skip
def test_numbers_are_written_without_exponent(number: float, text: str) -> None:
    assert number_text(number) == text


def test_the_page_computes_what_predict_does() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet([0.5] * 3, 40)
    rules = [
        RULE,
        ValueRule("age", RULE.edges, RULE.centres, 15, offset=-2.0, tolerance=18),
        ValueRule("age", RULE.edges, RULE.centres, 15, tolerance=3),
    ]
    names = Bins(RULE.edges).names
    script = """async (requests) => {
      const { predictionOf } = await import("/prediction.js");
      const { numberText } = await import("/value.js");
      return requests.map(([about, p, score]) => predictionOf(about, null, p, score))
        .concat([1e-9, 2.5e22, -0.0000123456, 12345.6].map(numberText));
    }"""
    requests, expected = [], []
    for rule in rules:
        about = {"classes": names, "task": "regression", "value": rule.to_json()}
        for i, row in enumerate(p):
            score = (None, 0.5, 1.5)[i % 3]
            given = None if score is None else np.array([score])
            (found,) = value_predictions([""], row[None], rule, given)
            requests.append([about, row.tolist(), score])
            expected.append(found.to_json(names))
    with browser() as started, modules(started) as page:
        *shown, tiny, huge, small_one, rounded = page.evaluate(script, requests)
    assert [tiny, huge, small_one, rounded] == [
        "0.000000001", "25000000000000000000000", "-0.00001235", "12350",
    ]  # fmt: skip
    for one, other in zip(expected, shown, strict=True):
        assert (one["decision"], one["reason"]) == (other["decision"], other["reason"])
        assert one["value"]["predicted"] == pytest.approx(other["value"]["predicted"])
        ends, found = one["value"]["interval"], other["value"]["interval"]
        assert (ends is None) == (found is None)
        assert ends is None or ends == pytest.approx(found)


@pytest.mark.parametrize(
    "change",
    [
        {"edges": [0, 10, 20]}, {"edges": [0, 20, 10, 40]}, {"offset": "1"}, {"coverage": 2},
        {"tolerance": -1}, {"centres": [1, 2, float("nan")]}, {"name": 3}, {"name": "a\nb"},
        {"mean": 10**400}, {"edges": [0, 10, 20, 10**400]},
    ],
)  # fmt: skip
def test_a_damaged_rule_is_refused(change: dict[str, Any]) -> None:
    assert ValueRule.from_json(RULE.to_json(), 3) == RULE
    with pytest.raises(ClassifierError, match="value in classifier"):
        ValueRule.from_json(RULE.to_json() | change, 3)


def test_edges_are_those_of_the_classes() -> None:
    spec = Spec(
        classes=("0 to 10", "10 to 20", "20 to 40"), positive=None, task="regression", size=(8, 8),
        channels=1, architecture="default", network_channels=1,
        parameters={"width": 1, "blocks": [1]}, value=RULE.to_json(),
    )  # fmt: skip
    document = json.loads(json.dumps(spec.to_json()))
    assert Spec.from_json(document).value == document["value"]
    with pytest.raises(ClassifierError, match="edges of value"):
        Spec.from_json(document | {"value": document["value"] | {"edges": [0, 10, 21, 40]}})
    with pytest.raises(ClassifierError):
        Spec.from_json({k: v for k, v in document.items() if k != "value"})


# -- reading numbers -------------------------------------------------------------------------------


def numbers(count: int = 40) -> list[list[str]]:
    return [[f"{i:02d}.png", str(i / 4)] for i in range(count)]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("abc", r"line 3: expected a finite number in the column 'value'. Received: 'abc'"),
        ("nan", "line 3: expected a finite number"),
        ("inf", "line 3: expected a finite number"),
        ("1e999", "line 3: expected a finite number"),
        ("", "Fill in the cell"),
    ],
)
def test_a_cell_without_a_number_is_named(tmp_path: Path, cell: str, message: str) -> None:
    rows = numbers()
    rows[1][1] = cell
    folder = write_numbers(tmp_path / "data", rows)
    with pytest.raises(DataError, match=message):
        load_dataset(folder, Config(labels="labels.csv", task="regression", effort="quick"))


def test_a_decimal_comma_is_shown_with_a_point(tmp_path: Path) -> None:
    rows = numbers()
    rows[1][1] = '"3,5"'
    folder = write_numbers(tmp_path / "data", rows)
    with pytest.raises(DataError, match=r"Received: '3,5'\. Write 3\.5\."):
        load_dataset(folder, Config(labels="labels.csv", task="regression", effort="quick"))


def test_a_table_without_numbers_names_its_columns(tmp_path: Path) -> None:
    folder = write_numbers(tmp_path / "data", numbers(), header="file,age_in_months")
    config = Config(labels="labels.csv", task="regression", effort="quick")
    with pytest.raises(DataError, match=r"no column 'value' or 'label'.*file,age_in_months"):
        load_dataset(folder, config)
    same = [[file, "7"] for file, _ in numbers()]
    folder = write_numbers(tmp_path / "same", same)
    with pytest.raises(DataError, match=r"labels\.csv: expected numbers .* with 1 different"):
        load_dataset(folder, config)


def test_many_numbers_without_the_task_are_pointed_to_it(tmp_path: Path) -> None:
    folder = write_numbers(tmp_path / "data", numbers(), header="file,label")
    with pytest.raises(DataError, match="Predict numbers with --task regression, or choose"):
        load_dataset(folder, Config(labels="labels.csv", effort="quick"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "a,b,c"}, "--order"), ({"positive": "a"}, "--positive"),
        ({"prevalence": 0.1}, "--prevalence"), ({"operating_point": "youden"}, "--operating-point"),
        ({"neighbours": 5}, "--neighbours"),
        ({"recipe": "article"}, "--recipe article"), ({"class_weighting": True}, "class_weighting"),
    ],
)  # fmt: skip
def test_options_for_classes_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    folder = write_numbers(tmp_path / "data", numbers())
    with pytest.raises(ConfigError, match=message):
        load_dataset(folder, Config(labels="labels.csv", task="regression", **options))


def test_folders_and_tolerances_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which folders cannot say"):
        load_dataset(tmp_path, Config(task="regression"))
    for wrong in (0.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="a number above 0"):
            Config(task="regression", tolerance=wrong)
    with pytest.raises(ConfigError, match="add --task regression"):
        Config(tolerance=3.0)


def test_a_data_set_of_numbers(tmp_path: Path) -> None:
    """Patients stay together, each split spans the axis, and the order of rows changes nothing."""
    folder = draw_spots(tmp_path / "data")
    config = Config(
        labels="labels.csv", label_column="brightness", task="regression", effort="quick", size=16,
        cache=str(tmp_path / "cache"), folds=0,
    )  # fmt: skip
    data = load_dataset(folder, config)
    test = data.test
    assert test is not None
    parts = (data.train, data.val, test)
    assert not {*data.train.groups} & {*data.val.groups, *test.groups}
    for part in parts:
        assert part.values is not None
        assert part.value_name == "brightness"
        np.testing.assert_array_equal(Bins.of_names(part.classes).numbers(part.values), part.labels)
        assert np.ptp(part.values) > 100
    halves = data.halves()
    assert len(halves.classes) == 2
    assert abs(halves.train.labels.mean() - 0.5) < 0.1
    assert halves.train.values is None

    lines = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert load_dataset(folder, config).fingerprint == data.fingerprint

    in_folds = load_dataset(folder, Config(**{**vars(config), "folds": 4}))
    assert in_folds.folds is not None
    held = in_folds.folds.held_out
    of_group = {(group, int(k)) for group, k in zip(in_folds.train.groups, held, strict=True)}
    assert len(of_group) == len({*in_folds.train.groups})
    assert in_folds.train.values is not None
    means = [in_folds.train.values[held == k].mean() for k in range(4)]
    assert np.ptp(means) < 15  # of a range of 160

    plan = make_plan(data.train, config)
    assert plan.task == "regression"
    assert plan.value is not None
    assert data.train.values is not None
    assert plan.value.mean == pytest.approx(data.train.values.mean())
    assert task_of(plan.task).is_ordered


def test_ratios_are_drawn_with_their_truth(tmp_path: Path) -> None:
    draw_ratios(tmp_path / "drawn", images=12)
    with (tmp_path / "drawn" / "labels.csv").open() as file:
        rows = [*csv.DictReader(file)]
    ratios = np.array([float(row[RATIO]) for row in rows])
    assert len(rows) == 12
    assert ratios.min() > 0.35
    assert ratios.max() < 0.7
    assert np.abs(ratios[::2] - ratios[1::2]).max() < 0.02  # two images of a patient
    assert np.ptp(ratios) > 0.1


def test_duplicates_far_apart_are_doubtful() -> None:
    bins = Bins((0.0, 1.0, 2.0, 3.0)).names
    matches = [
        Match("a", "b", "resized", 0.99, ("", ""), (bins[i], bins[k])) for i, k in ((0, 1), (2, 0))
    ]
    assert not _label_doubts(matches[:1], bins)
    (warning,) = _label_doubts(matches, bins)
    assert "different numbers: 1 pair" in warning


# -- a whole run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train on drawn spots from the command line; return the run and its images."""
    place = tmp_path_factory.mktemp("numbers")
    data = draw_spots(place / "spots")
    with small.small_network():
        done = call_lucency(
            "train", str(data), "--run", str(place / "run"), *SETTINGS,
            "--label-column", "brightness",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "run", data


def test_a_run_keeps_its_numbers(trained: tuple[Path, Path]) -> None:
    run, data = trained
    classifier = Classifier.load(run)
    rule = classifier.value
    assert rule is not None
    assert rule.name == "brightness"
    assert rule.offset is not None
    with (data / "labels.csv").open() as file:
        truth = {row["file"]: float(row["brightness"]) for row in csv.DictReader(file)}
    assert {e.file: float(e.label) for e in read_split(run / "split.csv")} == truth
    for part in read_predictions(run / "predictions.csv"):
        assert part.values is not None
        assert part.values.tolist() == [truth[file] for file in part.files]
        np.testing.assert_array_equal(part.predicted, rule.predicted(part.probabilities))
    kernel = next(w for name, w in classifier.weights.items() if name.endswith("logits/kernel"))
    steps = np.diff(kernel, axis=1)
    np.testing.assert_allclose(steps, steps[:, :1].repeat(steps.shape[1], 1), atol=1e-6)


def test_predict_prints_numbers(trained: tuple[Path, Path]) -> None:
    run, data = trained
    files = [str(data / "images" / f"p000_{k}.png") for k in range(2)]
    table = call_lucency("predict", str(run), *files).stdout
    assert "brightness" in table
    assert "90 % interval" in table
    found = json.loads(call_lucency("predict", str(run), *files, "--json").stdout)
    rows = [*csv.DictReader(io.StringIO(call_lucency("predict", str(run), *files, "--csv").stdout))]
    for each, row in zip(found, rows, strict=True):
        value = each["value"]
        assert float(row["value"]) == value["predicted"]
        assert [float(row["low"]), float(row["high"])] == value["interval"]
        assert value["interval"][0] < value["predicted"] < value["interval"][1]
        assert each["decision"] in {None, number_text(value["predicted"])}


def test_an_exported_file_gives_the_numbers_of_predict(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    run, data = trained
    done = call_lucency("export", str(run), str(data), "--format", "onnx", "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    certificate = json.loads((tmp_path / "o/certificate.json").read_text())
    assert {*certificate["answers"]} == {"value", "interval"}
    for each in certificate["answers"].values():
        assert each["n"] == certificate["agreement"]["n"]
        assert each["max_abs_difference"] <= each["tolerance"]
    session = InferenceSession(tmp_path / "o/model.onnx")
    classifier, path = Classifier.load(run), data / "images" / "p000_0.png"
    (expected,) = classifier.predict([path])
    pixels = read_image(path, classifier.spec.size, classifier.spec.channels == 3)[None]
    value, interval = session.run(["value", "interval"], {"pixels": pixels})
    assert expected.value is not None
    assert value == pytest.approx([expected.value["predicted"]], rel=1e-5)
    assert interval[0] == pytest.approx(expected.value["interval"], rel=1e-5)
    outputs = json.loads((tmp_path / "o/model.json").read_text())["outputs"]
    assert "brightness" in outputs["value"]


def test_other_images_are_evaluated(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = trained
    other = draw_spots(tmp_path / "other", images=10)
    done = call_lucency("evaluate", str(run), str(other), "--labels", "labels.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 10
    wrong = call_lucency("evaluate", str(run), "--operating-point", "youden")
    assert wrong.returncode == 2
    assert "predicts numbers" in wrong.stderr


# -- from scikit-learn -----------------------------------------------------------------------------


def spots(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return images (count, 16, 16), and the grey level that each has on average."""
    levels = np.random.default_rng(0).uniform(40, 200, count)
    noise = np.random.default_rng(1).normal(0, 5, (count, 16, 16))
    return (levels[:, None, None] + noise).clip(0, 255).astype(np.uint8), levels


def test_the_regressor_learns_numbers(small_network: None) -> None:
    images, levels = spots(96)
    regressor = LucencyRegressor(
        effort="quick", epochs=2, size=16, settings={"precision": "float32", "start": "scratch"}
    )
    groups = [f"p{i // 2}" for i in range(96)]
    fitted = clone(regressor).fit(images, levels, groups=groups)
    predicted, intervals = fitted.predict(images), fitted.predict_interval(images)
    assert predicted.shape == (96,)
    assert intervals.shape == (96, 2)
    assert (intervals[:, 0] <= predicted).all()
    assert (predicted <= intervals[:, 1]).all()
    assert fitted.score(images, levels) == pytest.approx(r2_score(levels, predicted))
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - made here
    np.testing.assert_allclose(again.predict(images), predicted, rtol=1e-5)
    assert is_regressor(regressor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: np.where(y > 100, np.nan, y), "finite numbers"),
        (np.ones_like, "1 different values"),
        (lambda y: y.astype(str) + "x", "must hold numbers"),
        (lambda _: None, "requires y to be passed"),
    ],
)
def test_the_regressor_refuses_what_is_no_number(
    change: Callable[[Any], Any], message: str
) -> None:
    images, levels = spots(48)
    with pytest.raises(ValueError, match=message):
        LucencyRegressor(effort="quick", size=16).fit(images, change(levels))
    with pytest.raises(ConfigError, match="--positive"):
        LucencyRegressor(effort="quick", settings={"positive": "a"}).fit(images, levels)
