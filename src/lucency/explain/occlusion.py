"""Occlusion: hide one place after the other and see how the answer moves; no look inside.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2. It needs
nothing but answers, so it is what maps from inside a network are compared with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lucency.explain.sample import Pixels, Say, hidden, log_odds
from lucency.metrics import IntArray

METHOD = "occlusion"
GRID = 6  # places along each side
_PATCH = 1.5  # places that a patch is wide: neighbours overlap, so that no edge falls between two


def occlusion_maps(
    say: Say, pixels: Pixels, of: IntArray, temperature: float = 1.0, grid: int = GRID
) -> NDArray[np.float32]:
    """Return by how much the logit of a class falls when each place is hidden behind a blur.

    Args:
        say: Pixels to probabilities (n, classes).
        pixels: (n, height, width, channels) uint8.
        of: (n,) the class that each map is to speak for.
        temperature: Of the classifier, to get logits as the network gives them.
        grid: Places along each side, at least 1; ``grid`` squared answers an image are needed.

    Returns:
        (n, grid, grid) float32 in logits (of more than two classes, less the mean of the others):
        positive where what is there speaks for the class.
    """
    before = log_odds(say(pixels), of)
    blurred = hidden(pixels)
    maps = np.empty((len(pixels), grid, grid), np.float32)
    for row, column in np.ndindex(grid, grid):
        covered = pixels.copy()
        patch = (slice(None), *_patch((row, column), grid, pixels.shape[1:3]))
        covered[patch] = blurred[patch]
        maps[:, row, column] = temperature * (before - log_odds(say(covered), of))
    return maps


def at_places(maps: NDArray[np.float32], grid: int = GRID) -> NDArray[np.float32]:
    """Return maps of whole images (n, height, width) as their means over each patch."""
    size = maps.shape[1:3]
    means = np.empty((len(maps), grid, grid), np.float32)
    for row, column in np.ndindex(grid, grid):
        patch = (slice(None), *_patch((row, column), grid, size))
        means[:, row, column] = maps[patch].mean(axis=(1, 2))
    return means


def _patch(place: tuple[int, int], grid: int, size: tuple[int, ...]) -> tuple[slice, ...]:
    """Return rows and columns of the patch around the middle of a place."""
    slices = []
    for number, side in zip(place, size, strict=True):
        middle, half = (number + 0.5) * side / grid, _PATCH * side / grid / 2
        slices.append(slice(max(0, round(middle - half)), max(1, round(middle + half))))
    return tuple(slices)
