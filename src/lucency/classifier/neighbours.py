"""Training images kept with a classifier, to show which of them are most similar to a new image.

They are kept only on request, because the run folder then contains small images of the training
split. Images that are similar to a network need not look similar; they show what it relies on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lucency.classifier.spec import Spec
from lucency.classifier.stored_files import read_arrays
from lucency.dataset import Split, evenly
from lucency.errors import ClassifierError
from lucency.imaging.decoder.pool import Pixels
from lucency.imaging.image import encode_png, png_uri
from lucency.run_folder.files import NEIGHBOURS

MOST = 5000
SIDE = 96  # largest side of a small image in pixels
_BATCH = 64
_NAMES = {"embeddings", "images", "labels"}


class Neighbour(NamedTuple):
    """A training image that is similar to a new one.

    Attributes:
        label: Its class in the training data.
        distance: Cosine distance: 0 the same, 1 unrelated, 2 the opposite.
        image: (height, width, channels) uint8, as the network gets it, at most 96 pixels wide.
    """

    label: str
    distance: float
    image: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Training images with their embeddings.

    Attributes:
        embeddings: (n, d) float16, 1 to 5,000 of them.
        images: (n, height, width, channels) uint8, at most 96 pixels wide.
        labels: (n,) int64, their classes.
        classes: Class names.
    """

    embeddings: NDArray[np.float16]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def nearest(self, embedding: NDArray[Any], k: int) -> list[Neighbour]:
        """Return the ``k`` images nearest to a new one, the nearest first.

        The distance is the cosine distance of the embeddings minus the mean of the kept ones:
        embeddings have no negative values, so that all would point in similar directions otherwise.

        Args:
            embedding: (d,) input of the last layer for the new image.
            k: Number of images; fewer if fewer are kept.

        Raises:
            ClassifierError: The embedding is of another network.
        """
        kept = self.embeddings.astype(np.float32)
        if embedding.shape != kept.shape[1:] or not np.isfinite(embedding).all():
            raise ClassifierError(
                f"Expected an embedding of {kept.shape[1]} finite numbers. "
                f"Received: {embedding.dtype} {embedding.shape}"
            )
        mean = kept.mean(axis=0)
        distances = 1 - _unit(kept - mean) @ _unit(embedding[None].astype(np.float32) - mean)[0]
        order = np.argsort(distances, kind="stable")[: max(0, k)]
        return [
            Neighbour(self.classes[self.labels[i]], float(max(0.0, distances[i])), self.images[i])
            for i in order
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything but the class names as arrays by name, for safetensors."""
        return {"embeddings": self.embeddings, "images": self.images, "labels": self.labels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], spec: Spec) -> Self:
        """Check the output of ``arrays``.

        Raises:
            ClassifierError: An array is missing, misshapen, not finite or out of range.
        """
        if arrays.keys() != _NAMES or not _is_valid(**arrays, spec=spec):
            raise ClassifierError(
                f"The kept training images are damaged: expected 1 to {MOST:,} with a class and "
                "an embedding each. Restore their file from the training run."
            )
        return cls(**arrays, classes=spec.classes)


@dataclass(frozen=True)
class StoredNeighbours:
    """The file of a run folder that holds them, and its entry in ``classifier.json``."""

    folder: Path
    entry: Any

    def read(self, spec: Spec) -> Neighbours:
        """Read them.

        Raises:
            ClassifierError: The file is missing, damaged or has been changed.
        """
        return Neighbours.from_arrays(read_arrays(self.folder, self.entry, NEIGHBOURS), spec)


def neighbours_of(
    split: Split, count: int, embed: Callable[[Pixels], NDArray[np.float32]]
) -> Neighbours:
    """Choose images of a split, evenly over its classes and then over its order.

    Args:
        split: The training split.
        count: Number of images, at least 1; fewer if a class has fewer.
        embed: From pixels to embeddings (n, d).
    """
    chosen = _chosen(split, min(count, MOST))
    batches = [split.pixels(chosen[k : k + _BATCH]) for k in range(0, len(chosen), _BATCH)]
    largest = float(np.finfo(np.float16).max)
    embeddings = np.concatenate([embed(batch) for batch in batches]).clip(-largest, largest)
    return Neighbours(
        embeddings.astype(np.float16),
        np.concatenate([_small(batch) for batch in batches]),
        np.ascontiguousarray(split.labels[chosen], np.int64),
        split.classes,
    )


def neighbours_json(
    kept: Neighbours | None, embedding: NDArray[Any] | None, k: int
) -> list[dict[str, Any]] | None:
    """Return the nearest images as JSON for the service; ``None`` if none are kept.

    Args:
        kept: ``Classifier.neighbours``.
        embedding: (d,) of the new image, a row of ``Outputs.embeddings``.
        k: Number of images.

    Returns:
        Objects with "label", "distance" and "image", the last a PNG file as a data URI.
    """
    if kept is None or embedding is None:
        return None
    return [
        {
            "label": each.label,
            "distance": round(each.distance, 4),
            "image": png_uri(encode_png(each.image)),
        }
        for each in kept.nearest(embedding, k)
    ]


def _chosen(split: Split, count: int) -> NDArray[np.int64]:
    """Return the indices of up to ``count`` images, equally many of each class if possible."""
    chosen: list[int] = []
    by_class = [np.flatnonzero(split.labels == k) for k in range(len(split.classes))]
    for left, of_class in zip(range(len(by_class), 0, -1), sorted(by_class, key=len), strict=True):
        room = min((count - len(chosen)) // left, len(of_class))  # rare classes first
        chosen += of_class[evenly(len(of_class), room)].tolist()
    return np.array(sorted(chosen), np.int64)


def _small(pixels: Pixels) -> NDArray[np.uint8]:
    """Return images of at most 96 pixels per side, each pixel the mean of a block."""
    step = -(-max(pixels.shape[1:3]) // SIDE)
    height, width = (max(1, side // step) for side in pixels.shape[1:3])
    crop = pixels[:, : height * step, : width * step].astype(np.float32)
    blocks = crop.reshape(len(crop), height, min(step, crop.shape[1]), width, -1, crop.shape[3])
    return np.asarray(blocks.mean(axis=(2, 4)).round(), np.uint8)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _is_valid(
    embeddings: NDArray[Any], images: NDArray[Any], labels: NDArray[Any], spec: Spec
) -> bool:
    count = len(labels) if labels.ndim == 1 else 0
    return (
        1 <= count <= MOST
        and [x.dtype.name for x in (embeddings, images, labels)] == ["float16", "uint8", "int64"]
        and embeddings.ndim == 2
        and images.ndim == 4
        and len(embeddings) == len(images) == count
        and embeddings.shape[1] >= 1
        and all(1 <= side <= SIDE for side in images.shape[1:3])
        and images.shape[3] == spec.channels
        and bool(np.isfinite(embeddings).all())
        and 0 <= int(labels.min()) <= int(labels.max()) < len(spec.classes)
    )
