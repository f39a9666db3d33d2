"""The default recipe on many real data sets, beside a frozen backbone and a linear model.

The sets are ``$LUCENCY_DATA/chest_xray`` and those under ``$LUCENCY_DATA/proof`` whose task is one
class for each image. Each row is one ``lucency train`` from the command line, evaluated on the test
split that it made. Runs are kept in ``$LUCENCY_RUNS`` (build/accuracy) and are not trained again,
so that the benchmark can be continued. ``LUCENCY_SEEDS`` (3), ``LUCENCY_EFFORTS``
(quick,standard; may be empty) and ``LUCENCY_SETS`` (names with commas) make it shorter.
``proof_runs.csv`` has every run with its intervals.

The frozen backbone is ``--start EfficientNetLite0``: a linear head on ImageNet features. The linear
model is a logistic regression on the principal components of the pixels at 32 x 32, which knows no
content; its strength is chosen in cross-validation by group.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.accuracy.kept_runs import RUNS, trained
from benchmarks.command import ROOT
from benchmarks.results import Figure, Skipped, circumstances, write
from benchmarks.sample_images import CHEST_XRAY, DATA

if TYPE_CHECKING:
    from lucency.config import Config

SEEDS = int(os.environ.get("LUCENCY_SEEDS") or 3)
EFFORTS = os.environ.get("LUCENCY_EFFORTS", "quick,standard").split(",")
FROZEN, LINEAR = "EfficientNetLite0", "linear"
METRICS = ("balanced_accuracy", "auroc", "log_loss", "calibration_slope", "calibration_intercept")
_SIDE, _COMPONENTS = 32, 100
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)


class ProofSet(NamedTuple):
    """A data set.

    Attributes:
        name: Of its folder.
        options: Of ``lucency train``; ``LABELS`` stands for its table of labels.
    """

    name: str
    options: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return CHEST_XRAY if self.name == CHEST_XRAY.name else DATA / "proof" / self.name

    @property
    def command(self) -> list[str]:
        table = str(self.folder / "labels.csv")
        return [table if word == "LABELS" else word for word in self.options]

    def config(self, **settings: Any) -> Config:
        """The configuration that the options make, with further settings."""
        from lucency.config import Config

        given = zip(self.command[::2], self.command[1::2], strict=True)
        named = {name.removeprefix("--").replace("-", "_"): value for name, value in given}
        return Config(**named, on_leak="drop", **settings)


SETS = (
    ProofSet(CHEST_XRAY.name),
    ProofSet("trashnet256"),
    ProofSet("potato_leaf", ("--labels", "LABELS", "--group-column", "leaf")),
    ProofSet(
        "knee_kl",
        ("--labels", "LABELS", "--label-column", "kl_grade", "--group-column", "patient"),
    ),
    ProofSet("elpv", ("--labels", "LABELS", "--label-column", "grade")),
    ProofSet("eurosat"),
)


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if quick or not (DATA / "proof").is_dir():
        raise Skipped("it needs $LUCENCY_DATA/proof, and hours")
    figures, rows = [], []
    for each in chosen():
        for recipe in (*filter(None, EFFORTS), FROZEN, LINEAR):
            runs = [_run(each, recipe, seed) for seed in range(SEEDS)]
            rows += [_row(each, recipe, seed, *found) for seed, found in enumerate(runs)]
            figures += _figures(f"{each.name}, {recipe}", runs)
    made = circumstances()
    write(ROOT / "benchmarks/results/proof_runs.csv", [row | made for row in rows])
    return figures


def chosen() -> list[ProofSet]:
    """The sets that ``LUCENCY_SETS`` names, all without it."""
    names = os.environ.get("LUCENCY_SETS") or ",".join(each.name for each in SETS)
    return [each for each in SETS if each.name in names.split(",")]


def _run(each: ProofSet, recipe: str, seed: int) -> tuple[float, dict[str, Any]]:
    """Return the seconds and the evaluation on test."""
    if recipe == LINEAR:
        return _linear(each, RUNS / _name(each, FROZEN, seed))
    options = ["--effort", recipe] if recipe != FROZEN else ["--effort", "quick", "--start", FROZEN]
    options += ["--seed", str(seed), "--set", "on_leak=drop"]
    seconds, evaluation = trained(_name(each, recipe, seed), each.folder, *options, *each.command)
    return seconds, evaluation["test"]


def _name(each: ProofSet, recipe: str, seed: int) -> str:
    return f"proof-{each.name}-{recipe}-{seed}"


def _linear(each: ProofSet, run: Path) -> tuple[float, dict[str, Any]]:
    """Fit the linear model to train and validation of a run, and evaluate it on test."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from lucency.evaluation import evaluate_arrays

    start = time.perf_counter()
    x, y, patients = _pixels(each.folder, run, ("train", "val"))
    x_test, y_test, groups = _pixels(each.folder, run, ("test",))
    model = make_pipeline(
        StandardScaler(),
        PCA(min(_COMPONENTS, len(x) // 2), random_state=0),
        LogisticRegression(max_iter=2000, class_weight="balanced"),
    )
    strengths = {"logisticregression__C": _STRENGTHS}
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    best = GridSearchCV(model, strengths, scoring="neg_log_loss", cv=folds)
    keys = [patient or f"image {i}" for i, patient in enumerate(patients)]
    best.fit(x, y, groups=keys)
    classes = best.classes_.tolist()
    evaluation = evaluate_arrays(
        np.searchsorted(classes, y_test),
        best.predict_proba(x_test),
        groups if any(groups) else None,
        classes=classes,
        positive=classes[1] if len(classes) == 2 else None,
        threshold=0.5 if len(classes) == 2 else None,
    )
    return time.perf_counter() - start, evaluation.to_json()


def _pixels(
    folder: Path, run: Path, splits: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.str_], list[str]]:
    """Return pixels (n, 32 x 32 x 3), labels and groups of splits of a run."""
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in splits]
    pixels = []
    for row in rows:
        with Image.open(folder / row["file"]) as image:
            small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
        pixels.append(np.asarray(small, np.float32).reshape(-1))
    labels = np.array([row["class"] for row in rows])
    return np.stack(pixels), labels, [row["group"] for row in rows]


def _row(
    each: ProofSet, recipe: str, seed: int, seconds: float, found: dict[str, Any]
) -> dict[str, Any]:
    row: dict[str, Any] = {"data": each.name, "recipe": recipe, "seed": seed}
    row |= {"minutes": f"{seconds / 60:.1f}", "n": found["n"], "groups": found["groups"]}
    for name in METRICS:
        value = found["metrics"].get(name) or {}
        for key in ("value", "low", "high"):
            number = value.get(key)
            row[name if key == "value" else f"{name}_{key}"] = (
                "" if number is None else f"{number:.4f}"
            )
    return row


def _figures(name: str, runs: Sequence[tuple[float, dict[str, Any]]]) -> Iterator[Figure]:
    n = runs[0][1]["n"]
    yield Figure(f"{name}: whole command", "min", [seconds / 60 for seconds, _ in runs], n)
    for metric in METRICS:
        values = [(found["metrics"].get(metric) or {}).get("value") for _, found in runs]
        if None not in values:
            yield Figure(f"{name}: {metric}", "", values, n)
