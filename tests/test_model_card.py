"""Model card and checklists: filled from the files of a run, and from nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from lucency.errors import RunError
from lucency.report.model_card import checklist, facts, read_documents, write_model_card
from lucency.report.model_card.documents import Documents, escape, estimate, plain

HOSTILE = '"><img src=x onerror=1>'
BREAKING = "a | b\n\n# heading\n- [link](http://x.y) `code` **bold** <script>\x1b[31m\u202e"


def estimated(value: float) -> dict[str, Any]:
    """Return an estimate as it stands in evaluation.json."""
    return {"value": value, "low": value - 0.1, "high": value + 0.05, "method": "DeLong"}


def documents(name: str = "PNEUMONIA") -> dict[str, dict[str, Any]]:
    """Return the files of a small run, with a class of this name."""
    split = {
        "n": 100,
        "groups": 80,
        "baseline": {"class": name, "accuracy": 0.6},
        "metrics": {
            key: estimated(0.9)
            for key in ("auroc", "accuracy", "sensitivity", "specificity", "ece")
        },
        "confusion": [[37, 3], [6, 54]],
        "calibration": {"chance": {"low": 0.01, "high": 0.05}},
        "decision_curve": {"prevalence": 0.6},
        "subgroups": [
            {
                "attribute": "machine",
                "value": name,
                "n": 40,
                "metrics": {"accuracy": estimated(0.8)},
            }
        ],
    }
    choices = [
        {"name": each, "value": f"value of {each}", "reason": name}
        for each in ("network", "input", "epochs", "class weights", "weights kept", "decision")
    ]
    counts = {"train": {"NORMAL": 300, name: 700}, "test": {"NORMAL": 40, name: 60}}
    return {
        "plan": {
            "run": name,
            "command": f"lucency train {name}",
            "seed": 0,
            "choices": choices,
            "best_epoch": 16,
            "parameters": 847057,
            "environment": {"lucency": "0.1.0", "machine": name},
            "data": {"folder": name, "fingerprint": "f" * 64},
        },
        "classifier": {
            "classes": ["NORMAL", name],
            "positive": name,
            "input": {"height": 64, "width": 64, "channels": 1},
            "architecture": {"name": "default"},
            "temperature": 1.25,
            "operating_point": {"rule": name, "threshold": 0.5},
            "weights": {"file": "weights.safetensors", "sha256": "a" * 64},
            "onnx": {"file": "model.onnx", "sha256": "b" * 64,
                     "parity": {"n": 100, "max_abs_difference": 3e-7}},
            "ood_detector": {
                "file": "ood_detector.safetensors", "sha256": "c" * 64, "threshold": 1.0,
            },
        },
        "evaluation": {
            "classes": ["NORMAL", name], "positive": name, "validation": split, "test": split,
        },
        "audit": {
            "found": 1101,
            "used": 1100,
            "excluded": [{"file": name, "reason": name}],
            "counts": counts,
            "groups": {"source": "csv", "counts": {"train": 900, "test": 80}},
            "leaks": {"status": "passed", "pairs": []},
            "findings": [{"level": "note", "text": f"The probe of {name}.", "probe": "file"}],
            "warnings": [name],
            "notes": [f"A note on {name}."],
        },
        "test_evaluations": {"evaluations": [{"when": "now", "classifier": "x", "run": name}]},
        "robustness": {
            "n": 100,
            "rows": [{"corruption": name, "severity": "strong", "flipped_predictions": 0.25}],
        },
    }  # fmt: skip


def write(folder: Path, files: dict[str, dict[str, Any]]) -> Path:
    """Write the files of a run into a folder and return it."""
    for name, document in files.items():
        text = json.dumps({"format": 2} | document)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def test_a_complete_run_fills_the_items_that_facts_can_answer(tmp_path: Path) -> None:
    items = checklist(read_documents(write(tmp_path, documents())), reforms=True)
    for name, least in (("TRIPOD+AI", 0.6), ("CLAIM 2024", 0.6), ("REFORMS", 0.5)):
        statuses = Counter(item.status for item in items if item.list == name)
        filled = statuses["filled"]
        partial = sum(
            item.list == name and item.status == "needs the author" and bool(item.fact)
            for item in items
        )
        assert filled / (filled + partial + statuses["not done"]) >= least, statuses
    assert all(item.fact for item in items if item.status == "filled")
    assert not any(item.fact for item in items if item.status == "not done")


def test_tripod_has_its_27_items_claim_its_44_and_reforms_its_32() -> None:
    nothing = Documents({}, {}, {}, {}, {}, {})
    assert {item.list for item in checklist(nothing)} == {"TRIPOD+AI", "CLAIM 2024"}
    items = checklist(nothing, reforms=True)
    tripod = [item.item for item in items if item.list == "TRIPOD+AI"]
    assert {int(re.sub(r"\D", "", item)) for item in tripod} == set(range(1, 28))
    assert len([item for item in items if item.list == "CLAIM 2024"]) == 44
    assert len({item.item for item in items if item.list == "REFORMS"}) == 32


def test_without_files_nothing_is_filled() -> None:
    items = checklist(Documents({}, {}, {}, {}, {}, {}))
    assert {item.status for item in items} == {"needs the author", "not done"}
    assert not any(item.fact for item in items)


@pytest.mark.parametrize("left", ["plan", "classifier", "evaluation", "audit", "test_evaluations"])
def test_one_file_alone_fills_no_more_than_all(tmp_path: Path, left: str) -> None:
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    whole.mkdir()
    alone.mkdir()
    every = checklist(read_documents(write(whole, documents())), reforms=True)
    some = checklist(read_documents(write(alone, {left: documents()[left]})), reforms=True)
    for one, all_ in zip(some, every, strict=True):
        assert one.status != "filled" or all_.status == "filled", one.topic
        assert all(word in all_.fact for word in re.findall(r"\d+\.\d+", one.fact)), one.topic
    write_model_card(alone)


@pytest.mark.parametrize(
    ("missing", "topic", "status"),
    [
        ("robustness", "Robustness and sensitivity", "not done"),
        ("evaluation", "Performance with intervals", "not done"),
        ("evaluation", "Analysis of misclassified images", "not done"),
        ("audit", "Handling of missing data", "needs the author"),
        ("plan", "Handling of class imbalance", "needs the author"),
        ("classifier", "Full model specification", "needs the author"),
        ("classifier", "Handling of poor or missing input", "not done"),
    ],
)
def test_a_missing_file_leaves_its_items_open(
    tmp_path: Path, missing: str, topic: str, status: str
) -> None:
    files = documents()
    filled = [item for item in checklist(read_documents(write(tmp_path, files)))
              if item.topic == topic]  # fmt: skip
    (tmp_path / f"{missing}.json").unlink()
    opened = [item for item in checklist(read_documents(tmp_path)) if item.topic == topic]
    assert {item.status for item in filled} == {"filled"}
    assert {item.status for item in opened} == {status}


def test_the_numbers_of_the_card_come_from_the_files(tmp_path: Path) -> None:
    write_model_card(write(tmp_path, documents()))
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    for fact in (
        "847,057 parameters",
        "grey, 64 x 64",
        "AUROC 0.900 (95 % interval 0.800 to 0.950)",
        "accuracy 90.0 % (95 % interval 80.0 to 95.0)",
        "3 of 40 NORMAL, 6 of 60 PNEUMONIA",
        "always predicting PNEUMONIA scores 60.0 % accuracy",
        "by chance alone 0.010 to 0.050",
        "1,101 images found, 1,100 used, 1 excluded",
        "training: 300 NORMAL, 700 PNEUMONIA (900 patients)",
        "evaluations of this test set on record: 1; classifiers: 1",
        "PNEUMONIA strong (25.0 %)",
        "within 3e-07",
    ):
        assert fact in card, fact
    sections = re.findall(r"^## (.*)", card, re.MULTILINE)
    assert sections == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
        "TRIPOD+AI", "CLAIM 2024",
    ]  # fmt: skip


@pytest.mark.parametrize("asked", [True, False, None, "true"])
def test_reforms_is_a_checklist_only_where_it_was_asked_for(tmp_path: Path, asked: object) -> None:
    files = documents()
    files["plan"]["config"] = {"reforms": asked}
    write_model_card(write(tmp_path, files))
    items = json.loads((tmp_path / "checklist.json").read_text())["items"]
    assert ("REFORMS" in {item["list"] for item in items}) == (asked is True)
    assert ("## REFORMS" in (tmp_path / "model_card.md").read_text()) == (asked is True)


@pytest.mark.parametrize("name", [HOSTILE, BREAKING, "x|y", "](javascript:alert(1))", "&lt;b&gt;"])
def test_names_from_the_data_are_shown_as_text(tmp_path: Path, name: str) -> None:
    harmless, hostile = tmp_path / "harmless", tmp_path / "hostile"
    for folder, called in ((harmless, "x"), (hostile, name)):
        folder.mkdir()
        write_model_card(write(folder, documents(called)))
    # Even a reader that passes HTML on and makes links finds neither.
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    pages = [
        markdown.render((folder / "model_card.md").read_text(encoding="utf-8"))
        for folder in (harmless, hostile)
    ]
    tags = [Counter(re.findall(r"<[^>]*>", page)) for page in pages]
    assert tags[0] == tags[1], "the same tables, headings and paragraphs"
    shown = plain(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert shown.replace('"', "&quot;") in pages[1]


def test_escaped_text_is_read_back_as_it_was() -> None:
    for name in (HOSTILE, "1. a_b*c", "# x", "~~y~~", "a@b.c", "http://x.y", "$1$", "back\\slash"):
        html = MarkdownIt("commonmark").render(f"name: {escape(name)}")
        text = re.sub(r"</?p>\n?", "", html)
        for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
            text = text.replace(entity, character)
        assert text.strip() == f"name: {name}"


def test_the_checklist_file_holds_every_item(tmp_path: Path) -> None:
    write_model_card(write(tmp_path, documents(HOSTILE)))
    document = json.loads((tmp_path / "checklist.json").read_text(encoding="utf-8"))
    items = checklist(read_documents(tmp_path))
    assert document == {"format": 2, "items": [item._asdict() for item in items]}
    assert {"list", "item", "topic", "status", "fact"} <= document["items"][0].keys()


@pytest.mark.parametrize("odd", [7, -1.5, True, None, "text", [7], [[7]], {"a": [7]}])
def test_values_of_another_type_are_no_figures(tmp_path: Path, odd: object) -> None:
    for name, document in documents().items():
        write(tmp_path, {name: dict.fromkeys(document, odd)})
    write_model_card(tmp_path)
    figures = (
        "Performance with intervals",
        "Analysis of misclassified images",
        "Metrics of performance",
    )
    items = checklist(read_documents(tmp_path))
    assert {item.status for item in items if item.topic in figures} == {"not done"}


def test_estimates_in_words() -> None:
    assert estimate({"value": 0.5, "low": None, "high": None}) == "0.500 (no interval)"
    assert estimate({"value": None, "low": 0, "high": 1}) is None
    assert estimate({"value": float("nan")}) is None
    assert estimate("0.5") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "Cannot read"), ('{"format": 1}', "reads format 2"), ("[]", "expected a JSON object")],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(RunError, match=says) as raised:
        write_model_card(tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "model_card.md").exists()


def test_a_folder_without_a_run_is_rejected(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="is no run folder"):
            write_model_card(folder)


@pytest.mark.parametrize(
    ("warning", "shown"),
    [
        (
            "No patient is known for 2 of 3 images (a/SMITH.png, b/SMITH (1).png): each counts.",
            "No patient is known for 2 of 3 images: each counts.",
        ),
        ("2 images (a/SMITH).png, b/SMITH.png): each counts.", "each counts."),
        ("2 images (a/SMITH(.png): each counts.", "2 images"),
        ("Not used: SMITH (3 images): hidden.", "Some images of the folder are not used."),
        ("Only 2 images.", "Only 2 images."),
    ],
)
def test_no_name_of_an_image_is_in_the_card(tmp_path: Path, warning: str, shown: str) -> None:
    files = documents()
    files["audit"]["warnings"] = [warning]
    found = facts.warnings(read_documents(write(tmp_path, files)))
    assert found == shown
