"""What each part of the default recipe adds on radiographs unlike the training radiographs.

Every variant is trained on some of the training radiographs and evaluated on the splits of
``shifted_splits``, as they are and with the corruptions of the report's robustness table. The test
set is not evaluated. Earlier results are read from ``$LUCENCY_RUNS``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from benchmarks.accuracy.recipes import RUNS
from benchmarks.accuracy.shifted_splits import SHIFTED, splits
from benchmarks.command import run_json
from benchmarks.results import Figure
from benchmarks.sample_images import whole_data_set

VIEWS = 30_000


class Variant(NamedTuple):
    """What differs from the recipe: fields of the augmentation and of the network."""

    augmentation: Mapping[str, float] = {}
    parameters: Mapping[str, int] = {}
    seeds: int = 2


VARIANTS = {
    "recipe": Variant(),
    "three members": Variant(parameters={"members": 3}, seeds=1),
    "without sharpness": Variant({"sharpness": 0.0}),
    "without rectangles": Variant({"rectangles": 0}),
    "without tone": Variant({"gamma": 0.0, "gain": 0.0, "offset": 0.0}),
}


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    folder = whole_data_set(quick=quick, takes="most of an hour")
    figures = []
    for variant, what in VARIANTS.items():
        rows = []
        for seed in range(what.seeds):
            rows.append(_train(variant, seed, folder))
            print(variant, seed, {k: round(v, 4) for k, v in rows[-1].items()}, flush=True)
        counts = {k.removeprefix("n, "): int(v) for k, v in rows[0].items() if k.startswith("n, ")}
        for name in (k for k in rows[0] if not k.startswith("n, ")):
            n = counts.get(name.removeprefix("AUROC, "), sum(counts.values()))
            figures.append(Figure(f"{variant}: {name}", "", [s[name] for s in rows], n))
    return figures


def _train(variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train, unless an earlier call has done it; return the figures."""
    file = RUNS / f"ablation-{variant.replace(' ', '-')}-{seed}.json"
    if not file.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(run_json(__name__, variant, seed, folder)), encoding="ascii")
    found: dict[str, float] = json.loads(file.read_text(encoding="ascii"))
    return found


def _measured(variant: str, seed: int, folder: Path) -> dict[str, float]:
    import lucency
    from lucency.training import train

    what = VARIANTS[variant]
    config = lucency.Config(effort="quick", seed=seed, cache=os.environ.get("LUCENCY_CACHE"))
    found = splits(lucency.load_dataset(folder, config))
    config = dataclasses.replace(config, epochs=round(VIEWS / len(found["fit"])))
    planned = train.make_plan

    def changed(*given: Any) -> Any:
        plan = planned(*given)
        return dataclasses.replace(
            plan,
            augmentation=dataclasses.replace(plan.augmentation, **what.augmentation),
            parameters={**plan.parameters, **what.parameters},
        )

    with mock.patch.object(train, "make_plan", changed):
        classifier = lucency.train(found["fit"], found["alike"], config)
    return _figures(classifier, found)


def _figures(classifier: Any, found: dict[str, Any]) -> dict[str, float]:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    from lucency.evaluation.robustness.corruptions import blur, brighten, gamma, mark, noise

    pixels = {name: found[name].pixels(np.arange(len(found[name]))) for name in SHIFTED}
    labels = {name: found[name].labels for name in SHIFTED}
    logits = {name: _logits(classifier, each) for name, each in pixels.items()}
    pixels_of_all, truth = np.concatenate([*pixels.values()]), np.concatenate([*labels.values()])
    corruptions = (
        brighten(pixels_of_all, 40), brighten(pixels_of_all, -40), gamma(pixels_of_all, 0.6),
        blur(pixels_of_all, 1.0), noise(pixels_of_all, 10, 0), mark(mark(pixels_of_all, 1), 2),
    )  # fmt: skip
    *corrupted, marked = (_logits(classifier, each) for each in corruptions)
    whole = np.concatenate([*logits.values()])
    figures = {"AUROC, " + name: roc_auc_score(labels[name], logits[name]) for name in SHIFTED}
    figures |= {
        "AUROC, all": roc_auc_score(truth, whole),
        "AUROC, all corrupted": float(
            np.mean([roc_auc_score(truth, z) for z in (*corrupted, marked)])
        ),
        "balanced accuracy, all": balanced_accuracy_score(truth, whole > 0),
        "balanced accuracy, corrupted": float(
            np.mean([balanced_accuracy_score(truth, z > 0) for z in corrupted])
        ),
        "predictions flipped by two markers": float(np.mean((marked > 0) != (whole > 0))),
    }
    return figures | {f"n, {name}": len(each) for name, each in labels.items()}


def _logits(classifier: Any, pixels: Any) -> Any:
    """Return the calibrated log odds of pneumonia."""
    probabilities = np.clip(classifier.predict_pixels(pixels), 1e-12, 1)
    return np.log(probabilities[:, 1] / probabilities[:, 0])


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
