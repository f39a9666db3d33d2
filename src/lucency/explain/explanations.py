"""Predict image files and attach activation or occlusion maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import ActivationMap, Classifier, Prediction
from lucency.classifier.activation_map import classes_of, scale_of
from lucency.errors import ClassifierError
from lucency.explain import occlusion
from lucency.imaging.decoder.pool import Decoded, DecoderPool
from lucency.progress import SILENT, Progress

Method = Literal["cam", "occlusion"]

_LARGEST, _MANY = 1024, 12  # pixels of the longer side; half of it where there are many images
_BATCH = 8  # images processed at a time
_GRID = 12  # occlusion patches along each side


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """A file with its prediction and map.

    Attributes:
        prediction: With a map where the file could be read.
        image: (height, width, 1 or 3) uint8, upright and in its own proportions, at most 1024
            pixels wide or high; ``None`` where the file could not be read.
        size: Height and width of the file's image.
    """

    prediction: Prediction
    image: NDArray[np.uint8] | None = None
    size: tuple[int, int] = (0, 0)


def has_maps(classifier: Classifier) -> bool:
    """Return whether the classifier outputs activation maps; files of older versions may not."""
    blank = np.zeros((1, *classifier.spec.size, classifier.spec.channels), np.uint8)
    return classifier.infer(blank, maps=True).maps is not None


def explain_files(
    classifier: Classifier,
    files: Sequence[Path],
    method: Method = "cam",
    progress: Progress = SILENT,
    label: int | None = None,
) -> Iterator[Explanation]:
    """Predict image files with maps of the evidence for and against a class.

    Args:
        classifier: Predicts.
        files: Image files.
        method: ``cam`` for activation maps of the network, or ``occlusion``.
        progress: Reports the progress.
        label: Of several labels, the number of the one that maps are of; by default the most
            probable one of each image.

    Yields:
        One explanation per file, in order.

    Raises:
        ClassifierError: The classifier has no activation maps.
    """
    if method == "cam" and not has_maps(classifier):
        raise ClassifierError(
            "The model.onnx of this classifier has no activation maps. "
            "Train again, or use lucency explain with --method occlusion."
        )
    side = _LARGEST if len(files) <= _MANY else _LARGEST // 2
    waiting = iter(files)
    with DecoderPool() as pool, progress.task("Explaining", len(files), "files") as task:
        while batch := [*islice(waiting, _BATCH)]:
            yield from _explained(classifier, pool, batch, method, side, label)
            task.advance(len(batch))


def _explained(
    classifier: Classifier,
    pool: DecoderPool,
    files: list[Path],
    method: Method,
    side: int,
    label: int | None,
) -> Iterator[Explanation]:
    spec = classifier.spec
    small = [*pool.map(spec.request(str(file)) for file in files)]
    shown = pool.map(
        spec.display_request(str(file), _within(each.size, side))
        for file, each in zip(files, small, strict=True)
        if each.pixels is not None
    )
    predictions = iter(_predictions(classifier, files, small, method, label))
    for file, each in zip(files, small, strict=True):
        image = next(shown) if each.pixels is not None else each
        if each.pixels is None or image.pixels is None:
            if each.pixels is not None:
                next(predictions)
            yield Explanation(Prediction(str(file), "", (), image.reason))
        else:
            pixels = np.asarray(image.pixels, np.uint8)
            yield Explanation(next(predictions).with_notes(each.notes), pixels, each.size)


def _predictions(
    classifier: Classifier,
    files: list[Path],
    decoded: list[Decoded],
    method: Method,
    label: int | None,
) -> list[Prediction]:
    readable = [i for i, each in enumerate(decoded) if each.pixels is not None]
    if not readable:
        return []
    pixels = np.stack([decoded[i].or_error() for i in readable])
    outputs = classifier.infer(pixels, maps=method == "cam", label=label)
    predictions = classifier.predictions(outputs, [str(files[i]) for i in readable])
    if method == "cam":
        return predictions
    of = classes_of(outputs.probabilities, classifier.spec, label)
    hiding = occlusion.occlusion_maps(
        classifier.predict_pixels, pixels, of, classifier.spec.temperature, _GRID,
        several=classifier.task.is_multilabel,
    )  # fmt: skip
    scale = scale_of(classifier.spec)
    return [
        dataclasses.replace(
            each,
            activation_map=ActivationMap(classifier.classes[k], occlusion.METHOD, scale, values),
        )
        for each, k, values in zip(predictions, of, hiding, strict=True)
    ]


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return height and width in the same proportions, the longer no more than ``side``."""
    share = min(1.0, side / max(*size, 1))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))
