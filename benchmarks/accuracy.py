"""How good the recipes are on the radiographs: every effort from several seeds.

Each row is a whole ``lucency train`` of ``$LUCENCY_DATA/chest_xray``, from the command line, and
one look at the public test radiographs. Runs are kept in ``$LUCENCY_RUNS`` (build/accuracy); those that
are there are not trained again. ``accuracy_runs.csv`` has every run with its intervals.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.child import LUCENCY, ROOT, run
from benchmarks.results import Figure, Skipped, circumstances

RUNS = Path(os.environ.get("LUCENCY_RUNS") or ROOT / "build" / "accuracy")
SPLITS = {"validation": "val", "test": "test"}
METRICS = ("auroc", "accuracy", "sensitivity", "specificity")


class Recipe(NamedTuple):
    """What is trained, how often, and what is wanted of its mean over the seeds."""

    effort: str
    seeds: int
    three_classes: bool
    minutes: float
    wanted: dict[str, float]

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


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    folder = files[0].parents[2] / "chest_xray"
    if quick or not folder.is_dir():
        raise Skipped("it takes the whole data set, and some hours")
    figures, rows = [], []
    for recipe in RECIPES:
        runs = [_trained(recipe, seed, folder) for seed in range(recipe.seeds)]
        for seed, (seconds, evaluation) in enumerate(runs):
            rows += _rows(recipe.name, seed, seconds, evaluation)
        figures += _figures(recipe, runs)
    _write(ROOT / "benchmarks" / "results" / "accuracy_runs.csv", rows)
    return figures


def _trained(recipe: Recipe, seed: int, folder: Path) -> tuple[float, dict[str, Any]]:
    """Train, or read what was trained; return how long it took and the evaluation."""
    place = _place(recipe, seed)
    took = place.with_suffix(".seconds")
    if not took.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        options = ["--effort", recipe.effort, "--seed", str(seed), "--quiet", "--run", str(place)]
        if recipe.three_classes:
            options += ["--labels", str(_labels(folder))]
        seconds = run(LUCENCY, "train", str(folder), *options).seconds
        took.write_text(f"{seconds:.1f}\n", encoding="ascii")
        print(recipe.name, seed, f"{seconds / 60:.1f} min", flush=True)
    evaluation = json.loads((place / "evaluation.json").read_text(encoding="utf-8"))
    return float(took.read_text(encoding="ascii")), evaluation


def _place(recipe: Recipe, seed: int) -> Path:
    return RUNS / f"{recipe.name.replace(', ', '-').replace(' ', '-')}-{seed}"


def _labels(folder: Path) -> Path:
    """Write which of three classes every radiograph is of, by its name; return the file."""
    path = RUNS / "three_classes.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label"))
        for radiograph in sorted(folder.rglob("*.jp*g")):
            kinds = [kind for kind in ("bacteria", "virus") if f"_{kind}_" in radiograph.name]
            writer.writerow((radiograph.relative_to(folder), kinds[0] if kinds else "normal"))
    return path


def _metrics(part: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return what counts; with several classes, means over them."""
    return {name: part["metrics"][name] for name in METRICS}


def _rows(
    recipe: str, seed: int, seconds: float, evaluation: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for part in SPLITS:
        row: dict[str, Any] = {"recipe": recipe, "seed": seed, "minutes": f"{seconds / 60:.1f}"}
        row |= {"part": part, "n": evaluation[part]["n"], "patients": evaluation[part]["groups"]}
        for name, value in _metrics(evaluation[part]).items():
            row |= {name: f"{value['value']:.4f}", f"{name}_low": f"{value['low']:.4f}"}
            row[f"{name}_high"] = f"{value['high']:.4f}"
        yield row


def _figures(recipe: Recipe, runs: Sequence[tuple[float, dict[str, Any]]]) -> Iterator[Figure]:
    yield Figure(
        f"{recipe.name}: whole command", "min", [seconds / 60 for seconds, _ in runs], 5216,
        most=recipe.minutes,
    )  # fmt: skip
    for part in SPLITS:
        found = [_metrics(evaluation[part]) for _, evaluation in runs]
        for name in METRICS:
            values = [each[name]["value"] for each in found]
            least = recipe.wanted.get(name) if part == "test" else None
            n = runs[0][1][part]["n"]
            yield Figure(f"{recipe.name}: {name}, {part}", "", values, n, least=least)
        if recipe.three_classes:
            yield _told_apart(recipe, part)


def _told_apart(recipe: Recipe, part: str) -> Figure:
    """Return how well viruses are told from bacteria where it is one of the two."""
    from sklearn.metrics import roc_auc_score

    values = []
    for seed in range(recipe.seeds):
        with (_place(recipe, seed) / "predictions.csv").open(encoding="utf-8") as file:
            rows = [
                (row["label"] == "virus", float(row["p_virus"]), float(row["p_bacteria"]))
                for row in csv.DictReader(file)
                if row["split"] == SPLITS[part] and row["label"] != "normal"
            ]
        values.append(roc_auc_score([v for v, _, _ in rows], [v / (v + b) for _, v, b in rows]))
    least = 0.94 if part == "test" else None
    return Figure(f"{recipe.name}: virus or bacteria, {part}", "", values, len(rows), least=least)


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    made = circumstances()
    names = [*dict.fromkeys(name for row in rows for name in row), *made]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | made for row in rows)
