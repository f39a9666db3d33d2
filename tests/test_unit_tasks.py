"""Numbers and several labels with one answer for all images of a unit."""

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
from PIL import Image
from scipy import special

from conftest import call_lucency
from lucency.calibration.units import pooled_targets
from lucency.calibration.values import fit, value_evidence
from lucency.classifier import Classifier, Prediction, Spec
from lucency.comparison import compare
from lucency.config import Config
from lucency.dataset import Entry, load_dataset
from lucency.dataset.units import check_units
from lucency.errors import ClassifierError, DataError
from lucency.evaluation import evaluate_predictions
from lucency.evaluation.predictions import decided
from lucency.run_folder.files import EVALUATION
from lucency.serve.inference.service import Service
from lucency.tracking.tracker import of_evaluation
from serving import QUICK, form, running
from small_runs import (
    NAMES,
    labelled_predictions,
    labelled_spec,
    labelled_unit_spec,
    write_predicted_run,
)
from small_values import RULE, UNIT_RULE, draw_values, value_unit_spec

NUMBERS, LABELS = value_unit_spec(), labelled_unit_spec()
OF_LABELS = [dict(each) for each in (LABELS.unit or {})["labels"]]
BOTH = pytest.mark.parametrize("spec", [NUMBERS, LABELS], ids=["numbers", "labels"])
SETTINGS = (
    "--labels", "labels.csv", "--effort", "quick", "--start", "scratch", "--folds", "0", "--quiet",
    "--set", "size=16", "--set", "epochs=1", "--set", "batch=16", "--set", "precision=float32",
    "--set", "val_fraction=0.25", "--set", "test_fraction=0.25",
)  # fmt: skip


def images_of(rows: Any) -> list[Prediction]:
    return [Prediction(f"{i:06}", "", tuple(map(float, row))) for i, row in enumerate(rows)]


# -- the rule --------------------------------------------------------------------------------------


def test_each_label_has_its_own_calibrated_pooling_of_log_odds() -> None:
    rule, random = LABELS.unit_rule, np.random.default_rng(0)
    assert rule is not None
    p, unit = random.uniform(0.02, 0.98, (12, 3)), np.repeat([0, 1, 2], [3, 4, 5])
    found = rule.probabilities(p, unit)
    for k, each in enumerate(rule.labels):
        r, logits = each["pooling"], [special.logit(p[unit == i, k]) for i in range(3)]
        z = [np.log(np.exp(r * own).mean()) / r if r else own.mean() for own in logits]
        expected = special.expit((np.array(z) + each["bias"]) / each["temperature"])
        np.testing.assert_allclose(found[:, k], expected)
    order = random.permutation(12)
    moved = rule.probabilities(p[order], unit[order])
    assert (moved == found).all()  # to the last bit


def test_a_certain_image_does_not_outweigh_the_others() -> None:
    """A float32 probability is 1 from log odds of 17 on, and its own log odds are infinite."""
    rule = LABELS.unit_rule
    assert rule is not None
    p = np.array([[1.0, 0.0, 1.0], *[[0.01, 0.99, 0.01]] * 4])
    found = rule.probabilities(p, np.zeros(5, np.int64))[0]
    assert found[0] < 0.5 < found[1]


def test_a_label_is_known_where_one_image_knows_it() -> None:
    targets = np.array([[-1, 0, -1], [1, -1, -1], [-1, -1, 0]], np.float32)
    found = pooled_targets(targets, np.array([0, 0, 1]))
    assert found.tolist() == [[1, 0, -1], [-1, -1, 0]]


@BOTH
def test_the_rule_is_read_as_it_was_written(spec: Spec) -> None:
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again.unit_rule == spec.unit_rule
    decides = again.per_unit
    assert decides is not None
    assert (decides.labels, decides.value) != (spec.labels, spec.value)
    assert ([*decides.labels], decides.value) == (
        spec.unit and spec.unit.get("labels", []), spec.unit and spec.unit.get("value")
    )  # fmt: skip
    assert labelled_spec().per_unit is None


@pytest.mark.parametrize(
    ("spec", "change"),
    [
        *((NUMBERS, wrong) for wrong in (
            {"value": None}, {"value": "x"}, {"bias": []}, {"labels": OF_LABELS},
            {"value": RULE.to_json() | {"offset": "1"}}, {"value": RULE.to_json() | {"edges": [0]}},
        )),
        *((LABELS, wrong) for wrong in (
            {"value": RULE.to_json()}, *({"labels": x} for x in ([], None, 3)),
            {"labels": OF_LABELS[:2]}, {"labels": [1, 2, 3]},
        )),
        *((LABELS, {"labels": [{**each, **wrong} for each in OF_LABELS]}) for wrong in (
            {"temperature": 0}, {"bias": "x"}, {"threshold": 2}, {"conformal": {}},
            {"pooling": "x"}, {"pooling": 101}, {"pooling_rule": None},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_rule_is_refused(spec: Spec, change: dict[str, Any]) -> None:
    document = spec.to_json()
    with pytest.raises(ClassifierError, match=r"classifier\.json"):
        Spec.from_json({**document, "unit": {**document["unit"], **change}})
    missing = {k: v for k, v in document["unit"].items() if k not in ("labels", "value")}
    with pytest.raises(ClassifierError):
        Spec.from_json({**document, "unit": missing})


# -- answers and what they rest on -----------------------------------------------------------------


def test_the_number_of_a_unit_rests_on_its_images() -> None:
    spec, random = NUMBERS, np.random.default_rng(1)
    rule = spec.unit_rule
    assert rule is not None
    p = random.dirichlet(np.full(len(RULE.centres), 0.2), 5)
    answer = Classifier(spec, {}).predict_unit("a", images_of(p))
    number = RULE.predicted(rule.probabilities(p, np.zeros(5, np.int64)))[0]
    without = [
        RULE.predicted(rule.probabilities(np.delete(p, i, axis=0), np.zeros(4, np.int64)))[0]
        for i in range(5)
    ]
    changes, own = number - np.array(without), RULE.predicted(p)
    assert answer.value is not None
    low, high = answer.value["interval"]
    assert answer.value["predicted"] == pytest.approx(number)
    decisive = int(abs(changes).argmax())
    assert answer.evidence == {
        "image": f"{decisive:06}", "change": pytest.approx(changes[decisive]), "images": 5,
        "agree": int(((low <= own) & (own <= high)).sum()),
        "lowest": pytest.approx(own.min()), "highest": pytest.approx(own.max()),
    }  # fmt: skip
    alone = Classifier(spec, {}).predict_unit("a", images_of(p[:1])).evidence
    assert alone is not None
    assert (alone["change"], alone["images"]) == (None, 1)
    none = value_evidence(dataclasses.replace(RULE, offset=None), rule, p)
    assert none.agree is None


def test_a_wide_interval_of_a_unit_is_no_answer() -> None:
    p = np.full((2, len(RULE.centres)), 1 / len(RULE.centres))
    spec = value_unit_spec(dataclasses.replace(UNIT_RULE, tolerance=20.0))
    found = Classifier(spec, {}).predict_unit("a", images_of(p))
    assert found.decision == ""
    assert found.reason.startswith("ambiguous: ")


def test_the_labels_of_a_unit_rest_on_its_images() -> None:
    spec = LABELS
    p = np.array([[0.9, 0.8, 0.1], [0.2, 0.9, 0.2], [0.95, 0.7, 0.1]])
    answer = Classifier(spec, {}).predict_unit("a", images_of(p))
    assert answer.evidence is not None
    assert (answer.evidence["images"], [*answer.evidence["labels"]]) == (3, ["a", "b"])
    of_a = answer.evidence["labels"]["a"]
    z = special.logit(p[:, 0])
    changes = [(z.mean() - np.delete(z, i).mean()) / 0.5 for i in range(3)]
    assert of_a == {
        "image": "000001", "change": pytest.approx(changes[1]), "images": 3, "agree": 2,
        "lowest": pytest.approx(0.2), "highest": pytest.approx(0.95),
    }  # fmt: skip
    none = Classifier(spec, {}).predict_unit("a", images_of(p * 0.05))
    assert (none.decision, none.evidence) == ("No finding", {"images": 3, "labels": {}})


@BOTH
def test_the_order_of_images_changes_nothing(spec: Spec) -> None:
    random, n = np.random.default_rng(3), len(spec.classes)
    images = images_of(random.dirichlet(np.ones(n), 7) if spec.value else random.random((7, n)))
    classifier = Classifier(spec, {})
    first = json.dumps(classifier.predict_unit("a", images).to_json(spec.classes))
    again = json.dumps(classifier.predict_unit("a", images[::-1]).to_json(spec.classes))
    assert first == again


# -- figures ---------------------------------------------------------------------------------------


def test_numbers_of_patients_are_evaluated() -> None:
    spec, drawn = NUMBERS, draw_values(0)
    assert drawn.values is not None
    same = np.repeat(drawn.values[::2], 2)  # the images of a patient have one number
    found = dataclasses.replace(drawn, values=same, labels=drawn.labels[::2].repeat(2))
    evaluation = evaluate_predictions(Classifier(spec, {}), found)
    per_unit = evaluation.per_unit
    assert per_unit is not None
    assert (per_unit.unit, per_unit.n, per_unit.groups, evaluation.n) == ("patient", 60, 60, 120)
    rule = spec.unit_rule
    assert rule is not None
    p = rule.probabilities(found.probabilities, np.arange(120) // 2)
    predicted, ends = UNIT_RULE.predicted(p), UNIT_RULE.intervals(p)
    assert ends is not None
    truth = same[::2]
    assert per_unit.metrics["mean_absolute_error"].value == pytest.approx(
        abs(predicted - truth).mean()
    )
    inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    assert per_unit.metrics["interval_coverage"].value == pytest.approx(inside.mean())
    assert per_unit.baseline["mean_absolute_error"] == pytest.approx(abs(truth - RULE.mean).mean())
    assert per_unit.values is not None
    assert per_unit.values["offset"] == UNIT_RULE.offset
    assert evaluation.values is not None
    assert evaluation.values["offset"] == RULE.offset


def agreeing(seed: int = 0) -> Any:
    """Return predictions of labels whose images of a patient do not contradict each other."""
    found = labelled_predictions(seed=seed)
    targets = np.array(found.targets)
    first = targets[::2].repeat(2, axis=0)
    both = (targets >= 0) & (first >= 0)
    return dataclasses.replace(found, targets=np.where(both, first, targets))


def test_labels_of_patients_are_evaluated_where_they_are_known() -> None:
    spec, found = LABELS, agreeing()
    evaluation = evaluate_predictions(Classifier(spec, {}), found)
    per_unit = evaluation.per_unit
    assert per_unit is not None
    assert (per_unit.n, per_unit.groups, evaluation.n) == (150, 150, 300)
    assert per_unit.labels is not None
    targets = found.targets.reshape(150, 2, 3).max(axis=1)
    for k, name in enumerate(NAMES):
        assert per_unit.labels[name].n == (targets[:, k] >= 0).sum()
        assert per_unit.labels[name].operating_point["threshold"] == 0.45
    mean = np.mean([each.metrics["auroc"].value for each in per_unit.labels.values()])
    assert per_unit.metrics["auroc"].value == pytest.approx(mean)
    assert per_unit.metrics["auroc"].low < mean < per_unit.metrics["auroc"].high
    logged = of_evaluation({"test": evaluation.to_json()})
    assert logged["test_patients_labels/a/auroc"] == per_unit.labels["a"].metrics["auroc"].value


def test_intervals_of_units_hold_for_new_patients() -> None:
    """With units of several images that agree, whose pooled distribution is too narrow."""
    spec, shares = NUMBERS, []
    rule = spec.unit_rule
    assert rule is not None
    for seed in range(20):
        halves = [draw_values(2 * seed + k, noise=9.0) for k in range(2)]
        (fitted, true), (p, new) = (
            (rule.probabilities(x.probabilities, np.arange(120) // 2), np.array(x.values)[::2])
            for x in halves
        )
        chosen = fit(RULE, fitted, true, [f"{i}" for i in range(60)])
        ends = chosen.intervals(p)
        assert ends is not None
        shares.append(((ends[:, 0] <= new) & (new <= ends[:, 1])).mean())
    # sd of a mean of 20 shares of 60: 0.9 % from the new patients, about as much from the others.
    assert np.mean(shares) > 0.9 - 4 * 0.013


@BOTH
def test_runs_are_compared_on_units(tmp_path: Path, spec: Spec) -> None:
    draw = draw_values if spec.value else agreeing
    folders, first = [], draw(0)
    values = None if first.values is None else first.values[::2].repeat(2)
    drawn = [
        decided(dataclasses.replace(x, values=values, targets=first.targets), spec)
        for x in (first, draw(1))
    ]
    for k, given in enumerate(drawn):
        hashes = [f"{i:064x}" for i in range(len(given.files))]
        (tmp_path / f"{k}").mkdir()
        run = write_predicted_run(tmp_path / f"{k}", given, hashes, effort=f"{k}")
        document = {**spec.to_json(), "weights": {"sha256": f"{k}"}}
        (run / "classifier.json").write_text(json.dumps(document))
        folders.append(run)
    both = compare(folders)
    n = len(first.files) // 2
    assert (both.unit, both.n, both.groups, both.images) == ("patient", n, n, 2 * n)
    key = "mean_absolute_error" if spec.value else "auroc"
    per_unit = [evaluate_predictions(Classifier(spec, {}), x).per_unit for x in drawn]
    figures = [each.metrics[key].value for each in per_unit if each]
    assert [x.metrics[key].estimate.value for x in both.systems] == pytest.approx(figures)
    assert both.pairs[0].differences[key].value == pytest.approx(figures[1] - figures[0])


# -- refusals --------------------------------------------------------------------------------------


def test_the_images_of_a_unit_must_have_one_number() -> None:
    pairs = [(i, k) for i in range(7) for k in (0, 1)]
    rows = [Entry(f"{i}_{k}.png", "b", unit=f"e{i}", value=i + k / 10) for i, k in pairs]
    with pytest.raises(DataError, match="--unit exam needs one number for each exam") as e:
        check_units(rows, "exam")
    message = "7 exam units have several: e0 (0.0, 0.1), e1 (1.0, 1.1), e2 (2.0, 2.1), e3 (3.0"
    assert message in str(e.value)
    assert "e4 (4.0, 4.1) and 2 more. Correct the labels" in str(e.value)
    check_units(rows[::2], "exam")


def test_the_images_of_a_unit_must_not_contradict_each_other() -> None:
    texts = ["|a|?b|", "|?a|b|"]
    pairs = [(i, k) for i in range(7) for k in (0, 1)]
    rows = [Entry(f"{i}_{k}.png", "x", group=f"p{i}", states=texts[k]) for i, k in pairs]
    check_units(rows, "patient", ("a", "b"))
    wrong = [row._replace(states="|b|") if row.file.endswith("1.png") else row for row in rows]
    with pytest.raises(DataError, match="7 patients contradict each other") as e:
        check_units(wrong, "patient", ("a", "b"))
    assert "p0 (a), p1 (a), p2 (a), p3 (a), p4 (a) and 2 more. Correct the" in str(e.value)


def test_patients_with_similar_images_answer_apart_where_they_disagree(tmp_path: Path) -> None:
    folder, random, lines = tmp_path / "data", np.random.default_rng(0), ["file,patient,value"]
    folder.mkdir()
    for i in range(80):
        grey = random.integers(0, 256, (24, 24), np.uint8)
        if i == 0:
            first = grey
        if i == 2:  # of another patient
            grey = first.copy()
            grey[0, 0] ^= 1
        Image.fromarray(grey).save(folder / f"{i}.png")
        lines.append(f"{i}.png,p{i // 2},{i // 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    config = Config(
        labels="labels.csv", task="regression", unit="patient", size=16, folds=0,
        cache=str(tmp_path / "cache"),
    )  # fmt: skip
    data = load_dataset(folder, config)
    of = {entry.file: entry for entry in data.entries}
    assert of["0.png"].group == of["2.png"].group
    assert (of["0.png"].unit, of["2.png"].unit) == ("p0", "p1")
    assert len({entry.unit for entry in data.entries}) == 40
    lines[3:5] = ["2.png,p1,0", "3.png,p1,0"]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    assert load_dataset(folder, config).train.units == ()  # they agree, and have one answer


# -- whole runs ------------------------------------------------------------------------------------


def draw_exams(folder: Path, task: str, patients: int = 40) -> Path:
    """Draw two exams of two images each for every patient, with a number or two labels each."""
    (folder / "images").mkdir(parents=True)
    truth = "brightness" if task == "regression" else "left,right"
    lines = [f"file,patient,exam,{truth}"]
    for i in range(4 * patients):
        random = np.random.default_rng([11, i // 2])
        number, has = random.uniform(20, 180), random.random(2) < 0.45
        grey = 40 + np.random.default_rng([12, i]).normal(0, 8, (24, 24))
        grey[8:16, 8:16] += number if task == "regression" else 0
        for at, is_there in zip((2, 15), has, strict=True):
            grey[:6, at : at + 7] += 110 * (is_there and task != "regression")
        name = f"images/{i:03d}.png"
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / name)
        cells = f"{number:.3f}" if task == "regression" else ",".join(map(str, has.astype(int)))
        if i % 8 == 1 and task != "regression":
            cells = f",{int(has[1])}"  # the other image of the exam knows the first label
        lines.append(f"{name},p{i // 4:02d},p{i // 4:02d}-{i // 2 % 2},{cells}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module", params=["regression", "multilabel"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Train from the command line; return the task, the run and its images."""
    place = tmp_path_factory.mktemp(request.param)
    data = draw_exams(place / "data", request.param)
    column = ("--label-column", "brightness") if request.param == "regression" else ()
    with small.small_network():
        done = call_lucency(
            "train", data, "--run", place / "run", "--task", request.param, "--unit", "exam",
            *column, *SETTINGS,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return request.param, place / "run", data


def exam(data: Path, number: int) -> list[Path]:
    return [data / "images" / f"{2 * number + k:03d}.png" for k in range(2)]


def test_a_run_answers_for_exams(trained: tuple[str, Path, Path]) -> None:
    task, run, _ = trained
    spec = Classifier.load(run).spec
    rule = spec.unit_rule
    assert rule is not None
    assert (rule.name, rule.key, bool(rule.labels)) == ("exam", "unit", task == "multilabel")
    for split in ("validation", "test"):
        found = EVALUATION.read(run)[split]
        assert found["n"] == 2 * found["per_unit"]["n"]
        assert found["groups"] == found["per_unit"]["groups"] <= found["n"] / 4
    page = (run / "report.html").read_text()
    assert "One answer for each <bdi>exam</bdi>" in page
    assert "with one answer for each exam" in (run / "model_card.md").read_text()
    assert "What some answers rest on" in page or task == "multilabel"
    verified = call_lucency("verify", run)
    assert verified.returncode == 0, verified.stdout
    again = json.loads(call_lucency("evaluate", run, "--json").stdout)
    assert again["per_unit"] == EVALUATION.read(run)["test"]["per_unit"]


def test_a_changed_figure_of_exams_is_found(trained: tuple[str, Path, Path]) -> None:
    task, run, _ = trained
    key = "mean_absolute_error" if task == "regression" else "brier"
    before = (run / "evaluation.json").read_text()
    document = json.loads(before)
    document["test"]["per_unit"]["metrics"][key]["value"] += 0.01
    (run / "evaluation.json").write_text(json.dumps(document))
    found = call_lucency("verify", run)
    (run / "evaluation.json").write_text(before)
    assert found.returncode == 3
    assert f"per_unit.metrics.{key}" in found.stdout + found.stderr


def test_predict_answers_for_exams(trained: tuple[str, Path, Path]) -> None:
    task, run, data = trained
    labels = ("--labels", data / "labels.csv")
    files = [*exam(data, 0), *exam(data, 5)]
    found = call_lucency("predict", run, *files, *labels, "--json")
    answers = json.loads(found.stdout)
    assert [(x["unit"], len(x["images"])) for x in answers] == [("p00-0", 2), ("p02-1", 2)]
    moved = call_lucency("predict", run, *files[::-1], *labels, "--json")
    for one, other in zip(answers, json.loads(moved.stdout)[::-1], strict=True):
        assert one | {"images": 0} == other | {"images": 0}
    table = call_lucency("predict", run, *files, *labels, "--csv").stdout
    rows = [*csv.DictReader(io.StringIO(table))]
    for row, answer in zip(rows, answers, strict=True):
        evidence = answer["evidence"]
        assert (row["exam"], row["images"]) == (answer["unit"], "2")
        if task == "regression":
            assert float(row["value"]) == answer["value"]["predicted"]
            assert row["decisive_image"] == evidence["image"]
            assert float(row["change"]) == evidence["change"]
            assert evidence["lowest"] <= evidence["highest"]
            assert 0 <= evidence["agree"] <= 2
        else:
            named = {k: row[f"decisive_image_{k}"] for k in ("left", "right")}
            known = {k: x["image"] for k, x in evidence["labels"].items()}
            assert named == {k: known.get(k, "") for k in named}
    shown = call_lucency("predict", run, *files, *labels)
    assert shown.returncode == 0
    assert "p00-0" in shown.stdout + shown.stderr


def test_a_form_is_one_exam(trained: tuple[str, Path, Path]) -> None:
    _, run, data = trained
    files = exam(data, 3)
    body, kind = form(*(file.read_bytes() for file in files))
    with running(Service(run, QUICK)) as service:
        found = service.ask("POST", "/v1/predict", body, content_type=kind).json["unit"]
    labels = ("--labels", data / "labels.csv")
    (answer,) = json.loads(call_lucency("predict", run, *files, *labels, "--json").stdout)
    assert found["decision"] == answer["decision"]
    assert found["probabilities"] == pytest.approx(answer["probabilities"], rel=1e-5)
    evidence, expected = found["evidence"], answer["evidence"]
    for one, other in (
        (evidence, expected),
        *((evidence["labels"][k], each) for k, each in expected.get("labels", {}).items()),
    ):
        assert one.keys() == other.keys()
        if "image" in one:
            assert files[one["image"]] == Path(other["image"])


def test_other_exams_are_evaluated(trained: tuple[str, Path, Path], tmp_path: Path) -> None:
    task, run, _ = trained
    other = draw_exams(tmp_path / "other", task, patients=6)
    labels = ("--labels", other / "labels.csv")
    done = call_lucency("evaluate", run, other, *labels, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["n"], found["per_unit"]["n"], found["per_unit"]["groups"]) == (24, 12, 6)
    lines = (other / "labels.csv").read_text().splitlines()
    lines[1] = lines[1].rsplit(",", 1 if task == "regression" else 2)[0]
    lines[1] += ",12.5" if task == "regression" else ",1,1"
    lines[2] = lines[2].rsplit(",", 1 if task == "regression" else 2)[0]
    lines[2] += ",13.5" if task == "regression" else ",0,1"
    (other / "labels.csv").write_text("\n".join(lines) + "\n")
    wrong = call_lucency("evaluate", run, other, *labels)
    assert wrong.returncode == 2
    assert "p00-0" in wrong.stderr.splitlines()[-1]


def test_thresholds_of_labels_are_chosen_again_for_exams(trained: tuple[str, Path, Path]) -> None:
    task, run, _ = trained
    found = call_lucency("evaluate", run, "--operating-point", "sensitivity>=0.5", "--json")
    if task == "regression":
        assert (found.returncode, "predicts numbers" in found.stderr) == (2, True)
        return
    per_unit = json.loads(found.stdout)["per_unit"]
    assert all(
        "sensitivity" in each["operating_point"]["rule"] for each in per_unit["labels"].values()
    )


def test_frames_of_a_file_have_one_number(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    lines, random = ["file,value"], np.random.default_rng(0)
    for i in range(40):
        frames = [Image.fromarray(random.integers(0, 256, (16, 16), np.uint8)) for _ in range(3)]
        frames[0].save(folder / f"{i}.tif", save_all=True, append_images=frames[1:])
        lines.append(f"{i}.tif,{i}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    config = Config(
        labels="labels.csv", task="regression", frames="all", size=16, folds=0,
        cache=str(tmp_path / "cache"),
    )  # fmt: skip
    data = load_dataset(folder, config)
    assert len(data.train) == 3 * len({*data.train.units})
    assert data.train.values is not None
