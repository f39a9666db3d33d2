"""What each part of the default recipe is worth on radiographs unlike those it learns from.

Every variant is trained on radiographs of the training part alone and looks at those of ``shifted``, as
they are and changed as in the report's table of robustness. No test radiograph is looked at. What was
trained before is read from ``$LUCENCY_RUNS``.
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

from benchmarks.accuracy import RUNS
from benchmarks.child import answer
from benchmarks.results import Figure, Skipped
from benchmarks.shifted import SHIFTED, parts

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


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    folder = files[0].parents[2] / "chest_xray"
    if quick or not folder.is_dir():
        raise Skipped("it takes the whole data set, and most of an hour")
    figures = []
    for variant, what in VARIANTS.items():
        seen = []
        for seed in range(what.seeds):
            seen.append(_kept(variant, seed, folder))
            print(variant, seed, {k: round(v, 4) for k, v in seen[-1].items()}, flush=True)
        counts = {k.removeprefix("n, "): int(v) for k, v in seen[0].items() if k.startswith("n, ")}
        for name in (k for k in seen[0] if not k.startswith("n, ")):
            n = counts.get(name.removeprefix("AUROC, "), sum(counts.values()))
            figures.append(Figure(f"{variant}: {name}", "", [s[name] for s in seen], n))
    return figures


def _kept(variant: str, seed: int, folder: Path) -> dict[str, float]:
    """Train, or read what an earlier call found."""
    file = RUNS / f"ablation-{variant.replace(' ', '-')}-{seed}.json"
    if not file.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(answer("ablation", variant, seed, folder)), encoding="ascii")
    found: dict[str, float] = json.loads(file.read_text(encoding="ascii"))
    return found


def _measured(variant: str, seed: int, folder: Path) -> dict[str, float]:
    import lucency
    from lucency.training import train

    what = VARIANTS[variant]
    config = lucency.Config(effort="quick", seed=seed, cache=os.environ.get("LUCENCY_CACHE"))
    found = parts(lucency.load_dataset(folder, config))
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
    everything, truth = np.concatenate([*pixels.values()]), np.concatenate([*labels.values()])
    changes = (
        brighten(everything, 40), brighten(everything, -40), gamma(everything, 0.6),
        blur(everything, 1.0), noise(everything, 10, 0), mark(mark(everything, 1), 2),
    )  # fmt: skip
    *changed, marked = (_logits(classifier, each) for each in changes)
    whole = np.concatenate([*logits.values()])
    figures = {"AUROC, " + name: roc_auc_score(labels[name], logits[name]) for name in SHIFTED}
    figures |= {
        "AUROC, all": roc_auc_score(truth, whole),
        "AUROC, all changed": float(np.mean([roc_auc_score(truth, z) for z in (*changed, marked)])),
        "balanced accuracy, all": balanced_accuracy_score(truth, whole > 0),
        "balanced accuracy, changed": float(
            np.mean([balanced_accuracy_score(truth, z > 0) for z in changed])
        ),
        "decisions that two markers turn": float(np.mean((marked > 0) != (whole > 0))),
    }
    return figures | {f"n, {name}": len(each) for name, each in labels.items()}


def _logits(classifier: Any, pixels: Any) -> Any:
    """Return the calibrated log odds of pneumonia."""
    said = np.clip(classifier.predict_pixels(pixels), 1e-12, 1)
    return np.log(said[:, 1] / said[:, 0])


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
