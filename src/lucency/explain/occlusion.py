"""Occlusion: hide one patch after another and measure how the output changes.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2. It uses
only outputs, so it serves as the reference for maps from inside the network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lucency.explain.sample import PredictFn, blur, log_odds
from lucency.imaging.decoder.pool import Pixels
from lucency.metrics import IntArray

METHOD = "occlusion"
GRID = 6  # patches along each side
_PATCH = 1.5  # width of a patch in grid cells: neighbours overlap, so no edge is missed


def occlusion_maps(
    predict: PredictFn,
    pixels: Pixels,
    of: IntArray,
    temperature: float = 1.0,
    grid: int = GRID,
    *,
    several: bool = False,
) -> NDArray[np.float32]:
    """Return how much the logit of a class falls when each patch is replaced by a blur.

    Args:
        predict: Pixels to probabilities (n, classes).
        pixels: (n, height, width, channels) uint8.
        of: (n,) the class of each map.
        temperature: Of the classifier, to undo the calibration of the logits.
        grid: Patches along each side, at least 1; needs ``grid`` squared predictions per image.
        several: Whether an image may have several of the classes.

    Returns:
        (n, grid, grid) float32 in logits (with more than two classes, minus the mean of the
        others): positive where the patch is evidence for the class.
    """
    before = log_odds(predict(pixels), of, several=several)
    blurred = blur(pixels)
    maps = np.empty((len(pixels), grid, grid), np.float32)
    for row, column in np.ndindex(grid, grid):
        covered = pixels.copy()
        patch = (slice(None), *_patch((row, column), grid, pixels.shape[1:3]))
        covered[patch] = blurred[patch]
        after = log_odds(predict(covered), of, several=several)
        maps[:, row, column] = temperature * (before - after)
    return maps


def patch_means(maps: NDArray[np.float32], grid: int = GRID) -> NDArray[np.float32]:
    """Return the means of maps (n, height, width) over each patch, (n, grid, grid)."""
    size = maps.shape[1:3]
    means = np.empty((len(maps), grid, grid), np.float32)
    for row, column in np.ndindex(grid, grid):
        patch = (slice(None), *_patch((row, column), grid, size))
        means[:, row, column] = maps[patch].mean(axis=(1, 2))
    return means


def _patch(place: tuple[int, int], grid: int, size: tuple[int, ...]) -> tuple[slice, ...]:
    """Return rows and columns of the patch around a grid cell."""
    slices = []
    for number, side in zip(place, size, strict=True):
        middle, half = (number + 0.5) * side / grid, _PATCH * side / grid / 2
        slices.append(slice(max(0, round(middle - half)), max(1, round(middle + half))))
    return tuple(slices)
