"""From the same outputs the page makes the same predictions as ``lucency predict``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from lucency.calibration.conformal import Threshold
from lucency.calibration.conformal import fit as fit_sets
from lucency.calibration.ood import OODDetector, fit
from lucency.calibration.units import UnitRule
from lucency.classifier import Classifier, Prediction, Spec
from lucency.classifier.activation_map import ActivationMap, is_binary, signed
from lucency.classifier.prediction import at_cut, label_prediction, predicted
from lucency.metrics import decide
from lucency.serve.web import about as web_about
from lucency.task import task_of
from small_runs import labelled_unit_spec
from small_values import UNIT_RULE, value_unit_spec
from web_browser import browser, modules, packed

OOD_DETECTOR = """async ([file, requests]) => {
  const { readArrays } = await import("/local/arrays.js");
  const { OODDetector } = await import("/local/ood_detector.js");
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const detector = new OODDetector(readArrays(bytes(file).buffer));
  return requests.map(({ embedding, pixels, size, channels }) =>
    detector.score(Float32Array.from(embedding), bytes(pixels), size, channels));
}"""
PREDICT = """async (requests) => {
  const { predictionOf } = await import("/prediction.js");
  return requests.map(({ about, scores, probabilities, ood_score: score }) =>
    predictionOf(about, scores, probabilities, score));
}"""
PATIENT = """async (requests) => {
  const { unitOf } = await import("/pooling.js");
  return requests.map(([about, predictions]) => unitOf(about, predictions));
}"""
GENERAL = """async (values) => {
  const { general } = await import("/prediction.js");
  return values.map(general);
}"""
MAP = """async ([dims, data, probabilities, about, settings]) => {
  const { mapOf } = await import("/prediction.js");
  return mapOf({ dims, data: Float32Array.from(data) }, probabilities, about, settings);
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with browser() as started, modules(started) as found:
        yield found


def fitted(rng: np.random.Generator, size: tuple[int, int], channels: int) -> OODDetector:
    pixels = rng.integers(0, 256, (60, *size, channels), np.uint8)
    features = rng.normal(size=(60, 20))
    return fit(features[:40], np.arange(40) % 2, pixels[:40], features[40:], pixels[40:])


@pytest.mark.parametrize(("size", "channels"), [((16, 16), 1), ((37, 21), 3), ((8, 50), 1)])
def test_ood_scores_are_those_of_the_detector(
    page: Any, size: tuple[int, int], channels: int
) -> None:
    rng = np.random.default_rng(0)
    ood_detector = fitted(rng, size, channels)
    pixels = rng.integers(0, 256, (6, *size, channels), np.uint8)
    pixels[0], pixels[1] = 7, np.arange(size[1], dtype=np.uint8)[:, None]
    features = rng.normal(size=(6, 20)).astype(np.float32) * 3
    requests = [
        {
            "embedding": row.tolist(),
            "pixels": packed(each.tobytes()),
            "size": size,
            "channels": channels,
        }
        for row, each in zip(features, pixels, strict=True)
    ]
    found = page.evaluate(OOD_DETECTOR, [packed(save(dict(ood_detector.arrays()))), requests])
    np.testing.assert_allclose(found, ood_detector.score(features, pixels), rtol=1e-4)


def test_predictions_are_those_of_predict(page: Any) -> None:
    two, three = ("dark", "light"), ("a", "b", "c")
    rows = {
        two: [[0.5, 0.5], [0.2, 0.8], [0.99, 0.01], [0.3, 0.7], [1.0, 0.0]],
        three: [[0.4, 0.4, 0.2], [0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]],
    }
    scores = {two: [None, [0.4, 0.6], [0.1, 0.75], [1.0, 1.0]], three: [None, [0.5, 0.65, 0.5]]}
    ood_scores = [None, 0.2, 1.0, 1.0000001, 12.345, 1234.5, float("inf")]
    requests, expected = [], []
    for classes in (two, three):
        for row, held, ood_score, threshold in itertools.product(
            rows[classes], scores[classes], ood_scores, (0.5, 0.7)
        ):
            positive = classes[1] if len(classes) == 2 else None
            about = {"classes": classes, "positive": positive, "threshold": threshold}
            given = np.array([row])
            place = int(decide(given, None if positive is None else 1, threshold)[0])
            sets = None if held is None else 1 - given[0] <= np.array(held)
            prediction = predicted("", classes, given[0], place, sets, ood_score)
            requests.append(
                {"about": about, "scores": held, "probabilities": row, "ood_score": ood_score}
            )
            expected.append(prediction)
    for prediction, found in zip(expected, page.evaluate(PREDICT, requests), strict=True):
        assert found["decision"] == (prediction.decision or None)
        assert found["reason"] == (prediction.reason or None)
        assert found["prediction_set"] == list(prediction.prediction_set)
        assert found["ood_score"] == prediction.ood_score
        assert tuple(found["probabilities"].values()) == prediction.probabilities


def test_grades_are_those_of_predict(page: Any) -> None:
    """The median, sets without gaps, and whether an image is positive from a grade on."""
    random, ordinal = np.random.default_rng(0), task_of("ordinal")
    classes = ("none", "mild", "moderate", "severe")
    rows = [*random.dirichlet([0.6] * 4, 300), [0.5, 0, 0, 0.5], [0.25] * 4, [0.1, 0.4, 0.5, 0]]
    requests, expected = [], []
    for i, row in enumerate(map(np.asarray, rows)):
        held = None if i % 5 == 0 else random.uniform(0.2, 1, 4)
        ood_score = (None, 0.5, 2.0)[i % 3]
        cut = None if i % 4 == 0 else {"from": classes[1 + i % 3], "threshold": 0.3}
        sets = held is not None and Threshold(0.1, "marginal", tuple(held), (9,) * 4, runs=True)
        found = predicted(
            "", classes, row, int(ordinal.decide(row[None], None, None)[0]),
            sets.sets(row[None])[0] if sets else None, ood_score, ordinal,
        )  # fmt: skip
        expected.append({**found.to_json(classes), "cut": at_cut(cut, classes, found)})
        about = {"classes": classes, "task": "ordinal", "positive": None, "threshold": 0.5}
        requests.append({
            "about": {**about, "cut": cut}, "probabilities": row.tolist(), "ood_score": ood_score,
            "scores": None if held is None else held.tolist(),
        })  # fmt: skip
    for wanted, found in zip(expected, page.evaluate(PREDICT, requests), strict=True):
        assert found == {name: wanted[name] for name in found}
        assert found.get("cut") == wanted["cut"]
    reasons = {str(each["reason"]).partition(":")[0] for each in expected}
    assert reasons == {"None", "ambiguous", "out of distribution"}
    assert {each["cut"] and each["cut"]["positive"] for each in expected} == {None, True, False}


def test_labels_are_those_of_predict(page: Any) -> None:
    random, names = np.random.default_rng(0), ("effusion", "constructor", "c")
    thresholds = [0.3, 0.5, 0.8]
    about = {"classes": names, "task": "multilabel", "positive": None}
    about["labels"] = {
        name: {"threshold": t, "rule": "r"} for name, t in zip(names, thresholds, strict=True)
    }
    requests, expected = [], []
    for i, row in enumerate(random.random((300, 3))):
        row[0] = 0.3 if i % 7 == 0 else row[0]
        held = [None if i % 4 == k else random.uniform(0, 1, 2).tolist() for k in range(3)]
        rules = [h and Threshold(0.1, "class-conditional", tuple(h), (9, 9)) for h in held]
        ood_score = (None, 0.5, 1.5)[i % 3]
        present = row >= np.array(thresholds)
        found = label_prediction("", names, row, present, rules, ood_score)
        expected.append(found.to_json(names))
        requests.append({
            "about": about, "probabilities": row.tolist(), "ood_score": ood_score, "scores": held,
        })  # fmt: skip
    for wanted, found in zip(expected, page.evaluate(PREDICT, requests), strict=True):
        assert found == {name: wanted[name] for name in found}
        assert found.keys() == wanted.keys() - {"notes"}
    reasons = {str(each["reason"]).partition(":")[0] for each in expected}
    assert reasons == {"None", "ambiguous", "out of distribution"}
    assert {each["labels"]["c"]["present"] for each in expected} == {None, True, False}
    assert "No finding" in {each["decision"] for each in expected}


def patients(
    classes: tuple[str, ...], task: str, seed: int, n: int = 60, pooling: float = 0.0
) -> tuple[Any, ...]:
    """Draw a classifier with a rule for patients, and images of n of them."""
    rng = np.random.default_rng(seed)
    k = len(classes)
    held_out = rng.dirichlet(np.full(k, 0.1), 400)
    labels = [int(rng.choice(k, p=row)) for row in held_out]
    sets = fit_sets(held_out, labels, runs=task == "ordinal")
    cut = {"from": classes[-1], "threshold": 0.4, "rule": "r", "validation": None}
    rule = UnitRule(
        "", float(rng.uniform(0.3, 3)), tuple(rng.normal(size=1 if k == 2 else k)), 0.3, "r", None,
        sets, cut if task == "ordinal" else None, pooling=pooling,
    )  # fmt: skip
    spec = Spec(
        classes=classes, positive=classes[0] if k == 2 else None, size=(8, 8), channels=1,
        architecture="default", network_channels=1, parameters={"width": 1, "blocks": [1]},
        task=task, unit=rule.to_json(),
    )  # fmt: skip
    images = []
    for _ in range(n):
        rows = rng.dirichlet(np.full(k, rng.choice([0.01, 0.3, 1])), rng.integers(1, 6))
        scores = rng.choice([None, 0.5, 0.9, 1.4], len(rows))
        given = zip(rows, scores, strict=True)
        notes = ("a lateral view",) if rng.random() < 0.2 else ()
        images.append(
            [
                Prediction(f"{i:06}", "", tuple(map(float, p)), ood_score=s, notes=notes)
                for i, (p, s) in enumerate(given)
            ]
        )
        if rng.random() < 0.2:
            images[-1].append(Prediction("", "", (), "damaged"))
    return Classifier(spec, {}), images


@pytest.mark.parametrize(
    ("classes", "task", "pooling"),
    [
        (("ill", "well"), "classification", 0.0),
        (("ill", "well"), "classification", -2.0),
        (("a", "b", "c", "d"), "classification", 2.0),
        (("0", "1", "2", "3"), "ordinal", 0.0),
    ],
)
def test_answers_for_patients_are_those_of_predict(
    page: Any, tmp_path: Path, classes: tuple[str, ...], task: str, pooling: float
) -> None:
    classifier, images = patients(classes, task, seed=len(classes), pooling=pooling)
    given = web_about(tmp_path, classifier)
    requests = [[given, [each.to_json(classes) for each in some]] for some in images]
    expected = [classifier.predict_unit("", some).to_json(classes) for some in images]
    seen = {each["reason"] and each["reason"].split(":")[0] for each in expected}
    assert seen == {None, "out of distribution", "ambiguous"}
    for one, found in zip(expected, page.evaluate(PATIENT, requests), strict=True):
        probabilities, cut = found.pop("probabilities"), found.get("cut")
        assert list(probabilities.values()) == pytest.approx([*one.pop("probabilities").values()])
        if cut:
            assert cut.pop("probability") == pytest.approx(one["cut"].pop("probability"))
        of_found, of_one = found.pop("evidence"), one.pop("evidence")
        of_one["image"] = int(of_one["image"])
        assert of_found == pytest.approx(of_one)
        assert found == one


@pytest.mark.parametrize("tolerance", [None, 60.0])
@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_numbers_and_labels_of_patients_are_those_of_predict(
    page: Any, tmp_path: Path, task: str, tolerance: float | None
) -> None:
    rule, rng = dataclasses.replace(UNIT_RULE, tolerance=tolerance), np.random.default_rng(5)
    spec = value_unit_spec(rule) if task == "regression" else labelled_unit_spec()
    classifier, n = Classifier(spec, {}), len(spec.classes)
    given, requests, expected = web_about(tmp_path, classifier), [], []
    for i in range(40):
        images = int(rng.integers(1, 6))
        rows = (
            rng.dirichlet(np.full(n, 0.3), images)
            if spec.value
            else rng.beta(0.5, 0.5, (images, n)).round(1)
        )
        some = [
            Prediction(f"{k:06}", "", tuple(map(float, row)), ood_score=(None, 0.5, 1.4)[i % 3])
            for k, row in enumerate(rows)
        ]
        expected.append(classifier.predict_unit("", some).to_json(spec.classes))
        requests.append([given, [each.to_json(spec.classes) for each in some]])
    for one, found in zip(expected, page.evaluate(PATIENT, requests), strict=True):
        for each in (one["evidence"], *one["evidence"].get("labels", {}).values()):
            if "image" in each:
                each["image"] = int(each["image"])
        assert found == near(one)
    reasons = {str(each["reason"]).partition(":")[0] for each in expected}
    assert {"None", "out of distribution"} <= reasons
    assert ("ambiguous" in reasons) == (task == "multilabel" or tolerance is not None)


def near(value: Any) -> Any:
    """Return a document whose numbers equal others that are as good as equal."""
    if isinstance(value, dict):
        return {name: near(each) for name, each in value.items()}
    if isinstance(value, list):
        return [near(each) for each in value]
    return pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value


def test_a_patient_without_a_readable_image_has_no_answer(page: Any, tmp_path: Path) -> None:
    classifier, _ = patients(("a", "b"), "classification", seed=0, n=0)
    unread = Prediction("", "", (), "damaged")
    request = [web_about(tmp_path, classifier), [unread.to_json(("a", "b"))]]
    (found,) = page.evaluate(PATIENT, [request])
    assert found == classifier.predict_unit("", [unread]).to_json(("a", "b"))


def test_numbers_are_formatted_as_in_python(page: Any) -> None:
    rng = np.random.default_rng(1)
    values = [*(10.0 ** rng.uniform(-8, 8, 200)), 0.0, 1.0, 999.4, 999.6, 1e5, 0.0001, 123.0]
    assert page.evaluate(GENERAL, values) == [f"{value:.3g}" for value in values]


@pytest.mark.parametrize(
    ("classes", "positive", "task"),
    [
        (("a", "b"), "b", "classification"), (("a", "b"), "a", "classification"),
        (("a", "b"), None, "classification"), (("a", "b", "c"), None, "classification"),
        (("a", "b", "c"), None, "ordinal"), (("a", "b", "c"), None, "multilabel"),
        (("a", "b"), None, "multilabel"),
    ],
)  # fmt: skip
def test_maps_are_those_of_predict(
    page: Any, classes: tuple[str, ...], positive: str | None, task: str
) -> None:
    rng = np.random.default_rng(2)
    spec = Spec(
        classes=classes, positive=positive, task=task, size=(8, 8), channels=1,
        architecture="default", network_channels=1, parameters={"width": 1, "blocks": [1]},
    )  # fmt: skip
    count = 1 if is_binary(spec) else len(classes)
    units = rng.normal(0, 3, (1, 3, 4, count)).astype(np.float32)
    probabilities = rng.dirichlet(np.ones(len(classes)), 1)
    values, of = signed(units, probabilities, spec)
    expected = ActivationMap(classes[int(of[0])], "a method", 5.0, values[0]).to_json()
    about = {"classes": classes, "positive": positive, "task": task}
    given = [units.shape, units.ravel().tolist(), probabilities[0].tolist(), about]
    found = page.evaluate(MAP, [*given, {"method": "a method", "scale": 5.0}])
    assert {**found, "values": None} == {**expected, "values": None}
    np.testing.assert_allclose(found["values"], expected["values"], atol=1.01e-4)
