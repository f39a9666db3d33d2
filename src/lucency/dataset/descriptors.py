"""Small descriptors of images, by which candidate pairs of near duplicates are found.

A descriptor is the difference between a blurred 12 x 12 image and the mean of the data set, so that
the body part and its centring do not count. Only the small images are kept, in 288 bytes per image;
descriptors are computed from them where they are needed.

A vector is stored as its even and its odd half under reflection, in a basis of unit length. If e
and o are the products of both halves of two vectors, their own product is e + o, and that of one
with the mirror image of the other is e - o. So one product gives both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lucency.dataset.cache import PixelCache
from lucency.dataset.registration import blur

GRID = 12
LENGTH = GRID * GRID
MARGIN = 1 / 32  # share of a side that the inner view excludes at each end
_BROAD = GRID / 8  # sigma of the shading that is subtracted
_FEW = 100  # images from which on their mean is what they have in common
_FLAT = 1.0  # grey levels
_READ = 256
_BLOCK = 4096

Grids = NDArray[np.float32]  # (n, 12, 12)
Vectors = NDArray[np.float32]  # (n, 144): the even half, then the odd half
Indices = NDArray[np.integer[Any]]


class Small(NamedTuple):
    """Images as 12 x 12 grey levels.

    Attributes:
        whole: (n, 12, 12) uint8.
        inner: The same without their edges, to find what others are crops of.
    """

    whole: NDArray[np.uint8]
    inner: NDArray[np.uint8]


def shrunk(cache: PixelCache, rows: Sequence[int] | NDArray[np.int64]) -> Small:
    """Return rows of the cache as small images."""
    height, width, _ = cache.shape
    edge_x, edge_y = MARGIN * width, MARGIN * height
    boxes = (0, 0, width, height), (edge_x, edge_y, width - edge_x, height - edge_y)
    small = Small(*np.empty((2, len(rows), GRID, GRID), np.uint8))
    for start in range(0, len(rows), _READ):
        for place, pixels in enumerate(cache.read_8bit(rows[start : start + _READ]), start):
            image = grey(pixels)
            for target, box in zip(small, boxes, strict=True):
                target[place] = np.asarray(
                    image.resize((GRID, GRID), Image.Resampling.BILINEAR, box)
                )
    return small


def grey(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (height, width, 1 or 3) uint8 as a grey image."""
    if pixels.shape[2] == 1:
        return Image.fromarray(pixels[..., 0])
    return Image.fromarray(pixels).convert("L")


def normalised(small: NDArray[np.uint8]) -> Grids:
    """Return small images without brightness, shading and contrast; zeros where one is flat."""
    grids = small.astype(np.float32)
    broad = blur(GRID, _BROAD)
    detail = grids - broad @ grids @ broad.T
    detail -= detail.mean((-2, -1), keepdims=True)
    std = np.sqrt((detail**2).mean((-2, -1), keepdims=True))
    return np.asarray(np.where(std > _FLAT, detail / np.maximum(std, _FLAT), 0), np.float32)


def common(small: NDArray[np.uint8]) -> Grids:
    """Return what all images have in common, (12, 12), equal to its mirror image."""
    total = np.zeros((GRID, GRID), np.float64)
    for block in blocks(len(small)):
        total += normalised(small[block]).sum(0)
    mean = total / (len(small) + _FEW)
    return np.asarray((mean + mean[:, ::-1]) / 2, np.float32)


def described(small: NDArray[np.uint8], shared: Grids) -> Vectors:
    """Return (n, 144) unit vectors; zeros for flat images.

    Args:
        small: (n, 12, 12).
        shared: What all images have in common.
    """
    vectors = np.empty((len(small), LENGTH), np.float32)
    for block in blocks(len(small)):
        vectors[block] = unit_vectors(normalised(small[block]), shared)
    return vectors


def unit_vectors(grids: Grids, shared: Grids) -> Vectors:
    """Return the difference of grids from ``shared`` as unit vectors; zeros for flat images."""
    flat = ~grids.any((1, 2))
    detail = grids - shared
    detail[flat] = 0
    left, right = detail[:, :, : GRID // 2], detail[:, :, : GRID // 2 - 1 : -1]
    halves = np.concatenate([left + right, left - right], 1).reshape(len(grids), -1)
    return np.asarray(halves / np.maximum(np.linalg.norm(halves, axis=1, keepdims=True), 1e-6))


def mirrored(vectors: Vectors) -> Vectors:
    """Return the descriptors of mirror images."""
    turned = vectors.copy()
    turned[:, LENGTH // 2 :] *= -1
    return turned


def blocks(n: int, most: int = _BLOCK) -> Iterator[slice]:
    """Yield slices of up to ``most`` rows."""
    return (slice(start, min(start + most, n)) for start in range(0, n, most))
