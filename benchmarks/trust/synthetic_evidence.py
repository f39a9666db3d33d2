"""Images with evidence at a known place: noise, with or without a bright square."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency import models
from lucency.classifier import Classifier, Spec

SIDE, SQUARE = 32, 7
CLASSES = ("plain", "square")


class Drawn(NamedTuple):
    """Images (n, 32, 32, 1), their labels, and the upper left corner of each square."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    corners: NDArray[np.int64]


def draw(count: int, seed: int) -> Drawn:
    """Draw images, every other one with a square."""
    random = np.random.default_rng(seed)
    grey = random.normal(90, 20, (count, SIDE, SIDE))
    labels = np.arange(count) % 2
    corners = random.integers(0, SIDE - SQUARE + 1, (count, 2))
    for i in np.flatnonzero(labels):
        y, x = corners[i]
        grey[i, y : y + SQUARE, x : x + SQUARE] += 60
    return Drawn(grey[..., None].clip(0, 255).astype(np.uint8), labels, corners)


def train(images: int = 1024, epochs: int = 2, seed: int = 0) -> Classifier:
    """Train a tiny network of the default architecture to find the square."""
    keras = models.keras
    keras.utils.set_random_seed(seed)
    parameters: dict[str, Any] = {"width": 8, "blocks": (1, 1), "dropout": 0.0}
    network = models.default(2, (SIDE, SIDE, 1), **parameters)
    drawn = draw(images, seed + 1)
    network.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    network.fit(
        drawn.pixels.astype(np.float32), drawn.labels[:, None].astype(np.float32),
        batch_size=64, epochs=epochs, verbose=0,
    )  # fmt: skip
    spec = Spec(
        classes=CLASSES, positive="square", size=(SIDE, SIDE), channels=1, architecture="default",
        network_channels=1, parameters=parameters | {"blocks": [1, 1]},
    )  # fmt: skip
    return Classifier(spec, {each.path: np.array(each) for each in network.weights})


def hits(maps: NDArray[np.floating[Any]], drawn: Drawn) -> NDArray[np.bool_]:
    """Play the pointing game: does the largest value of each map lie on its square?

    Zhang et al. 2018, "Top-down Neural Attention by Excitation Backprop". A place of the map is a
    hit if its part of the image overlaps the square.

    Args:
        maps: (n, h, w), of the images with a square.
        drawn: The same images.
    """
    step = SIDE / np.array(maps.shape[1:])
    flat = maps.reshape(len(maps), -1).argmax(axis=1)
    places = np.stack(np.unravel_index(flat, maps.shape[1:]), axis=1) * step
    overlap = (places < drawn.corners + SQUARE) & (places + step > drawn.corners)
    return np.asarray(overlap.all(axis=1))


def with_square(drawn: Drawn) -> Drawn:
    """Return the images that have a square."""
    return Drawn(*(each[drawn.labels == 1] for each in drawn))
