"""The pictures that a report shows: examples, what the network sees, and the worst mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.augment import draw
from lucency.augment import layer as augment
from lucency.dataset import Dataset, Split
from lucency.evaluation import Predictions
from lucency.files import write_bytes, write_text
from lucency.images import encode_png, read_picture
from lucency.plan import Plan

_SAMPLES = 4  # examples per class
_SEEN = 8  # pictures on the sheet of what the network sees
_MISTAKES = 10
_SIDE = 224  # pixels of an example's or a mistake's side


def write_gallery(run: Path, data: Dataset, plan: Plan, judged: Predictions) -> None:
    """Write ``pictures/`` with ``index.json`` into a run folder.

    Args:
        run: The run folder.
        data: The data set.
        plan: What the training pictures are varied by.
        judged: The predictions whose worst mistakes are shown.
    """
    folder = run / "pictures"
    folder.mkdir()
    index = []
    entries = [*_samples(data), *_seen(data, plan), *_mistakes(data, judged)]
    for number, (entry, pixels) in enumerate(entries):
        name = f"{number:03d}-{entry['kind']}.png"
        write_bytes(folder / name, encode_png(pixels))
        index.append(entry | {"png": name})
    write_text(folder / "index.json", json.dumps(index, indent=1) + "\n")


Shown = tuple[dict[str, Any], NDArray[np.uint8]]


def _samples(data: Dataset) -> Iterator[Shown]:
    split = data.train
    for label, name in enumerate(split.classes):
        for i in _spread(np.flatnonzero(split.labels == label), _SAMPLES):
            yield _entry("sample", split, i, name), _original(data, split, i)


def _seen(data: Dataset, plan: Plan) -> Iterator[Shown]:
    """Show what goes into the network: varied in training, as it is in validation."""
    chosen = _spread(np.arange(len(data.train)), _SEEN)
    drawn = draw(plan.augmentation, plan.seed, 0, chosen, plan.size)
    arrays = [data.train.pixels(chosen), drawn.affine, drawn.tone, drawn.rectangles]
    varied = augment.keras.ops.convert_to_numpy(augment.Augment(plan.augmentation)(arrays))
    varied = varied.round().astype(np.uint8)
    for i, pixels in zip(chosen, varied, strict=True):
        yield _entry("seen_in_training", data.train, i), pixels
    chosen = _spread(np.arange(len(data.val)), _SEEN)
    for i, pixels in zip(chosen, data.val.pixels(chosen), strict=True):
        yield _entry("seen_in_validation", data.val, i), pixels


def _mistakes(data: Dataset, judged: Predictions) -> Iterator[Shown]:
    split = data.test if judged.split == "test" and data.test else data.val
    rows = np.arange(len(split))
    of_truth = judged.probabilities[rows, judged.labels]
    wrong = np.flatnonzero(judged.decisions != judged.labels)
    for i in wrong[np.argsort(of_truth[wrong], kind="stable")][:_MISTAKES]:
        yield _entry("mistake", split, i), _original(data, split, i)


def _entry(kind: str, split: Split, i: int, label: str | None = None) -> dict[str, Any]:
    name = label or split.classes[split.labels[i]]
    return {"kind": kind, "file": split.files[i], "label": name, "split": split.name}


def _original(data: Dataset, split: Split, i: int) -> NDArray[np.uint8]:
    """Return the picture larger than the network sees it, for people."""
    colour = split.store.shape[2] == 3
    return read_picture(data.root / split.files[i], (_SIDE, _SIDE), colour)


def _spread(items: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return up to ``count`` items, evenly spread over all."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return np.asarray(items[places])
