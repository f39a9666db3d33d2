"""The description of a classifier for the page, and the page's files."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lucency.classifier import Classifier
from lucency.errors import RunError
from lucency.serve.web import POLICY, TYPES, about, static_files
from small_runs import spec_of, write_images, write_run
from test_neighbours import saved, some


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    return write_run(data / "small", data, write_images(data))


def test_the_description_matches_the_run(run: Path) -> None:
    found = about(run, Classifier.load(run))
    json.dumps(found, allow_nan=False)
    test = json.loads((run / "evaluation.json").read_text())["test"]
    assert found["evaluation"]["split"] == "test"
    assert (found["evaluation"]["n"], found["evaluation"]["groups"]) == (test["n"], test["groups"])
    for name, entry in found["evaluation"]["metrics"].items():
        assert entry == {end: test["metrics"][name][end] for end in ("value", "low", "high")}
    assert {"auroc", "accuracy", "sensitivity", "specificity"} <= found["evaluation"][
        "metrics"
    ].keys()
    assert found["name"] == "small"
    assert found["sha256"] == Classifier.load(run).fingerprint
    assert (found["classes"], found["positive"]) == (["NORMAL", "PNEUMONIA"], "PNEUMONIA")
    assert (found["size"], found["channels"]) == ([8, 8], 1)
    assert not any(found[key] for key in ("report", "neighbours", "ood_detector", "conformal"))
    assert found["explanation"] is None
    assert found["prevalence"] == 0.5
    assert "about 80 show PNEUMONIA, if 50 % of all images do" in found["meaning"]
    (run / "report.html").touch()
    assert about(run, Classifier.load(run))["report"]


def test_missing_parts_of_a_run_are_reported(tmp_path: Path) -> None:
    folder = saved(tmp_path / "bare", some())
    found = about(folder, Classifier.load(folder))
    assert found["evaluation"] is None
    assert found["neighbours"]
    (folder / "evaluation.json").write_text('{"format": 2}')
    with pytest.raises(RunError, match="not an evaluation"):
        about(folder, Classifier.load(folder))
    document: dict[str, Any] = dict.fromkeys(("classes", "positive", "validation"))
    (folder / "evaluation.json").write_text(json.dumps(document | {"format": 2, "test": {"n": 3}}))
    with pytest.raises(RunError, match="lacks metrics"):
        about(folder, Classifier.load(folder))


def test_the_meaning_of_a_probability_follows_the_class_prior(tmp_path: Path) -> None:
    rare = dataclasses.replace(spec_of(), class_prior=(0.998, 0.002))
    found = about(tmp_path, Classifier(rare, {}, b""))
    assert found["prevalence"] == 0.002
    assert "if 0.2 % of all images do" in found["meaning"]
    three = about(tmp_path, Classifier(spec_of(("a", "b", "c")), {}, b""))
    assert three["prevalence"] is None
    assert "as frequent as the probabilities assume" in three["meaning"]


def test_the_files_load_nothing_from_other_hosts_and_hold_nothing_inline() -> None:
    files = {name: data.decode() for name, (data, _) in static_files().items()}
    page = files["index.html"]
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", page)
    for name, text in files.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text))
        assert addresses <= {"http://www.w3.org"}, name
        if name.endswith(".js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
            assert not re.search(r"localStorage|sessionStorage|indexedDB|cookie", text), name
    wanted = re.findall(r'(?:src|href)="page/([^"]+)"', page)
    wanted += [each for text in files.values() for each in re.findall(r'from "\./([^"]+)"', text)]
    assert set(wanted) - {"engine.js"} <= files.keys()
    assert "engine.js" in wanted


def test_the_policy_allows_only_files_of_the_origin() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))
    assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY
    assert {kind for _, kind in static_files().values()} <= set(TYPES.values())
