"""One answer for all images of a study, or of a unit that a column names."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.dicom_files import dicom
from PIL import Image

from conftest import call_lucency, draw_folder
from lucency.calibration.conformal import Conformal, fit
from lucency.calibration.units import UnitRule, evidence, first_of, numbered
from lucency.calibration.units import fit as fit_rule
from lucency.classifier import Classifier, Prediction
from lucency.comparison import compare
from lucency.config import Config
from lucency.dataset import Entry
from lucency.dataset.entry import Excluded
from lucency.dataset.units import check_several, check_units, find_units, unread_units
from lucency.errors import ConfigError, DataError
from lucency.evaluation import (
    Predictions,
    evaluate_predictions,
    read_predictions,
    write_predictions,
)
from lucency.imaging.decoder.pool import DecoderPool, Request
from lucency.run_folder.files import EVALUATION
from small_runs import SIDE, TWO, brightness_network, spec_of, write_predicted_run

RULE = UnitRule("", 1.0, (0.0,), 0.5, "the more probable class", None, Conformal(()), name="study")


def with_sets(name: str) -> UnitRule:
    z = np.linspace(-4, 4, 200)
    p = 1 / (1 + np.exp(-z))
    sets = fit(np.stack([1 - p, p], axis=1), (z > 0).astype(np.int64))
    return dataclasses.replace(RULE, conformal=sets, name=name)


def saved_run(run: Path, name: str) -> Path:
    spec = dataclasses.replace(spec_of(), unit=with_sets(name).to_json(), class_prior=(0.5, 0.5))
    weights = {"w": np.ones(spec.weight_count, np.float32)}
    Classifier(spec, weights, brightness_network()).save(run)
    return run


def images(*rows: tuple[str, str, str], label: str = "a") -> list[Entry]:
    """Return entries of file, patient and unit."""
    return [Entry(file, label, group=group, unit=unit) for file, group, unit in rows]


def test_studies_are_named_after_their_first_file() -> None:
    entries = images(("1.dcm", "p", ""), ("2.dcm", "q", ""), ("3.dcm", "p", ""), ("4.dcm", "p", ""))
    found = find_units(entries, "study", ["x", "y", "x", ""])
    assert [entry.unit for entry in found.entries] == ["1.dcm", "2.dcm", "1.dcm", ""]
    assert "No study is known for 1 of 4 images (4.dcm)" in found.warnings[0]


def test_the_cells_of_the_labels_file_count_before_the_header() -> None:
    entries = images(("1.dcm", "p", "A"), ("2.dcm", "p", "B"))
    found = find_units(entries, "study", ["x", "x"])
    assert [entry.unit for entry in found.entries] == ["A", "B"]


def test_images_of_unknown_patients_in_one_unit_are_of_one_patient() -> None:
    entries = images(
        ("a.png", "a.png", "E1"), ("b.png", "b.png", "E1"),
        ("c.png", "p7", "E2"), ("d.png", "d.png", "E2"), ("e.png", "e.png", ""),
    )  # fmt: skip
    found = find_units(entries, "exam_id", [""] * 5)
    assert [entry.group for entry in found.entries] == ["a.png", "a.png", "p7", "p7", "e.png"]


def test_a_unit_lies_within_one_patient() -> None:
    rows = [(f"{k}_{p}.png", f"p{p}", f"visit{k}") for k in range(7) for p in (1, 2)]
    with pytest.raises(
        DataError, match=r"7 visit units .*several patients: visit0 \(p1, p2\)"
    ) as e:
        find_units(images(*rows), "visit", [""] * 14)
    assert "visit4" in str(e.value)
    assert "and 2 more" in str(e.value)
    # Two DICOM patients, each named after the first file that shows them.
    pair = images(("1.dcm", "1.dcm", ""), ("2.dcm", "2.dcm", ""))
    with pytest.raises(DataError, match=r"1\.dcm \(1\.dcm, 2\.dcm\)"):
        find_units(pair, "study", ["x", "x"], ["doe", "roe"])


def test_a_data_set_without_studies_is_one_clear_error() -> None:
    entries = images(("1.png", "p", ""), ("2.png", "p", ""))
    with pytest.raises(DataError, match="StudyInstanceUID, and none of these images has one"):
        find_units(entries, "study", ["", ""])
    with pytest.raises(DataError, match=r"a SeriesInstanceUID, .*Name the series in a column"):
        find_units(entries, "series", ["", ""])
    with pytest.raises(DataError, match="the column 'exam_id' is empty"):
        find_units(entries, "exam_id", ["", ""])
    with pytest.raises(DataError, match="no two of these images have the same exam_id"):
        check_several(images(("1.png", "p", "A"), ("2.png", "p", "B")), "exam_id")


def test_the_images_of_a_study_must_have_one_class() -> None:
    rows = [
        Entry(f"{k}_{label}.dcm", label, unit=f"{k}.dcm") for k in range(6) for label in ("a", "b")
    ]
    with pytest.raises(DataError, match=r"6 studies have several: 0\.dcm \(a, b\), .* and 1 more"):
        check_units(rows, "study")
    check_units([Entry("1.dcm", "a"), Entry("2.dcm", "b")], "study")


def test_a_unit_without_a_readable_image_is_named_with_the_reason() -> None:
    units = {"1.png": "E1", "2.png": "E2", "3.png": "E2"}
    lost = [Excluded("1.png", "damaged"), Excluded("3.png", "damaged")]
    found = unread_units(units, images(("2.png", "p", "E2")), lost, "exam_id")
    assert found == ["Excluded: 1 exam_id without a readable image (E1: 1.png, damaged)."]
    assert not unread_units({}, [], lost, "study")


def test_a_unit_that_is_no_column_is_one_clear_error() -> None:
    with pytest.raises(
        ConfigError, match=r"unit must be one of image, patient, study, series, or the name"
    ):
        Config.load(None, unit="studdy")
    assert Config(unit="exam_id", labels="x.csv").unit == "exam_id"


@pytest.mark.parametrize("classes", [2, 3])
def test_the_decisive_image_changes_the_answer_most_when_it_is_left_out(classes: int) -> None:
    rng = np.random.default_rng(classes)
    bias = (0.3,) if classes == 2 else (0.3, -0.1, -0.2)
    rule = dataclasses.replace(RULE, temperature=0.6, bias=bias)
    for n in (2, 3, 7):
        p = rng.dirichlet(np.ones(classes), n)
        k = int(rng.integers(classes))
        found = evidence(rule, p, k, p.argmax(axis=1))

        def odds(rows: np.ndarray, k: int = k) -> float:
            pooled = rule.probabilities(rows, np.zeros(len(rows), np.int64))[0]
            return float(np.log(pooled[k] / (1 - pooled[k])))

        expected = [odds(p) - odds(np.delete(p, i, axis=0)) for i in range(n)]
        assert found.changes == pytest.approx(expected)
        largest = max(map(abs, expected))
        assert abs(expected[found.decisive]) == pytest.approx(largest)
        assert expected[found.decisive] > 0 or pytest.approx(largest) not in expected
        assert (found.lowest, found.highest) == (p[:, k].min(), p[:, k].max())
        assert found.agree == (p.argmax(axis=1) == k).sum()
    alone = evidence(rule, p[:1], 0, np.array([1]))
    assert (alone.decisive, alone.changes, alone.agree) == (0, (), 0)


def test_the_evidence_does_not_depend_on_the_order_of_images() -> None:
    spec = dataclasses.replace(spec_of(), unit=with_sets("study").to_json())
    classifier = Classifier(spec, {})
    images = [Prediction(f"{k}.png", "", (1 - p, p)) for k, p in enumerate((0.2, 0.9, 0.9, 0.6))]
    first = classifier.predict_unit("s", images)
    assert first == classifier.predict_unit("s", images[::-1])
    assert first.evidence is not None
    assert (first.evidence["image"], first.evidence["agree"]) == ("0.png", 3)
    assert classifier.predict_unit("s", images[:1]).evidence == {
        "class": TWO[0], "image": "0.png", "change": None, "images": 1, "agree": 1,
        "lowest": 0.8, "highest": 0.8,
    }  # fmt: skip


def predictions_of(rows: int = 120) -> Predictions:
    """Return predictions of two studies of two images for each of 30 patients."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, rows // 2), 2)
    p = 1 / (1 + np.exp(-rng.normal(2.0 * (2 * labels - 1), 2)))
    return Predictions(
        split="test", classes=TWO, files=tuple(f"{i}.png" for i in range(rows)),
        groups=tuple(f"p{i // 4}" for i in range(rows)), labels=labels,
        decisions=(p >= 0.5).astype(np.int64), probabilities=np.stack([1 - p, p], axis=1),
        units=tuple("" if i == 0 else f"s{i // 2}" for i in range(rows)),
    )  # fmt: skip


def test_studies_are_evaluated_with_intervals_by_patient() -> None:
    spec = dataclasses.replace(spec_of(), unit=with_sets("study").to_json(), class_prior=(0.5, 0.5))
    found = evaluate_predictions(Classifier(spec, {}), predictions_of()).per_unit
    assert found is not None
    assert (found.unit, found.n, found.groups) == ("study", 61, 30)


def test_sets_of_studies_are_calibrated_by_patient() -> None:
    """Two studies of a patient are no two patients: as many ranks as there are patients."""
    p = predictions_of(800)
    rule = fit_rule(p.probabilities, p.labels, p.units, (0.5, 0.5), patients=p.groups)
    alone = fit_rule(p.probabilities, p.labels, p.units, (0.5, 0.5))
    _, unit = numbered(p.units)
    assert len(first_of(unit)) == 401
    assert sum(rule.conformal.thresholds[0].patients) < sum(alone.conformal.thresholds[0].patients)


def test_predictions_with_units_are_read_back(tmp_path: Path) -> None:
    given = predictions_of(8)
    val = dataclasses.replace(given, split="val", units=("",) * 8)
    write_predictions(tmp_path / "p.csv", [val, given])
    first, second = read_predictions(tmp_path / "p.csv")
    assert (first.units, second.units) == (val.units, given.units)
    assert second.classes == TWO
    assert (second.probabilities == given.probabilities).all()
    write_predictions(tmp_path / "q.csv", [dataclasses.replace(given, units=())])
    assert "unit" not in (tmp_path / "q.csv").read_text().splitlines()[0]


def test_runs_are_compared_on_studies_where_all_have_answers_for_them(tmp_path: Path) -> None:
    found, folders = predictions_of(), []
    for k, name in enumerate(("study", "study", "patient")):
        of = dataclasses.replace(found, probabilities=found.probabilities ** (1 + k))
        of.probabilities[:] /= of.probabilities.sum(axis=1, keepdims=True)
        (tmp_path / f"{k}").mkdir()
        run = write_predicted_run(
            tmp_path / f"{k}", of, [f"{i:064x}" for i in range(120)], effort=("a", "b", "c")[k]
        )
        document = json.loads((run / "classifier.json").read_text())
        document["unit"] = with_sets(name).to_json()
        document["weights"] = {"sha256": f"{k}"}
        (run / "classifier.json").write_text(json.dumps(document))
        folders.append(run)
    both = compare(folders[:2])
    assert (both.unit, both.n, both.groups, both.images) == ("study", 61, 30, 120)
    assert "studies" in " ".join(both.conclusions)
    assert compare([folders[0], folders[2]]).unit == "image"


def write_studies(folder: Path) -> Path:
    """Write five DICOM files: a patient with two studies, one with one."""
    folder.mkdir()
    bright = np.full((SIDE, SIDE), 240, np.uint8)
    for name, patient, study, series in (
        ("1", "Doe", "1.2.1", "1.3.1"), ("2", "Doe", "1.2.2", "1.3.1"),
        ("3", "Doe", "1.2.1", "1.3.2"), ("4", "Roe", "1.2.3", "1.3.3"), ("5", "Poe", None, None),
    ):  # fmt: skip
        ids = {"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": series}
        file = dicom(bright, **ids)
        (folder / f"{name}.dcm").write_bytes(file)
    return folder


def test_the_decoder_hashes_study_and_series(tmp_path: Path) -> None:
    folder, salt = write_studies(tmp_path / "dicom"), b"s" * 16
    names = [str(folder / f"{k}.dcm") for k in range(1, 6)]
    with DecoderPool(1) as pool:
        found = [*pool.map(Request(name, (4, 4), False, salt=salt) for name in names)]
        (plain,) = pool.map([Request(names[0], (4, 4), False)])
    studies = [each.study for each in found]
    assert studies[0] == studies[2] != studies[1]
    assert (studies[4], plain.study, plain.series, plain.patient) == ("", "", "", "")
    series = [each.series for each in found]
    assert series[0] == series[1] != series[2]
    assert (series[4], len({*series, *studies})) == ("", 7)
    assert len({*studies[:4]}) == 3
    assert b"1.2.1".hex() not in studies[0]


def test_dicom_files_are_of_the_studies_in_their_headers(tmp_path: Path) -> None:
    folder, run = write_studies(tmp_path / "dicom"), saved_run(tmp_path / "run", "study")
    found = call_lucency("predict", run, folder, "--json")
    rows = [(Path(x["study"]).name, len(x["images"])) for x in json.loads(found.stdout)]
    assert rows == [("1.dcm", 2), ("2.dcm", 1), ("4.dcm", 1), ("5.dcm", 1)]
    assert "No study is known for 1 of 5 images" in found.stderr
    assert "1.2.1" not in found.stdout + found.stderr
    table = csv.DictReader(io.StringIO(call_lucency("predict", run, folder, "--csv").stdout))
    row = next(iter(table))
    assert row["study"].endswith("1.dcm")
    assert row["decisive_image"].endswith(("1.dcm", "3.dcm"))
    assert (row["images"], row["agree"], float(row["change"])) == ("2", "2", 0)


def test_dicom_files_are_of_the_series_in_their_headers(tmp_path: Path) -> None:
    folder, run = write_studies(tmp_path / "dicom"), saved_run(tmp_path / "run", "series")
    found = call_lucency("predict", run, folder, "--json")
    rows = [(Path(x["series"]).name, len(x["images"])) for x in json.loads(found.stdout)]
    assert rows == [("1.dcm", 2), ("3.dcm", 1), ("4.dcm", 1), ("5.dcm", 1)]
    assert "No series is known for 1 of 5 images" in found.stderr


def test_a_negative_change_is_a_number_in_csv(tmp_path: Path) -> None:
    run, folder = saved_run(tmp_path / "run", "study"), tmp_path / "dicom"
    folder.mkdir()
    for name, grey in (("1", 250), ("2", 240), ("3", 90)):
        pixels = np.full((SIDE, SIDE), grey, np.uint8)
        file = dicom(pixels, PatientID="Doe", StudyInstanceUID="1.2.1")
        (folder / f"{name}.dcm").write_bytes(file)
    text = call_lucency("predict", run, folder, "--csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["decisive_image"].endswith("3.dcm")
    assert float(row["change"]) < 0
    assert (row["images"], row["agree"]) == ("3", "2")


def test_a_table_names_the_units_of_new_images(tmp_path: Path) -> None:
    run, folder = saved_run(tmp_path / "run", "exam_id"), tmp_path / "new"
    folder.mkdir()
    for name in "abc":
        Image.new("L", (SIDE, SIDE), 240).save(folder / f"{name}.png")
    (folder / "c.png").write_bytes(b"damaged")
    table = tmp_path / "exams.csv"
    table.write_text("file,exam_id\na.png,E1\nb.png,E1\nc.png,E2\nother.png,E9\n")
    found = call_lucency("predict", run, folder, "--labels", table, "--json")
    answers = json.loads(found.stdout)
    assert [(x["unit"], len(x["images"])) for x in answers] == [("E1", 2), ("E2", 1)]
    assert answers[1]["reason"] == "no image of the exam_id can be read"
    without = call_lucency("predict", run, folder)
    assert "No exam_id is known for 3 of 3 images" in without.stderr
    assert "--labels FILE" in without.stderr
    for text, message in (
        ("file,exam\na.png,E1\n", "there is no column 'exam_id', which --unit names"),
        ("exam_id\nE1\n", "the column 'file' is missing"),
        ("file,exam_id\na.png,E1\na.png,E2\n", "several values of exam_id (E1, E2)"),
    ):
        table.write_text(text)
        wrong = call_lucency("predict", run, folder, "--labels", table)
        assert wrong.returncode == 2
        assert message in wrong.stderr
    patients = saved_run(tmp_path / "patients", "patient")
    assert call_lucency("predict", patients, folder, "--labels", table).returncode == 2


@pytest.mark.usefixtures("small_network")
def test_a_whole_run_answers_for_the_values_of_a_column(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "spots", 24)
    files = sorted(folder.rglob("*.png"))
    # Four images of a patient, in two exams.
    lines = [
        f"{x.relative_to(folder)},{x.parent.name},{x.name[7]}-{int(x.name[8:11]) // 2},"
        + x.name[:11]
        for x in files
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["file,label,patient,exam_id", *lines]) + "\n")
    run = tmp_path / "run"
    quick = ("--effort", "quick", "--start", "scratch", "--set", "epochs=1", "--set", "size=24")
    command = ("train", folder, "--labels", labels, "--quiet", "--run", run, *quick)
    wrong = call_lucency(*command, "--unit", "exam", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Received: file,label,patient,exam_id" in wrong.stderr.splitlines()[-1]
    assert "Did you mean 'exam_id'?" in wrong.stderr.splitlines()[-1]
    found = call_lucency(*command, "--unit", "exam_id", "--folds", "2", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    folds = EVALUATION.read(run)["cross_validation"]
    assert folds["per_unit"]["unit"] == "exam_id"
    assert folds["per_unit"]["n"] == 2 * folds["per_unit"]["groups"]
    assert call_lucency("verify", run).returncode == 0
    assert "One answer for each <bdi>exam_id</bdi>" in (run / "report.html").read_text()
    assert "What some answers rest on" in (run / "report.html").read_text()
    assert "Pooling: " in (run / "report.html").read_text()
    assert "with one answer for each exam" in (run / "model_card.md").read_text()
    unit = json.loads((run / "classifier.json").read_text())["unit"]
    assert (unit["name"], unit["pooling"]) == ("exam_id", 0)
    assert unit["pooling_rule"] in (run / "report.html").read_text()
    again = call_lucency("evaluate", run, folder, "--labels", labels, "--json")
    assert json.loads(again.stdout)["per_unit"]["n"] == 24
    assert "--labels FILE" in call_lucency("evaluate", run, folder).stderr
