"""The report: its content, missing files, and names from the data, which stay text."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.dummy import DummyClassifier

from lucency.errors import RunError
from lucency.report import render, wording, write_report

TWO = ("NORMAL", "PNEUMONIA")
THREE = ("NORMAL", "BACTERIA", "VIRUS")
HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "two\nlines\tand \u202egpj.exe",
    "</title><script>alert(1)</script>",
    "'; --> ]]> {{ 7*7 }} &lt;b&gt;",
    "\udc80 not UTF-8, \u05d0\u05d1\u05d2 from the right",
    "x" * 255,
)


def tiny_png(shade: int, side: int = 8) -> bytes:
    """Draw a grey PNG by hand: no imaging library between the test and the bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(
        b"\x00" + bytes((shade + 9 * x) % 256 for x in range(side)) for _ in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def interval(value: float, n: int, method: str = "bootstrap by patient") -> dict[str, Any]:
    half = 1.96 * np.sqrt(max(value * (1 - value), 1e-4) / n)
    low, high = max(0.0, value - half), min(1.0, value + half)
    return {"value": value, "low": low, "high": high, "method": method}


def curves(truth: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    fpr, tpr, _ = reference.roc_curve(truth, scores)
    precision, recall, _ = reference.precision_recall_curve(truth, scores)
    keep = np.unique(np.linspace(0, len(fpr) - 1, 150).astype(int))
    thin = np.unique(np.linspace(0, len(recall) - 1, 150).astype(int))
    fpr, tpr, precision, recall = fpr[keep], tpr[keep], precision[thin], recall[thin]

    def around(values: np.ndarray) -> dict[str, list[float]]:
        half = 0.015 + 0.16 * np.sqrt(values * (1 - values))
        return {
            "low": np.clip(values - half, 0, 1).tolist(),
            "high": np.clip(values + half, 0, 1).tolist(),
        }

    return {
        "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist(), **around(tpr)},
        "pr": {"recall": recall.tolist(), "precision": precision.tolist(), **around(precision)},
    }


def one_class(truth: np.ndarray, decided: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    n = len(truth)
    values = {
        "sensitivity": reference.recall_score(truth, decided),
        "specificity": reference.recall_score(~truth, ~decided),
        "ppv": reference.precision_score(truth, decided, zero_division=0),
        "f1": reference.f1_score(truth, decided),
        "auroc": reference.roc_auc_score(truth, scores),
    }
    return {"n": int(truth.sum()), "metrics": {k: interval(v, n) for k, v in values.items()}}


def evaluated(classes: tuple[str, ...], labels: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """Evaluate simulated predictions with scikit-learn, in the layout of evaluation.json."""
    n, two = len(labels), len(classes) == 2
    decided = (p[:, 1] >= 0.5).astype(int) if two else p.argmax(axis=1)
    per_class = {
        name: one_class(labels == i, decided == i, p[:, i]) for i, name in enumerate(classes)
    }
    drawn = {classes[1]: curves(labels == 1, p[:, 1])} if two else {
        name: curves(labels == i, p[:, i]) for i, name in enumerate(classes)
    }  # fmt: skip
    frequent = int(np.bincount(labels).argmax())
    values = {
        key: per_class[classes[1]]["metrics"][key]["value"]
        if two
        else float(np.mean([entry["metrics"][key]["value"] for entry in per_class.values()]))
        for key in ("auroc", "sensitivity", "specificity", "ppv", "f1")
    }
    values |= {
        "accuracy": float((labels == decided).mean()),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, decided),
        "mcc": reference.matthews_corrcoef(labels, decided),
        "log_loss": reference.log_loss(labels, p, labels=range(len(classes))),
        "brier": float(np.mean((p[:, 1] - (labels == 1)) ** 2)),
        "ece": 0.031,
    }
    metrics: dict[str, Any] = {key: interval(float(v), n) for key, v in values.items()}
    metrics["auroc"]["method"] = "DeLong"
    metrics["accuracy"]["method"] = "Clopper-Pearson"
    metrics["npv"] = {"value": None, "low": None, "high": None, "method": "Clopper-Pearson"}
    sure = p[:, 1] if two else p.max(axis=1)
    hit = labels == 1 if two else labels == decided
    bins = []
    for rows in np.array_split(np.argsort(sure), 10):
        share = float(hit[rows].mean())
        entry = interval(share, len(rows))
        bins.append({
            "n": len(rows), "mean_probability": float(sure[rows].mean()), "fraction": share,
            "low": entry["low"], "high": entry["high"],
        })  # fmt: skip
    return {
        "n": n, "groups": n * 2 // 3, "classes": list(classes),
        "baseline": {
            "class": classes[frequent], "accuracy": float((labels == frequent).mean()),
        },
        "metrics": metrics, "per_class": per_class,
        "confusion": reference.confusion_matrix(labels, decided).tolist(),
        "curves": drawn, "calibration": {"bins": bins, "ece": 0.031},
        "operating_point": {"rule": "greatest Youden index on validation", "threshold": 0.5},
    }  # fmt: skip


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as lines:
        table = csv.DictWriter(lines, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def read_table(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def make_run(
    folder: Path,
    *,
    classes: tuple[str, ...] = TWO,
    sizes: dict[str, tuple[int, ...]] | None = None,
    names: Iterable[str] = (),
    image: Callable[[str, int], bytes] = lambda _label, i: tiny_png(i),
) -> Path:
    """Write every file of a finished run, as training writes it.

    ``sizes`` gives the images per class of "val" and "test"; without "test" there is no test
    split. ``names`` are used as names of the first files, of classes' reasons and of notes.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    sizes = sizes or {
        "val": (135, 388, 130)[: len(classes)],
        "test": (234, 390, 148)[: len(classes)],
    }
    names = list(names)
    splits: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for split, per_class in sizes.items():
        labels = np.repeat(np.arange(len(classes)), per_class)
        logits = random.normal(0, 1, (len(labels), len(classes)))
        logits[np.arange(len(labels)), labels] += 2.3
        p = np.exp(1.5 * logits)
        p /= p.sum(axis=1, keepdims=True)
        splits[split] = evaluated(classes, labels, p)
        decided = (p[:, 1] >= 0.5).astype(int) if len(classes) == 2 else p.argmax(axis=1)
        for i, label in enumerate(labels):
            name = names[i] if i < len(names) else f"person{i}_bacteria_{i % 7}.jpeg"
            rows.append({
                "split": split, "file": f"{split}/{classes[label]}/{name}",
                "group": f"{split}{i // 2}", "label": classes[label],
                "decision": classes[decided[i]], "ood_score": "0.5",
                **{f"p_{c}": repr(float(v)) for c, v in zip(classes, p[i], strict=True)},
            })  # fmt: skip
    write_table(folder / "predictions.csv", rows)
    write_table(
        folder / "split.csv",
        [
            {"file": r["file"], "class": r["label"], "group": r["group"], "split": r["split"],
             "sha256": "0" * 64} for r in rows
        ],
    )  # fmt: skip
    evaluation = {
        "format": 2, "classes": list(classes),
        "positive": classes[1] if len(classes) == 2 else None,
        "validation": splits["val"], "test": splits.get("test"),
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    write_table(folder / "history.csv", history(random))
    (folder / "plan.json").write_text(json.dumps(plan_of(classes, names)))
    (folder / "audit.json").write_text(json.dumps(audit_of(classes, sizes, names)))
    (folder / "classifier.json").write_text(json.dumps(classifier_of(classes)))
    write_images(folder / "images", classes, rows, "test" if "test" in sizes else "val", image)
    return folder


def history(random: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, 21):
        loss = 0.16 + 0.5 * np.exp(-epoch / 4)
        seen = loss + 0.03 + 0.003 * max(0, epoch - 12) + random.normal(0, 0.012)
        rows.append({
            "epoch": epoch,
            "learning_rate": 0.001 * min(epoch / 2, 1) * 0.5 * (1 + np.cos(np.pi * epoch / 20)),
            "loss": loss, "accuracy": 0.98 - 0.3 * np.exp(-epoch / 4),
            "val_loss": seen, "val_accuracy": 0.99 - 0.45 * seen,
            "val_auroc": 0.998 - 0.06 * seen if epoch > 1 else "",
        })  # fmt: skip
    return rows


def plan_of(classes: tuple[str, ...], names: list[str]) -> dict[str, Any]:
    return {
        "format": 2, "recipe": "default", "effort": "standard", "seed": 1, "run": "first",
        "command": "lucency train chest_xray --effort standard --seed 1 --run first",
        "choices": [
            {"name": "input", "value": [112, 112], "reason": "effort standard"},
            {"name": "channels", "value": 1, "reason": "all images are grey"},
            {"name": "head", "value": "sigmoid" if len(classes) == 2 else "softmax",
             "reason": f"{len(classes)} classes"},
            {"name": "class weights", "value": True, "reason": "classes differ 2.9 to 1"},
            {"name": "augmentation", "value": {"rotate": 10, "zoom": 0.15},
             "reason": names[0] if names else "radiographs are taken upright"},
            {"name": "label smoothing", "value": 0.05, "reason": "labels of single readers err"},
        ],
        "environment": {"lucency": "0.1.0", "python": "3.11.9", "keras": "3.15.1",
                        "backend": "tensorflow 2.21.0", "machine": "x86_64, 2 cores"},
        "epochs": [{"epoch": n + 1, "seconds": 9.5, "images_per_second": 460} for n in range(20)],
        "training": {
            "resumed": True, "batch": 32, "micro_batch": 16,
            "divergences": [{"epoch": 3, "step": 7, "reason": "the loss is not a number"}],
        },
        "parameters": 1_203_457, "seconds": {"decode": 21.4, "train": 842.0, "total": 901.3},
        "data": {"folder": "chest_xray", "fingerprint": "9f2c" * 16},
    }  # fmt: skip


def audit_of(
    classes: tuple[str, ...], sizes: dict[str, tuple[int, ...]], names: list[str]
) -> dict[str, Any]:
    counts = {split: dict(zip(classes, row, strict=True)) for split, row in sizes.items()}
    counts["train"] = {name: 900 + 700 * i for i, name in enumerate(classes)}
    used = sum(sum(row.values()) for row in counts.values())
    aside = [
        {"file": f"train/NORMAL/{i}.jpeg", "reason": "cut short: the file ends too early"}
        for i in range(23)
    ]
    aside.append({"file": "train/NORMAL/empty.jpeg", "reason": "empty file"})
    aside += [{"file": name, "reason": name} for name in names]
    return {
        "format": 2, "found": used + len(aside), "used": used, "excluded": aside,
        "ignored": [{"file": "__MACOSX/._a.jpeg", "reason": "hidden file"}], "counts": counts,
        "groups": {"source": "kermany", "counts": {s: sum(counts[s].values()) * 2 // 3
                                                   for s in counts}},
        "duplicates": [[f"train/{i}.jpeg", f"train/{i}b.jpeg"] for i in range(27)],
        "colour": False,
        "sizes": {"min": [127, 384], "median": [888, 1281], "max": [2713, 2517]},
        "warnings": ["The share of PNEUMONIA differs: 74.3 % in training, 62.5 % in test.", *names],
        "notes": ["Validation was cut from train by patient: the folder val holds 16 images.",
                  *names],
    }  # fmt: skip


def classifier_of(classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "format": 2, "classes": list(classes), "positive": None,
        "input": {"height": 112, "width": 112, "channels": 1},
        "architecture": {"name": "residual", "parameters": {}}, "temperature": 1.3062,
        "operating_point": {"rule": "Youden", "threshold": 0.5},
        "weights": {"file": "weights.safetensors", "sha256": "ab" * 32},
        "onnx": {"file": "model.onnx", "sha256": "cd" * 32, "parity": {
            "n": 624, "split": "test", "max_abs_difference": 2.4e-7, "decision_agreement": 1.0,
            "passed": True}},
    }  # fmt: skip


def write_images(
    folder: Path,
    classes: tuple[str, ...],
    rows: list[dict[str, Any]],
    split: str,
    image: Callable[[str, int], bytes],
) -> None:
    folder.mkdir()
    wanted = [
        (kind, f"train/{name}/{i}.jpeg", name, "train")
        for kind, count in (("sample", 6), ("seen_in_training", 4), ("seen_in_validation", 4))
        for name in classes
        for i in range(count)
    ]
    wrong = [r for r in rows if r["split"] == split and r["label"] != r["decision"]]
    wrong.sort(key=lambda r: float(r[f"p_{r['label']}"]))
    wanted += [("mistake", r["file"], r["label"], split) for r in wrong[:10]]
    index = []
    for i, (kind, file, label, shown) in enumerate(wanted):
        (folder / f"{i}.png").write_bytes(image(label, i))
        entry = {"kind": kind, "file": file, "png": f"{i}.png", "label": label, "split": shown}
        index.append({**entry, "p": {}})
    (folder / "index.json").write_text(json.dumps({"format": 2, "images": index}))


class Page(HTMLParser):
    """The page as a browser parses it: elements, attributes and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self._within: list[str | None] = []
        self._sections: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
            self._within.append(dict(attrs).get("id") if tag == "section" else None)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        self._within.pop()
        if tag in {"td", "th", "dt", "dd", "h3"}:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)
            for name in filter(None, self._within):
                self._sections.setdefault(name, []).append(data)

    @property
    def text(self) -> str:
        return _plain(self.words)

    @property
    def sections(self) -> list[str]:
        """The ids of the sections, in the order of the page."""
        return [str(attrs["id"]) for tag, attrs in self.elements if tag == "section"]

    def section(self, name: str) -> str:
        """Return the text of a section."""
        return _plain(self._sections[name])


def _plain(words: list[str]) -> str:
    return " ".join("".join(words).split()).replace("\u202f", " ")


def page(run: Path) -> Page:
    path = write_report(run)
    assert path == run / "report.html"
    text = path.read_text("utf-8")
    assert text == render(run)
    return Page(text)


ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "a", "nav", "p", "ol", "ul", "li", "main",
    "header", "section", "aside", "h1", "h2", "h3", "h4", "span", "b", "bdi", "strong", "small",
    "dl",
    "dt", "dd", "div", "figure", "figcaption", "img", "table", "caption", "thead", "tbody",
    "tfoot", "tr", "th", "td", "pre", "code", "svg", "desc", "path", "rect", "circle", "text", "g",
    "details", "summary", "em",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "aria-label",
    "tabindex", "role", "scope", "src", "alt", "xmlns", "viewbox", "width", "height",
    "font-family", "d", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray",
    "stroke-linejoin", "x", "y", "cx", "cy", "r", "transform", "text-anchor", "font-size",
    "font-weight", "paint-order", "aria-hidden", "open",
}  # fmt: skip


FIRST_SCREEN = ["performance", "trust"]
LEFT = [
    *("mistakes", "decisions", "calibration", "use", "selective", "subgroups", "figures"),
]
RIGHT = [
    *("maps", "robustness", "shortcuts", "data", "training", "evaluations", "reproduce"),
    *("checklists", "limits", "glossary"),
]


def test_two_classes_the_first_screen_comes_first_and_every_section_follows(
    tmp_path: Path,
) -> None:
    found = page(make_run(tmp_path / "run"))
    assert found.sections == FIRST_SCREEN + LEFT + RIGHT
    folds = [a for tag, a in found.elements if tag == "details" and a.get("class") == "fold"]
    assert len(folds) == len(LEFT + RIGHT)
    assert not any("open" in attrs for tag, attrs in found.elements if tag == "details")
    links = {str(attrs["href"]) for tag, attrs in found.elements if tag == "a"}
    anchors = {attrs["id"] for _, attrs in found.elements if "id" in attrs}
    assert {link.removeprefix("#") for link in links} <= anchors
    assert len(found.open) == 0
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    auroc = evaluation["test"]["metrics"]["auroc"]
    interval_ = f"{auroc['low']:.3f}–{auroc['high']:.3f}"
    assert f"{auroc['value']:.3f} 95 % interval {interval_} guessing: 0.500" in found.section(
        "performance"
    )
    assert f"{auroc['value']:.3f} ({interval_})" in found.section("figures")
    assert "Always predicting PNEUMONIA scores 62.5 % accuracy" in found.section("performance")
    assert "Tested on 624 images of 416 patients" in found.text
    assert "Trained on 2,500 images of 1,666 patients" in found.text
    assert "no test split" not in found.text
    assert "– undefined" in found.section("figures")  # the negative predictive value
    assert "3,671 images found = 3,647 used + 24 excluded" in found.section("data")
    assert "and 3 more" in found.section("data")  # 23 files cut short, 20 named
    assert "and 7 more" in found.section("data")  # 27 pairs, 20 named
    assert "No patient is in two splits." in found.section("data")


def test_training_section_holds_pace_and_incidents(tmp_path: Path) -> None:
    found = page(make_run(tmp_path / "run"))
    assert "20 epochs in 3 min 10 s, 460 images per second" in found.text
    text = found.section("training")
    assert "diverged in epoch 3, step 7 (the loss is not a number)" in text
    assert "resumed from a checkpoint" in text
    assert "each batch of 32 images was computed in pieces of 16" in text


def test_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    found = page(run)
    policy = [a["content"] for t, a in found.elements if a.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    images = [attrs["src"] for tag, attrs in found.elements if tag == "img"]
    assert images
    assert all(source and source.startswith("data:image/png;base64,") for source in images)
    text = (run / "report.html").read_text("utf-8")
    assert "url(" not in text
    assert "@import" not in text
    assert (run / "report.html").stat().st_size < 3_000_000
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", classes=THREE)
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_three_classes_have_a_table_per_class_and_no_threshold(tmp_path: Path) -> None:
    found = page(make_run(tmp_path / "run", classes=THREE))
    assert "NORMAL, BACTERIA or VIRUS" in found.text
    assert "Each class against the rest, test" in found.text
    assert "ROC: VIRUS against the rest" in found.text
    assert "Correctly recognised: of 100 NORMAL images, about" in found.text
    assert "threshold 0.5" not in found.text


def test_a_class_named_by_a_number_is_called_a_class(tmp_path: Path) -> None:
    found = page(make_run(tmp_path / "run", classes=("0", "1", "2")))
    assert "Correctly recognised: of 100 class 0 images, about" in found.text
    assert "Always predicting class" in found.text


def test_without_test_split_it_says_so_and_shows_fewer_digits(tmp_path: Path) -> None:
    found = page(make_run(tmp_path / "run", sizes={"val": (25, 60)}))
    assert "There is no test split: no figure here is an independent test." in found.text
    assert "Validated on 85 images of 56 patients" in found.text
    assert "These images were also used for model selection" in found.section("performance")
    assert "Fewer than 30 validation images: NORMAL (25)." in found.text
    assert "Always predicting PNEUMONIA scores 71 % accuracy" in found.text


def test_missing_files_become_sentences(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for path in [*run.glob("*.csv"), run / "audit.json", run / "classifier.json"]:
        path.unlink()
    (run / "images" / "index.json").unlink()
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps({"format": 2, "run": plan["run"]}))
    found = page(run)
    for sentence in (
        "This run holds no audit of its data",
        "This run holds no sample images",
        "This run holds no training history",
        "This run holds no images of the input of the network",
        "This run holds no predictions of its test split",
        "This run holds no list of choices",
        "This run holds no leak check",
        "This run holds no probes for shortcuts",
        "This run holds no predictive values at other prevalences",
        "This run holds no decision curve",
        "This run holds no figures on abstention",
        "This run holds no figures of subgroups",
        "This run holds no test of robustness",
        "This run holds no record of test-set evaluations",
        "This run holds no checklists",
    ):
        assert sentence in found.text


@pytest.mark.parametrize("classes", [HOSTILE[:2], HOSTILE[2:5], HOSTILE])
def test_hostile_names_stay_text(tmp_path: Path, classes: tuple[str, ...]) -> None:
    sizes = {"val": (40,) * len(classes), "test": (40,) * len(classes)}
    run = make_run(tmp_path / "run", classes=classes, sizes=sizes, names=HOSTILE)
    found = page(run)
    assert {tag for tag, _ in found.elements} <= ALLOWED
    assert {name for _, attrs in found.elements for name in attrs} <= ATTRIBUTES
    assert not found.open
    assert '"><img src=x onerror=alert(1)>' in found.text
    assert r"two\nlines\tand \u202egpj.exe" in found.text
    assert r"\udc80 not UTF-8" in found.text
    assert "{{ 7*7 }}" in found.text
    assert "\u202e" not in found.text


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "link.png", "text.png", "a\0b"])
def test_images_come_from_the_run_folder_alone(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run")
    (run / "secret.png").write_bytes(tiny_png(3))
    (run / "images" / "link.png").symlink_to(run / "secret.png")
    (run / "images" / "text.png").write_text("not an image")
    entry = {"kind": "sample", "file": "f", "png": name, "label": "NORMAL", "split": "train"}
    (run / "images" / "index.json").write_text(json.dumps({"format": 2, "images": [entry]}))
    found = page(run)
    assert not [tag for tag, _ in found.elements if tag == "img"]
    assert "1 image omitted from this page" in found.text


def test_many_large_images_do_not_make_a_large_page(tmp_path: Path) -> None:
    def noise(_label: str, i: int) -> bytes:
        return tiny_png(i) + np.random.default_rng(i).bytes(150_000)

    run = make_run(tmp_path / "run", image=noise)
    found = page(run)
    assert (run / "report.html").stat().st_size < 3_000_000
    assert "omitted from this page" in found.text
    assert len([tag for tag, _ in found.elements if tag == "img"]) >= 10  # the mistakes stay


def test_worst_mistakes_are_those_that_left_least_to_the_truth(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = read_table(run / "predictions.csv")
    wrong = [r for r in rows if r["split"] == "test" and r["label"] != r["decision"]]
    wrong.sort(key=lambda r: float(r[f"p_{r['label']}"]))
    found = page(run)
    section = found.section("mistakes")
    assert f"{len(wrong)} mistakes among 624 test images" in found.text
    places = [section.index(row["file"]) for row in wrong[:10]]
    assert places == sorted(places)
    assert wrong[10]["file"] not in section


@pytest.mark.parametrize(
    ("plan", "column", "best", "words"),
    [
        ({"recipe": "default"}, "val_loss", min, "lowest validation loss"),
        ({"recipe": "article"}, "val_accuracy", max, "best validation accuracy"),
        ({"recipe": "default", "best_epoch": 7}, None, None, "kept: epoch 7"),
    ],
)
def test_the_epoch_that_was_kept_is_marked(
    tmp_path: Path,
    plan: dict[str, Any],
    column: str | None,
    best: Callable[..., Any] | None,
    words: str,
) -> None:
    run = make_run(tmp_path / "run")
    (run / "plan.json").write_text(json.dumps({"format": 2, **plan}))
    if column and best:
        rows = read_table(run / "history.csv")
        chosen = best(rows, key=lambda row: float(row[column]))
        words += f": epoch {chosen['epoch']}"
    assert words in page(run).text


def test_names_that_are_not_utf8_are_read_from_json(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", names=HOSTILE)
    audit = json.loads((run / "audit.json").read_text())
    text = json.dumps(audit, ensure_ascii=False)
    (run / "audit.json").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    assert r"\udc80 not UTF-8" in page(run).text


def test_class_without_a_test_image_leaves_no_curve(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    evaluation = json.loads((run / "evaluation.json").read_text())
    evaluation["test"] |= {"curves": {}, "confusion": [[0, 0], [17, 373]], "n": 390}
    evaluation["test"]["per_class"]["NORMAL"]["n"] = 0
    for key in ("auroc", "specificity"):
        evaluation["test"]["metrics"][key] = {"value": None, "low": None, "high": None}
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    text = page(run).text
    assert "does not hold images of every class, so there is no curve" in text
    assert "of 100 NORMAL images, an unknown number are correctly negative" in text


def test_patients_in_two_splits_are_a_warning(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = read_table(run / "split.csv")
    rows[0]["group"] = rows[-1]["group"]
    write_table(run / "split.csv", rows)
    assert "1 patient found in more than one split of the data" in page(run).text


def test_accuracy_that_chance_could_give_is_a_warning(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    evaluation = json.loads((run / "evaluation.json").read_text())
    evaluation["test"]["metrics"]["accuracy"] |= {"value": 0.63, "low": 0.59, "high": 0.67}
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    assert "not shown to be better than always predicting PNEUMONIA" in page(run).text


@pytest.mark.parametrize("gone", ["plan.json", "evaluation.json"])
def test_folder_that_is_no_run(tmp_path: Path, gone: str) -> None:
    run = make_run(tmp_path / "run")
    (run / gone).unlink()
    with pytest.raises(RunError, match=rf"not a finished run: {gone} is missing.*lucency train"):
        write_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("evaluation.json", "{"),
        ("evaluation.json", "[]"),
        ("evaluation.json", '{"format": 2}'),
        ("evaluation.json", '{"format": 2, "classes": ["a", "b"], "test": null}'),
        ("evaluation.json", '{"format": 2, "classes": ["a", "b"], "test": {"n": 3}}'),
        ("audit.json", '{"format": 2}'),
        ("predictions.csv", "split,file\ntest\n"),
        ("history.csv", "epoch,loss\n1,abc\n"),
        ("images/index.json", '{"format": 2, "images": [{"kind": "sample"}]}'),
    ],
)
def test_damaged_files_are_a_run_error_and_leave_no_page(
    tmp_path: Path, file: str, text: str
) -> None:
    run = make_run(tmp_path / "run")
    (run / file).write_text(text)
    with pytest.raises(RunError):
        write_report(run)
    assert not list(run.glob("*report.html*"))


@pytest.mark.parametrize(
    ("value", "n", "share", "expected"),
    [
        (0.98149, 624, False, "0.981"),
        (0.98149, 99, False, "0.98"),
        (0.625, 624, True, "62.5 %"),
        (0.625, 40, True, "62 %"),
        (0.9996, 624, True, ">99.9 %"),
        (0.0004, 624, True, "<0.1 %"),
        (0.9999, 624, False, ">0.999"),
        (1.0, 624, True, "100.0 %"),
        (0.0, 50, True, "0 %"),
        (-0.25, 624, False, "−0.250"),
        (15.6029, 624, False, "15.6"),
        (1.079, 99, False, "1.1"),
        (4821.3, 624, False, "4821"),
    ],
)
def test_rounding_shows_what_n_supports(value: float, n: int, share: bool, expected: str) -> None:
    assert wording.rounded(value, n, share=share).replace("\u202f", " ") == expected


def test_figures_with_and_without_interval() -> None:
    full = {"value": 0.981, "low": 0.969, "high": 0.99}
    assert wording.figure_text(full, 624, share=False) == "0.981 (0.969–0.990)"
    assert wording.figure_text({"value": 0.5, "low": None}, 624, share=False) == "0.500"
    assert wording.figure_text({"value": None}, 624, share=False) == "– undefined"
    assert wording.figure_text({"value": float("nan")}, 624, share=True) == "– undefined"
    ratio = {"value": 1.08, "low": 0.8514, "high": 31.22}
    assert wording.figure_text(ratio, 624, share=False) == "1.1 (0.9–31.2)"
    wide = {"value": 0.1, "low": -0.2, "high": 0.4}
    assert wording.interval_text(wide, 624, share=False) == "−0.200 to 0.400"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"value": 0.931, "low": 0.912, "high": 0.948}, "about 93 (91–95)"),
        ({"value": 0.9991, "low": 0.991, "high": 0.9999}, "more than 99 (99–99)"),
        ({"value": 1.0, "low": 0.984, "high": 1.0}, "all (98–100)"),
        ({"value": 0.0, "low": 0.0, "high": 0.3}, "none (0–30)"),
        ({"value": None}, "an unknown number"),
    ],
)
def test_of_a_hundred(entry: dict[str, float | None], expected: str) -> None:
    assert wording.of_hundred(entry) == expected


@pytest.mark.parametrize("labels", [[0] * 30 + [1] * 50, [0] * 50 + [1] * 30, [0, 1, 2, 2, 2, 1]])
def test_trivial_baseline_scores_what_scikit_learn_computes(labels: list[int]) -> None:
    truth = np.array(labels)
    classes = ["a", "b", "c"][: truth.max() + 1]
    decided = DummyClassifier(strategy="most_frequent").fit(truth[:, None], truth).predict(truth)
    two = len(classes) == 2
    split = {
        "classes": classes,
        "baseline": {"class": classes[decided[0]], "accuracy": float((truth == decided).mean())},
    }
    found = wording.trivial(split, "b" if two else None)
    average = {"average": "binary"} if two else {"average": "macro"}
    expected = {
        "accuracy": reference.accuracy_score(truth, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, decided),
        "sensitivity": reference.recall_score(truth, decided, **average),
        "f1": reference.f1_score(truth, decided, **average),
        "mcc": reference.matthews_corrcoef(truth, decided),
    }
    assert found == pytest.approx({**found, **expected})


def test_listed_and_durations() -> None:
    assert wording.listed(["a"]) == "<bdi>a</bdi>"
    assert wording.listed(["a", "b", "c"], "or") == "<bdi>a</bdi>, <bdi>b</bdi> or <bdi>c</bdi>"
    assert wording.seconds_text(8.44) == "8.4\u202fs"
    assert wording.seconds_text(192) == "3\u202fmin 12\u202fs"
    assert wording.seconds_text(3840) == "1\u202fh 04\u202fmin"
