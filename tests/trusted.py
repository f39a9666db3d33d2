"""Made-up evaluation, audit and tests of a run, for the pages to draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

STRENGTHS = {
    "rotation": ("-20 degrees", "-10 degrees", "+10 degrees", "+20 degrees"),
    "gamma": ("0.7", "1.4"),
    "noise": ("sd 10", "sd 20"),
    "JPEG": ("quality 30", "quality 75"),
    "inversion": ("",),
}


def figure(value: float | None, half: float = 0.03) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "method": "undefined"}
    low, high = max(0.0, value - half), min(1.0, value + half)
    return {"value": value, "low": low, "high": high, "method": "made up"}


def add_to_split(split: dict[str, Any], names: list[str]) -> None:
    """Add the other figures to a split; ``names`` are values of an attribute."""
    two = split["positive"] if "positive" in split else split["classes"][1]
    se, sp = split["metrics"]["sensitivity"]["value"], split["metrics"]["specificity"]["value"]
    split["metrics"] |= {
        "lr_plus": {"value": 15.6, "low": 8.7, "high": 30.2, "method": "log, by patient"},
        "lr_minus": {"value": 0.079, "low": 0.05, "high": 0.12, "method": "log, by patient"},
        "calibration_slope": {"value": 1.08, "low": 0.85, "high": 1.31, "method": "by patient"},
        "calibration_intercept": {"value": -0.41, "low": -0.8, "high": 0.02, "method": "same"},
    }
    split["calibration"] |= {"ece": 0.054, "plain": 0.072, "chance": {"low": -0.01, "high": 0.021}}
    split["predictive_values"] = [
        {
            "prevalence": p,
            "ppv": figure(se * p / (se * p + (1 - sp) * (1 - p))),
            "npv": figure(sp * (1 - p) / (sp * (1 - p) + (1 - se) * p)),
        }
        for p in (0.01, 0.05, 0.1, 0.2, 0.5, 0.63)
    ]
    split["decision_curve"] = benefit(se, 1 - sp)
    split["selective"] = selective(split["n"], split["classes"])
    split["operating_point"] |= {"validation": {"sensitivity": 0.951, "specificity": 0.962}}
    split["subgroups"] = [
        {
            "attribute": "file name", "value": name, "n": 100 + i, "groups": 80 + i,
            "counts": {split["classes"][0]: 0, two: 100 + i},
            "metrics": {"accuracy": figure(0.9 + i / 100), "sensitivity": figure(0.9 + i / 100),
                        "specificity": figure(None), "auroc": figure(0.98)},
            "auroc_against": "all others",
        }
        for i, name in enumerate(names)
    ]  # fmt: skip


def benefit(se: float, fp: float, p: float = 0.63) -> dict[str, Any]:
    at = np.linspace(0.01, 0.99, 99)
    odds = at / (1 - at)
    moved = np.clip(1.25 - at / 2, 0, 1)  # fewer are called positive at higher thresholds
    model = p * np.clip(se * moved + 0.03, 0, 1) - (1 - p) * fp * moved * odds
    return {
        "prevalence": p,
        "threshold": at.tolist(),
        "model": model.tolist(),
        "low": (model - 0.03).tolist(),
        "high": (model + 0.03).tolist(),
        "all": (p - (1 - p) * odds).tolist(),
    }


def selective(n: int, classes: list[str]) -> dict[str, Any]:
    share = np.linspace(0.01, 1, 100)
    risk = 0.07 * share**3
    out, ambiguous = round(0.02 * n), round(0.06 * n)
    sets = [
        {
            "alpha": alpha, "kind": kind, "coverage": figure(1 - alpha - 0.01, 0.02),
            "expected": {"low": 1 - alpha - 0.03, "high": min(1.0, 1 - alpha + 0.03)},
            "mean_size": 1.07, "singletons": 0.93, "empty": 0.0,
            "per_class": [{"coverage": figure(1 - alpha), "expected": {
                "low": 1 - alpha - 0.05, "high": 1.0}} for _ in classes],
            "unlimited": [],
        }
        for alpha in (0.01, 0.05, 0.1)
        for kind in ("marginal", "class-conditional")
    ]  # fmt: skip
    return {
        "risk_coverage": {
            "coverage": share.tolist(), "risk": risk.tolist(),
            "low": np.clip(risk - 0.02, 0, 1).tolist(), "high": (risk + 0.02).tolist(),
        },
        "conformal": sets,
        "abstention": {
            "n": n, "predicted": n - out - ambiguous, "out_of_distribution": out,
            "ambiguous": ambiguous, "metrics": {
                "accuracy": figure(0.97), "sensitivity": figure(0.96), "specificity": figure(0.98),
            },
        },
    }  # fmt: skip


def leaks(status: str, names: list[str]) -> dict[str, Any]:
    pairs = [
        {"first": f"test/NORMAL/{name}", "second": f"train/NORMAL/copy of {name}",
         "kind": ("near", "mirrored", "exact")[i % 3], "similarity": 0.9991 - i / 1000,
         "splits": ["test", "train"], "labels": ["NORMAL", "NORMAL"]}
        for i, name in enumerate(names)
    ]  # fmt: skip
    return {
        "status": status,
        "pairs": pairs if status != "passed" else [],
        "patients": {"p1": 3} if status != "passed" else {},
    }


def probed(names: list[str]) -> dict[str, Any]:
    """Return what the probes add to an audit."""
    return {
        "probes": [
            {"probe": probe, "auc": figure(auc, 0.01), "test": figure(auc - 0.03, 0.04),
             "flagged": flagged, "features": [{"name": f"{probe} alone", "auc": auc - 0.02}]}
            for probe, auc, flagged in (
                ("file", 0.912, True), ("tone", 0.72, False), ("border", 0.61, False),
                ("centre removed", 0.83, False),
            )
        ] + [{"probe": "name", "auc": figure(None), "test": None, "flagged": False,
              "features": []}],
        "shift": {
            "probes": [{"probe": "tone", "auc": figure(0.81)}],
            "prevalence": [{"class": name, "train": 0.743, "test": 0.63, "difference": {
                "value": -0.113, "low": -0.16, "high": -0.06, "method": "m"}} for name in names],
            "tone": {"train": 121.4, "test": 130.3, "difference": {
                "value": 8.9, "low": 7.1, "high": 10.7, "method": "m"}},
        },
        "outliers": {"n": len(names) + 60, "images": [
            {"file": f"train/{name}", "reason": "very dark", "value": 3.14159} for name in names
        ]},
        "findings": [
            {"level": "note", "text": f"Note on {names[0]}.", "probe": "name"},
            {"level": "alarm", "text": "The file headers alone tell the classes apart.",
             "probe": "file"},
        ],
    }  # fmt: skip


def robustness(n: int) -> dict[str, Any]:
    rows = [("none", "as they are")]
    rows += [(change, one) for change, strengths in STRENGTHS.items() for one in strengths]
    return {
        "format": 2, "split": "test", "n": n, "rows": [
            {"corruption": change, "severity": strength, "auroc": 0.985 - i / 100,
             "accuracy": 0.93 - i / 60, "sensitivity": 0.92, "specificity": 0.94 - i / 40,
             "mean_abs_difference": i * i / 250, "max_abs_difference": min(1.0, i / 10),
             "flipped_predictions": i * i / 300}
            for i, (change, strength) in enumerate(rows)
        ],
    }  # fmt: skip


def explanation(name: str, *, informative: bool = False) -> dict[str, Any]:
    """Return tests of activation maps; ``name`` comes from data."""
    alike = {"rank": figure(0.1), "ssim": figure(0.05)}
    word = "Informative" if informative else "Uninformative"
    return {
        "format": 2, "method": f"method of {name}", "scale": 7.25, "informative": informative,
        "sentence": f"{word}: on 64 images of {name}.", "split": "val", "n": 64, "groups": 60,
        "height": 4, "width": 5,
        "deletion": {
            "shares": [0, 0.5, 1],
            "rows": [
                {"map": kind, "deletion": [0.9, 0.6, 0.5], "insertion": [0.5, 0.6, 0.9],
                 "gain": figure(gain)}
                for kind, gain in (("the map", 0.081), ("random map", 0.0), ("blob", 0.07))
            ],
            "gain_over_random": figure(0.08), "gain_over_centre": figure(0.01),
        },
        "randomisation": {
            "rows": [{"layers": 1, **alike}, {"layers": 33, **alike}],
            "pairs": {"rank": figure(0.4), "ssim": figure(0.3)}, "changes": True, "of": 33,
        },
        "border": {"width": 0.15, "share": figure(0.711, 0.02), "uniform": 0.51},
        "occlusion": {"n": 32, "rank": figure(0.25)},
    }  # fmt: skip


def evaluation_record(n: int, names: list[str]) -> dict[str, Any]:
    return {
        "format": 2, "test_set": "5e" * 32, "n": n, "evaluations": [
            {"when": f"2026-03-0{1 + i}T10:00:00Z", "what": ("train", "evaluate")[i % 2],
             "classifier": f"{i // 2}" * 64, "run": name}
            for i, name in enumerate(names)
        ],
    }  # fmt: skip


def checklist(facts: list[str]) -> dict[str, Any]:
    statuses = ("filled", "needs the author", "not done")
    return {
        "format": 2, "items": [
            {"list": name, "section": "Methods", "item": str(i + 1), "topic": f"topic {i}",
             "status": statuses[i % 3], "fact": fact if i % 3 == 0 else ""}
            for name in ("TRIPOD+AI", "CLAIM 2024")
            for i, fact in enumerate(facts)
        ]
    }  # fmt: skip


def write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document))


def trust(run: Path, *, status: str = "dropped", names: list[str] | None = None) -> Path:
    """Add the other files of an evaluation to a run folder; ``names`` come from the data."""
    names = names or ["bacteria", "virus", "IM-0001.jpeg", "NORMAL2-IM-0002.jpeg"]
    evaluation = json.loads((run / "evaluation.json").read_text())
    for key in ("test", "validation"):
        if evaluation[key]:
            add_to_split(evaluation[key], names)
    write(run / "evaluation.json", evaluation)
    n = (evaluation["test"] or evaluation["validation"])["n"]
    write(run / "robustness.json", robustness(n))
    write(run / "test_evaluations.json", evaluation_record(n, names))
    write(run / "explanation.json", explanation(names[0]))
    write(run / "checklist.json", checklist(names))
    trust_audit(run, status=status, names=names)
    return run


def trust_audit(folder: Path, *, status: str, names: list[str]) -> None:
    """Add leaks and near duplicates to ``audit.json``, and their images where there are any."""
    audit = json.loads((folder / "audit.json").read_text())
    audit["leaks"] = leaks(status, names)
    audit["near_duplicates"] = [
        {"first": f"train/a/{name}", "second": f"train/a/{name} again", "kind": "near",
         "similarity": 0.998, "splits": ["train", "train"], "labels": ["a", "b" if i == 0 else "a"]}
        for i, name in enumerate(names)
    ]  # fmt: skip
    write(folder / "audit.json", audit | probed(names))
