"""Accuracy of the recipes on the chest radiographs: every effort with several seeds.

Each row is one ``lucency train`` of ``$LUCENCY_DATA/chest_xray`` from the command line, with one
evaluation of the public test set. Runs are kept in ``$LUCENCY_RUNS`` (build/accuracy) and are not
trained again. ``recipe_runs.csv`` has every run with its intervals.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy.kept_runs import RUNS, trained
from benchmarks.command import ROOT
from benchmarks.results import Figure, circumstances, write
from benchmarks.sample_images import whole_data_set

SPLITS = {"validation": "val", "test": "test"}
METRICS = ("auroc", "accuracy", "sensitivity", "specificity")


class Recipe(NamedTuple):
    """What is trained, with how many seeds, and the targets of the median."""

    effort: str
    seeds: int
    three_classes: bool
    minutes: float
    targets: dict[str, float]

    @property
    def name(self) -> str:
        return f"{self.effort}{', three classes' if self.three_classes else ''}"


RECIPES = (
    Recipe("quick", 5, False, 4, {"auroc": 0.970, "accuracy": 0.90}),
    Recipe("standard", 5, False, 16, {"auroc": 0.982, "accuracy": 0.93}),
    Recipe("thorough", 1, False, 120,
           {"auroc": 0.990, "accuracy": 0.95, "sensitivity": 0.96, "specificity": 0.92}),
    Recipe("quick", 1, True, 4, {}),
)  # fmt: skip


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    folder = whole_data_set(quick=quick, takes="some hours")
    figures, rows = [], []
    for recipe in RECIPES:
        runs = [_train(recipe, seed, folder) for seed in range(recipe.seeds)]
        for seed, (seconds, evaluation) in enumerate(runs):
            rows += _rows(recipe.name, seed, seconds, evaluation)
        figures += _figures(recipe, runs)
    made = circumstances()
    write(ROOT / "benchmarks/results/recipe_runs.csv", [row | made for row in rows])
    return figures


def _train(recipe: Recipe, seed: int, folder: Path) -> tuple[float, dict[str, Any]]:
    """Train unless that has been done; return the seconds and the evaluation."""
    options = ["--effort", recipe.effort, "--seed", str(seed)]
    if recipe.three_classes:
        options += ["--labels", str(_labels(folder))]
    return trained(_name(recipe, seed), folder, *options)


def _name(recipe: Recipe, seed: int) -> str:
    return f"{recipe.name.replace(', ', '-').replace(' ', '-')}-{seed}"


def _labels(folder: Path) -> Path:
    """Write the class of every radiograph, of three, by its name; return the file."""
    RUNS.mkdir(parents=True, exist_ok=True)
    path = RUNS / "three_classes.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label"))
        for radiograph in sorted(folder.rglob("*.jp*g")):
            labels = [each for each in ("bacteria", "virus") if f"_{each}_" in radiograph.name]
            writer.writerow((radiograph.relative_to(folder), labels[0] if labels else "normal"))
    return path


def _rows(
    recipe: str, seed: int, seconds: float, evaluation: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for split in SPLITS:
        row: dict[str, Any] = {"recipe": recipe, "seed": seed, "minutes": f"{seconds / 60:.1f}"}
        row |= {
            "split": split,
            "n": evaluation[split]["n"],
            "patients": evaluation[split]["groups"],
        }
        for name in METRICS:
            value = evaluation[split]["metrics"][name]
            row |= {name: f"{value['value']:.4f}", f"{name}_low": f"{value['low']:.4f}"}
            row[f"{name}_high"] = f"{value['high']:.4f}"
        yield row


def _figures(recipe: Recipe, runs: Sequence[tuple[float, dict[str, Any]]]) -> Iterator[Figure]:
    yield Figure(
        f"{recipe.name}: whole command", "min", [seconds / 60 for seconds, _ in runs], 5216,
        most=recipe.minutes,
    )  # fmt: skip
    for split in SPLITS:
        found = [evaluation[split]["metrics"] for _, evaluation in runs]
        for name in METRICS:
            values = [each[name]["value"] for each in found]
            least = recipe.targets.get(name) if split == "test" else None
            n = runs[0][1][split]["n"]
            yield Figure(f"{recipe.name}: {name}, {split}", "", values, n, least=least)
        if recipe.three_classes:
            yield _virus_or_bacteria(recipe, split)


def _virus_or_bacteria(recipe: Recipe, split: str) -> Figure:
    """Return the AUROC of virus against bacteria among the images of the two."""
    from sklearn.metrics import roc_auc_score

    values = []
    for seed in range(recipe.seeds):
        with (RUNS / _name(recipe, seed) / "predictions.csv").open(encoding="utf-8") as file:
            rows = [
                (row["label"] == "virus", float(row["p_virus"]), float(row["p_bacteria"]))
                for row in csv.DictReader(file)
                if row["split"] == SPLITS[split] and row["label"] != "normal"
            ]
        values.append(roc_auc_score([v for v, _, _ in rows], [v / (v + b) for _, v, b in rows]))
    least = 0.94 if split == "test" else None
    return Figure(f"{recipe.name}: virus or bacteria, {split}", "", values, len(rows), least=least)
