"""Answers in exported ONNX files: units of any number of images, and numbers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, checker, helper
from scipy import special, stats

from lucency.calibration.conformal import Conformal
from lucency.calibration.units import UnitRule
from lucency.classifier import Classifier, ReferenceImages, Spec
from lucency.errors import ParityError
from lucency.export import answers, export
from lucency.export.answers import (
    INTERVAL,
    UNIT,
    UNIT_INTERVAL,
    UNIT_VALUE,
    VALUE,
    add_answers,
    answers_of,
)
from small_runs import SIDE, brightness_network, labelled_unit_spec, spec_of
from small_values import RULE as OF_VALUES
from small_values import value_unit_spec

OF_UNITS = UnitRule(
    "", 0.7, (0.3,), 0.5, "the more probable class", None, Conformal(()), pooling=2.0
)


def outputs_of(spec: Spec, probabilities: np.ndarray, opset: int = 18) -> Mapping[str, np.ndarray]:
    """Run the nodes that a spec adds on given probabilities."""
    shape = ["n", len(spec.classes)]
    rows, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("pixels", "probabilities")
    )
    node = helper.make_node("Identity", ["pixels"], ["probabilities"])
    graph = helper.make_graph([node], "given", [rows], [found])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    add_answers(model, spec)
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [each.name for each in session.get_outputs()]
    values = session.run(names, {"pixels": probabilities.astype(np.float32)})
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("pooling", [0.0, 4.0, -1.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_graph_answers_for_a_unit_of_any_number_of_images(
    classes: int, pooling: float, opset: int
) -> None:
    random = np.random.default_rng(classes)
    bias = (0.4,) if classes == 2 else (0.3, -0.5, 0.2)
    rule = dataclasses.replace(OF_UNITS, bias=bias, pooling=pooling)
    names = tuple("abc"[:classes])
    spec = dataclasses.replace(spec_of(names), unit=rule.to_json())
    assert answers_of(spec) == (UNIT,)
    for n in (1, 2, 7, 300):
        p = random.dirichlet(np.full(classes, 0.3), n).astype(np.float32)
        p[0] = np.eye(classes, dtype=np.float32)[0]  # probabilities of 0 and 1
        found = outputs_of(spec, p, opset)[UNIT]
        expected = rule.probabilities(p.astype(np.float64), np.zeros(n, np.int64))
        assert found.shape == (1, classes)
        assert found == pytest.approx(expected, abs=2e-5)


def test_a_graph_answers_with_several_labels_for_a_unit() -> None:
    """Each label has a pooling of its own, and may be certain."""
    spec, random = labelled_unit_spec(), np.random.default_rng(0)
    rule = spec.unit_rule
    assert rule is not None
    assert len({each["pooling"] for each in rule.labels}) == 3
    assert answers_of(spec) == (UNIT,)
    for n in (1, 2, 50):
        p = special.expit(random.normal(0, 4, (n, 3))).astype(np.float32)
        p[0] = 0, 1, 1 - 1e-7
        expected = rule.probabilities(p.astype(np.float64), np.zeros(n, np.int64))
        found = outputs_of(spec, p)[UNIT]
        assert found.shape == (1, 3)
        assert found == pytest.approx(expected, abs=1e-6)


def test_a_graph_gives_the_number_of_a_unit() -> None:
    spec = value_unit_spec()
    rule, of_unit = spec.unit_rule, spec.per_unit
    assert rule is not None
    assert of_unit is not None
    assert (of_values := of_unit.value_rule) is not None
    assert answers_of(spec) == (UNIT, VALUE, INTERVAL, UNIT_VALUE, UNIT_INTERVAL)
    p = np.random.default_rng(0).dirichlet(np.ones(len(spec.classes)), 5).astype(np.float32)
    pooled = rule.probabilities(p.astype(np.float64), np.zeros(5, np.int64))
    found = outputs_of(spec, p)
    assert found[UNIT_VALUE] == pytest.approx(of_values.predicted(pooled), abs=1e-4)
    assert found[UNIT_INTERVAL] == pytest.approx(of_values.intervals(pooled), abs=1e-3)
    assert found[VALUE].shape == (5,)


@pytest.mark.parametrize("offset", [2.0, -3.0, None])
def test_a_graph_gives_a_number_and_its_interval(offset: float | None) -> None:
    rule = dataclasses.replace(OF_VALUES, offset=offset)
    names = tuple(map(str, range(len(rule.centres))))
    spec = dataclasses.replace(
        spec_of(names), positive=None, task="regression", value=rule.to_json()
    )
    centres = np.random.default_rng(0).uniform(5, 95, (200, 1))
    p = np.diff(stats.norm.cdf(rule.edges, centres, 8), axis=1)
    p[:50, ::2] = 0  # bins without probability, between others
    p[50] = np.eye(len(names))[3]
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    found, given = outputs_of(spec, p), p.astype(np.float64)
    assert found[VALUE] == pytest.approx(rule.predicted(given), abs=1e-4)
    expected = rule.intervals(given)
    if expected is None:
        assert INTERVAL not in found
        assert answers_of(spec) == (VALUE,)
        return
    assert found[INTERVAL].shape == (200, 2)
    assert found[INTERVAL] == pytest.approx(expected, abs=1e-3)


def saved(folder: Path, spec: Spec) -> Path:
    classifier = Classifier(spec, {"w": np.ones(spec.weight_count, np.float32)})
    classifier.onnx = brightness_network()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 1), np.uint8)
    pixels = np.broadcast_to(pixels, (40, SIDE, SIDE, 1)).copy()
    probabilities = classifier.predict_pixels(pixels).astype(np.float32)
    classifier.reference_images = ReferenceImages(pixels, probabilities)
    classifier.save(folder)
    return folder


@pytest.fixture(scope="module")
def of_patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with answers for patients."""
    spec = dataclasses.replace(spec_of(), unit=OF_UNITS.to_json(), class_prior=(0.5, 0.5))
    return saved(tmp_path_factory.mktemp("patients") / "run", spec)


def exported(run: Path, out: Path) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Export a run; return model.json, the certificate and a session."""
    export(run, "onnx", out=out)
    model, certificate = (
        json.loads((out / name).read_text()) for name in ("model.json", "certificate.json")
    )
    return model, certificate, onnxruntime.InferenceSession(out / "model.onnx")


def test_an_exported_file_answers_for_patients(of_patients: Path, tmp_path: Path) -> None:
    model, certificate, session = exported(of_patients, tmp_path / "out")
    found = certificate["answers"][UNIT]
    assert found["n"] == 5 + 4  # of 1, 2, 4, 8 and 17 images, and of the last 8
    assert found["max_abs_difference"] <= 1e-5 < found["tolerance"]
    assert "one patient" in model["outputs"][UNIT]
    assert model["unit"] == {
        "name": "patient", "threshold": 0.5, "rule": OF_UNITS.rule, "cut": None
    }  # fmt: skip
    assert "patient" not in model["not_included"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["lucency.unit"]) == model["unit"]
    classifier = Classifier.load(of_patients)
    pixels = classifier.reference_images.pixels[:3]  # type: ignore[union-attr]
    both = session.run(["probabilities", UNIT], {"pixels": pixels})
    p = classifier.predict_pixels(pixels)
    assert both[0] == pytest.approx(p, abs=1e-6)
    expected = OF_UNITS.probabilities(p, np.zeros(3, np.int64))
    assert both[1] == pytest.approx(expected, abs=1e-6)
    assert (of_patients / "model.onnx").read_bytes() == brightness_network()


def test_a_file_whose_answers_differ_is_not_kept(
    of_patients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(graph: Any, rule: UnitRule) -> None:
        original(graph, dataclasses.replace(rule, temperature=2 * rule.temperature))

    original = answers._add_unit
    monkeypatch.setattr(answers, "_add_unit", other)
    with pytest.raises(ParityError, match="unit_probabilities of the onnx file differs"):
        export(of_patients, "onnx", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
