"""The images of a report: samples, leaks, outliers, network input, mistakes, activation maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.augmentation import draw
from lucency.classifier import Classifier
from lucency.dataset import Dataset, Entry, Split, class_balanced, evenly
from lucency.evaluation import Predictions
from lucency.evaluation.predictions import worst_of_labels
from lucency.explain import overlay
from lucency.imaging.decoder.pool import DecoderPool, Pixels, decode_again
from lucency.imaging.image import encode_png
from lucency.io import write_bytes
from lucency.run_folder.files import IMAGES
from lucency.training.plan import Plan

_SAMPLES = 4  # per class
_INPUTS = 8  # of the network, in training and in validation
_MISTAKES = 10
_PAIRS = 8  # leaking pairs
_OUTLIERS = 12
_MAPS = 8  # images shown with their maps
_SIDE = 224  # pixels of the side of a sample or a mistake

Shown = tuple[dict[str, Any], Pixels | bytes]
Read = Callable[[str], NDArray[np.uint8]]


def write_report_images(
    run: Path,
    data: Dataset,
    audit: Mapping[str, Any],
    plan: Plan,
    predictions: Predictions,
    classifier: Classifier,
) -> None:
    """Write ``images/`` with ``index.json`` into a run folder.

    Args:
        run: The run folder.
        data: The data set.
        audit: The content of ``audit.json``, whose leaks and outliers are shown.
        plan: The plan, with the augmentation of the training images.
        predictions: The predictions whose worst mistakes are shown.
        classifier: The classifier, for activation maps of validation images.

    Raises:
        DataError: A file is missing or was changed after it was decoded.
    """
    with _reading(data) as read:
        found, mistakes = [*_found(data, audit, read)], [*_mistakes(data, predictions, read)]
        maps = [*_maps(data, classifier, read)]
    _write(run / "images", [*found, *_inputs(data, plan), *mistakes, *maps])


def write_check_images(folder: Path, data: Dataset, audit: Mapping[str, Any]) -> None:
    """Write ``images/`` with ``index.json`` into the folder of a check, without a network.

    Raises:
        DataError: A file is missing or was changed after it was decoded.
    """
    with _reading(data) as read:
        _write(folder / "images", _found(data, audit, read))


def _write(folder: Path, entries: Iterable[Shown]) -> None:
    folder.mkdir()
    index = []
    for number, (entry, pixels) in enumerate(entries):
        name = f"{number:03d}-{entry['kind']}.png"
        write_bytes(folder / name, pixels if isinstance(pixels, bytes) else encode_png(pixels))
        index.append(entry | {"png": name})
    IMAGES.write(folder.parent, {"images": index})


def _found(data: Dataset, audit: Mapping[str, Any], read: Read) -> Iterator[Shown]:
    """Yield samples and the findings of the audit."""
    yield from _samples(data, read)
    entries = {entry.file: entry for entry in data.entries}
    for kind, pairs in (("leak", audit["leaks"]["pairs"]), ("duplicate", audit["near_duplicates"])):
        for number, pair in enumerate(pairs[:_PAIRS]):
            for name in (pair["first"], pair["second"]):
                yield _of_file(kind, entries[name]) | {"pair": number}, read(name)
    for each in audit["outliers"]["images"][:_OUTLIERS]:
        yield _of_file("outlier", entries[each["file"]]), read(each["file"])


def _of_file(kind: str, entry: Entry) -> dict[str, Any]:
    return {"kind": kind, "file": entry.file, "label": entry.label, "split": entry.split}


def _samples(data: Dataset, read: Read) -> Iterator[Shown]:
    split = data.train
    for label, name in enumerate(split.classes):
        for i in _evenly_spaced(np.flatnonzero(split.labels == label), _SAMPLES):
            yield _entry("sample", split, i, name), read(split.files[i])


def _inputs(data: Dataset, plan: Plan) -> Iterator[Shown]:
    """Yield input of the network: augmented in training, not augmented in validation."""
    chosen = _evenly_spaced(np.arange(len(data.train)), _INPUTS)
    drawn = draw(plan.augmentation, plan.seed, 0, chosen, plan.size)
    arrays = [data.train.pixels(chosen), *drawn.arrays]
    from lucency.augmentation import layer

    augmented = layer.keras.ops.convert_to_numpy(layer.Augment(plan.augmentation)(arrays))
    augmented = augmented.round().astype(np.uint8)
    for i, pixels in zip(chosen, augmented, strict=True):
        yield _entry("seen_in_training", data.train, i), pixels
    chosen = _evenly_spaced(np.arange(len(data.held_out)), _INPUTS)
    for i, pixels in zip(chosen, data.held_out.pixels(chosen), strict=True):
        yield _entry("seen_in_validation", data.held_out, i), pixels


def _mistakes(data: Dataset, predictions: Predictions, read: Read) -> Iterator[Shown]:
    split = data.test if predictions.split == "test" and data.test else data.held_out
    rows = np.arange(len(split))
    if predictions.targets is not None:
        for i in worst_of_labels(predictions)[:_MISTAKES]:
            yield _entry("mistake", split, i), read(split.files[i])
        return
    if predictions.values is not None and predictions.predicted is not None:
        errors = abs(predictions.predicted - predictions.values)
        for i in np.argsort(-errors, kind="stable")[:_MISTAKES]:
            yield _entry("mistake", split, i), read(split.files[i])
        return
    of_label = predictions.probabilities[rows, predictions.labels]
    wrong = np.flatnonzero(predictions.decisions != predictions.labels)
    for i in wrong[np.argsort(of_label[wrong], kind="stable")][:_MISTAKES]:
        yield _entry("mistake", split, i), read(split.files[i])


def _maps(data: Dataset, classifier: Classifier, read: Read) -> Iterator[Shown]:
    """Yield validation images, without and with their activation maps."""
    split = data.held_out
    if split.targets is not None:
        yield from _label_maps(split, split.targets, classifier, read)
        return
    places = class_balanced(split.labels, len(split.classes), _MAPS)
    outputs = classifier.infer(split.pixels(places), maps=True)
    for k, i in enumerate(places):
        if (found := classifier.activation_map(outputs, k)) is None:
            return
        image = read(split.files[i])
        yield _entry("explained", split, i), image
        yield _entry("map", split, i), overlay(image, found.values, found.scale)


def _label_maps(
    split: Split, targets: NDArray[np.float32], classifier: Classifier, read: Read
) -> Iterator[Shown]:
    """Yield for each label images that have it, each shown once, and their maps of this label."""
    shown: set[int] = set()
    for k, name in enumerate(classifier.classes):
        having = [i for i in np.flatnonzero(targets[:, k] > 0) if i not in shown]
        places = _evenly_spaced(
            np.array(having, np.int64), max(1, _MAPS // len(classifier.classes))
        )
        if not len(places):
            continue
        shown.update(places.tolist())
        outputs = classifier.infer(split.pixels(places), maps=True, label=k)
        for n, i in enumerate(places):
            if (found := classifier.activation_map(outputs, n)) is None:
                return
            image = read(split.files[i])
            yield _entry("explained", split, i, name), image
            yield _entry("map", split, i, name), overlay(image, found.values, found.scale)


def _entry(kind: str, split: Split, i: int, label: str | None = None) -> dict[str, Any]:
    name = label or split.classes[split.labels[i]]
    return {"kind": kind, "file": split.files[i], "label": name, "split": split.name}


@contextmanager
def _reading(data: Dataset) -> Iterator[Read]:
    """Yield a function that reads an image larger than the input of the network, for people."""
    contents = {entry.file: entry.sha256 for entry in data.entries}
    colour, depth = data.train.cache.shape[2] == 3, data.train.cache.depth
    with DecoderPool(1) as pool:

        def read(file: str) -> NDArray[np.uint8]:
            again = decode_again(
                pool, [(data.root / file, contents[file])], (_SIDE, _SIDE), colour, depth
            )
            return next(again)

        yield read


def _evenly_spaced(items: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return up to ``count`` items, evenly spaced."""
    return np.asarray(items[evenly(len(items), count)])
