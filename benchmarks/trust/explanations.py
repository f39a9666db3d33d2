"""Whether maps show where the evidence is: on drawn images, where that is known, and on yours.

``LUCENCY_RUN`` may be the run folder of a classifier trained on ``$LUCENCY_DATA/chest_xray`` with
the default split: the maps of its validation images are then tested for faithfulness. The test set
is not evaluated.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY
from benchmarks.trust import synthetic_evidence
from lucency import Classifier, Config, load_dataset
from lucency.explain import faithfulness, occlusion_maps

LEAST = 95.0  # percent


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    count, seeds = (100, range(1)) if quick else (1000, range(5))
    rows = [_planted(count, seed) for seed in seeds]
    figures = [
        Figure("planted squares pointed at by the map", "%", [row[0] for row in rows], count // 2,
               least=LEAST),
        Figure("planted squares pointed at by occlusion", "%", [row[1] for row in rows],
               count // 2, least=LEAST),
        Figure("planted squares pointed at by chance", "%", [row[2] for row in rows], count // 2),
    ]  # fmt: skip
    run = os.environ.get("LUCENCY_RUN")
    return figures + (_faithfulness(Path(run)) if run and not quick else [])


def _planted(count: int, seed: int) -> tuple[float, float, float]:
    """Return the percentages of squares at the maximum of maps, occlusion maps and noise."""
    classifier = synthetic_evidence.train(seed=seed)
    drawn = synthetic_evidence.with_square(synthetic_evidence.draw(count, 1000 + seed))
    maps = classifier.infer(drawn.pixels, maps=True).maps
    if maps is None:
        raise RuntimeError("no maps")
    of = np.ones(len(drawn.pixels), np.int64)
    occlusion = occlusion_maps(classifier.predict_pixels, drawn.pixels, of, grid=8)
    noise = np.random.default_rng(seed).normal(size=maps.shape)
    a, b, c = (
        float(100 * synthetic_evidence.hits(each, drawn).mean())
        for each in (maps, occlusion, noise)
    )
    return a, b, c


def _faithfulness(run: Path) -> list[Figure]:
    """Test the maps of a run, and measure how long that takes."""
    classifier, trained = Classifier.load(run), Classifier.load(run)
    trained.onnx = None
    spec = classifier.spec
    data = load_dataset(CHEST_XRAY, Config(), size=spec.size, colour=spec.channels == 3)
    if data.fingerprint != spec.fingerprint:
        raise Skipped(f"{run} was trained on other images or another split.")
    start = time.perf_counter()
    found: dict[str, Any] = faithfulness(classifier, trained, data.val).document
    took = time.perf_counter() - start
    n, deletion = found["n"], found["deletion"]
    gains = {row["map"]: row["gain"]["value"] for row in deletion["rows"]}
    beyond, shuffled = deletion["gain_over_centre"], found["randomisation"]
    ends = [beyond[key] for key in ("low", "value", "high")]
    return [
        *(Figure(f"gain of {name}", "", [value], n) for name, value in gains.items()),
        Figure("gain beyond the centre, with its interval", "", ends, n),
        Figure("rank correlation, all layers shuffled", "", [_rank(shuffled["rows"][-1])], n),
        Figure("rank correlation, other images", "", [_rank(shuffled["pairs"])], n),
        Figure("share in the border", "%", [100 * found["border"]["share"]["value"]], n),
        Figure("of a uniform map", "%", [100 * found["border"]["uniform"]], n),
        Figure("rank correlation with occlusion", "", [_rank(found["occlusion"])],
               found["occlusion"]["n"]),
        Figure("time", "s", [took], n),
    ]  # fmt: skip


def _rank(row: dict[str, Any]) -> float:
    return float(row["rank"]["value"])
