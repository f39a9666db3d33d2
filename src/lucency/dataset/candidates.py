"""First stage of ``near_duplicates``: candidate pairs by small descriptors, all against all.

A descriptor is the difference between a blurred 12 x 12 image and the mean of the data set, so that
the body part and its centring do not count. All pairs are compared block by block, so memory grows
linearly with the number of images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lucency.dataset.cache import PixelCache
from lucency.dataset.registration import blur

GRID = 12
MARGIN = 1 / 32  # share of a side that the inner view excludes at each end
ROWS = 512  # images that are compared with all others at a time
_COLUMNS = 4096
_BROAD = GRID / 8  # sigma of the shading that is subtracted
_LEAST = 0.84  # correlation of descriptors; 99.5 % of copies cropped by 3 % reach 0.87
_PARTNERS = 8
_FEW = 100  # images from which on their mean is what they have in common
_FLAT = 1.0  # grey levels
_READ = 256

Grids = NDArray[np.float32]  # (n, 12, 12)
Indices = NDArray[np.int64]


class Candidates(NamedTuple):
    """Pairs to be registered, as indices into the list of images.

    Attributes:
        first: (n,) int64, the image that is compared in several views.
        second: (n,) int64.
        view: (n,) int64, its view: 0 whole, 1 mirrored, 2 inner, 3 inner and mirrored.
        similarity: (n,) float32, correlation of the descriptors.
    """

    first: Indices
    second: Indices
    view: Indices
    similarity: NDArray[np.float32]

    def at(self, places: slice | Indices) -> Candidates:
        """Return some of the pairs."""
        first, second, view, similarity = self
        return Candidates(first[places], second[places], view[places], similarity[places])


def grids(cache: PixelCache, rows: Sequence[int] | Indices) -> tuple[Grids, Grids]:
    """Return rows of the cache as small images, whole and without their edges.

    Both are (n, 12, 12) float32 without brightness, shading and contrast; zeros where an image is
    flat.
    """
    height, width, _ = cache.shape
    edge_x, edge_y = MARGIN * width, MARGIN * height
    boxes = (0, 0, width, height), (edge_x, edge_y, width - edge_x, height - edge_y)
    small = np.empty((2, len(rows), GRID, GRID), np.float32)
    for start in range(0, len(rows), _READ):
        for place, pixels in enumerate(cache.read_8bit(rows[start : start + _READ]), start):
            image = grey(pixels)
            for k, box in enumerate(boxes):
                shrunk = image.resize((GRID, GRID), Image.Resampling.BILINEAR, box)
                small[k, place] = np.asarray(shrunk)
    whole, inner = _normalised(small)
    return whole, inner


def grey(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (height, width, 1 or 3) uint8 as a grey image."""
    if pixels.shape[2] == 1:
        return Image.fromarray(pixels[..., 0])
    return Image.fromarray(pixels).convert("L")


def candidates(
    whole: Grids, inner: Grids, contents: Indices, splits: Indices
) -> Iterator[Candidates]:
    """Compare every image with all others; yield the best pairs of 512 images at a time.

    Each image has at most eight partners in each split; most pairs appear twice, once from each
    side.

    Args:
        whole: (n, 12, 12) float32, as ``grids`` returns them.
        inner: The same without edges, to find what others are crops of.
        contents: (n,) int64; images of equal content are no pair.
        splits: (n,) int64, in ascending order.
    """
    common = whole.sum(0) / (len(whole) + _FEW)
    common = (common + common[:, ::-1]) / 2
    plain = _descriptors(whole, common)
    for start in range(0, len(whole), ROWS):
        rows = slice(start, start + ROWS)
        views = np.stack(
            [
                _descriptors(view, common)
                for each in (whole[rows], inner[rows])
                for view in (each, each[:, :, ::-1])
            ]
        )
        blocks = []
        for split in _runs(splits):
            chunks = [_similar(views, plain, start, chunk, contents) for chunk in _chunks(split)]
            blocks.append(_best_partners(concatenated(chunks)))
        yield concatenated(blocks)


def concatenated(blocks: Sequence[Candidates]) -> Candidates:
    """Return the pairs of all blocks, one block after the other."""
    return Candidates(*(np.concatenate(column) for column in zip(*blocks, strict=True)))


def _normalised(small: Grids) -> Grids:
    """Subtract the shading, then scale to mean 0 and variance 1."""
    broad = blur(GRID, _BROAD)
    detail = small - broad @ small @ broad.T
    detail -= detail.mean((-2, -1), keepdims=True)
    std = np.sqrt((detail**2).mean((-2, -1), keepdims=True))
    return np.asarray(np.where(std > _FLAT, detail / np.maximum(std, _FLAT), 0), np.float32)


def _descriptors(small: Grids, common: Grids) -> NDArray[np.float32]:
    """Return (n, 144) unit vectors; zeros for flat images."""
    flat = ~small.any((1, 2))
    vectors = (small - common).reshape(len(small), -1)
    vectors[flat] = 0
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))


def _runs(splits: Indices) -> Iterator[tuple[int, int]]:
    ends = [0, *(np.flatnonzero(np.diff(splits)) + 1).tolist(), len(splits)]
    return itertools.pairwise(ends)


def _chunks(run: tuple[int, int]) -> Iterator[slice]:
    begin, end = run
    for start in range(begin, end, _COLUMNS):
        yield slice(start, min(start + _COLUMNS, end))


def _similar(
    views: NDArray[np.float32],
    plain: NDArray[np.float32],
    start: int,
    chunk: slice,
    contents: Indices,
) -> Candidates:
    """Return the pairs of one block with similar descriptors; few even where all are similar."""
    best = views[0] @ plain[chunk].T
    for view in views[1:]:
        np.maximum(best, view @ plain[chunk].T, out=best)
    hits = best > _LEAST
    if len(many := np.flatnonzero(hits.sum(1) > _PARTNERS)):
        kept = np.partition(best[many], -_PARTNERS - 1, axis=1)[:, -_PARTNERS - 1]
        hits[many] &= best[many] >= kept[:, None]
    row, column = np.nonzero(hits)
    other = contents[start + row] != contents[chunk.start + column]
    row, column = row[other], column[other]
    by_view = np.einsum("vnd,nd->vn", views[:, row], plain[chunk.start + column])
    return Candidates(start + row, chunk.start + column, by_view.argmax(0), best[row, column])


def _best_partners(found: Candidates) -> Candidates:
    """Keep the best partners of every image."""
    order = np.lexsort((found.second, -found.similarity, found.first))
    first = found.first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    return found.at(order[rank < _PARTNERS])
