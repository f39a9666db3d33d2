"""Which images are alike enough to be compared closely: small descriptions, all against all.

A description is what a blurred image of 12 x 12 differs by from the mean one of the data set, so
that a body part and the way it is centred do not count. All pairs are compared, block by block, so
that memory grows with the number of images alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lucency.dataset.cache import PixelStore
from lucency.dataset.registration import blur

GRID = 12
INSIDE = 1 / 32  # share of a side that the view of the inside leaves out at each end
ROWS = 512  # images that are compared with all others at a time
_COLUMNS = 4096
_BROAD = GRID / 8  # sigma of the shades that are taken away
_ALIKE = 0.84  # correlation of descriptions; of copies cropped by 3 %, 99.5 % have 0.87
_PARTNERS = 8
_FEW = 100  # so many images are needed before their mean is what they have in common
_FLAT = 1.0  # grey levels
_READ = 256

Grids = NDArray[np.float32]  # (n, 12, 12)
Places = NDArray[np.int64]


class Candidates(NamedTuple):
    """Pairs that are worth a close look, as places in the list of images.

    Attributes:
        first: (n,) int64, the image that was looked at in several views.
        second: (n,) int64.
        view: (n,) int64, which view: 0 whole, 1 mirrored, 2 inside, 3 inside and mirrored.
        alike: (n,) float32, correlation of the descriptions.
    """

    first: Places
    second: Places
    view: Places
    alike: NDArray[np.float32]

    def at(self, places: slice | Places) -> Candidates:
        """Return some of the pairs."""
        return Candidates(
            self.first[places], self.second[places], self.view[places], self.alike[places]
        )


def grids(store: PixelStore, rows: Sequence[int] | Places) -> tuple[Grids, Grids]:
    """Return rows of the store as small images, whole and without their edges.

    Both are (n, 12, 12) float32 without brightness, broad shades and contrast; zeros where a
    image is flat.
    """
    height, width, _ = store.shape
    edge_x, edge_y = INSIDE * width, INSIDE * height
    boxes = (0, 0, width, height), (edge_x, edge_y, width - edge_x, height - edge_y)
    small = np.empty((2, len(rows), GRID, GRID), np.float32)
    for start in range(0, len(rows), _READ):
        for place, pixels in enumerate(store.read(rows[start : start + _READ]), start):
            image = grey(pixels)
            for k, box in enumerate(boxes):
                shrunk = image.resize((GRID, GRID), Image.Resampling.BILINEAR, box)
                small[k, place] = np.asarray(shrunk)
    whole, inside = _evened(small)
    return whole, inside


def grey(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (height, width, 1 or 3) uint8 as a grey image."""
    if pixels.shape[2] == 1:
        return Image.fromarray(pixels[..., 0])
    return Image.fromarray(pixels).convert("L")


def candidates(
    whole: Grids, inside: Grids, contents: Places, parts: Places
) -> Iterator[Candidates]:
    """Compare every image with all others; yield the best pairs of 512 images at a time.

    Each image has at most eight partners in each part, of which it is the first; most pairs
    appear twice, once from each side.

    Args:
        whole: (n, 12, 12) float32, as ``grids`` returns them.
        inside: The same without edges, to find what others are crops of.
        contents: (n,) int64; images of equal content are no pair.
        parts: (n,) int64, in ascending order.
    """
    common = whole.sum(0) / (len(whole) + _FEW)
    common = (common + common[:, ::-1]) / 2
    plain = _described(whole, common)
    for start in range(0, len(whole), ROWS):
        rows = slice(start, start + ROWS)
        views = np.stack(
            [
                _described(turned, common)
                for each in (whole[rows], inside[rows])
                for turned in (each, each[:, :, ::-1])
            ]
        )
        blocks = []
        for part in _runs(parts):
            chunks = [_alike(views, plain, start, chunk, contents) for chunk in _chunks(part)]
            blocks.append(_fittest(joined(chunks)))
        yield joined(blocks)


def joined(blocks: Sequence[Candidates]) -> Candidates:
    """Return candidates one after the other."""
    return Candidates(*(np.concatenate(column) for column in zip(*blocks, strict=True)))


def _evened(small: Grids) -> Grids:
    """Take the broad shades away, then set mean 0 and variance 1."""
    broad = blur(GRID, _BROAD)
    detail = small - broad @ small @ broad.T
    detail -= detail.mean((-2, -1), keepdims=True)
    spread = np.sqrt((detail**2).mean((-2, -1), keepdims=True))
    return np.asarray(np.where(spread > _FLAT, detail / np.maximum(spread, _FLAT), 0), np.float32)


def _described(small: Grids, common: Grids) -> NDArray[np.float32]:
    """Return (n, 144) unit vectors; zeros for flat images."""
    flat = ~small.any((1, 2))
    vectors = (small - common).reshape(len(small), -1)
    vectors[flat] = 0
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))


def _runs(parts: Places) -> Iterator[tuple[int, int]]:
    ends = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
    return itertools.pairwise(ends)


def _chunks(part: tuple[int, int]) -> Iterator[slice]:
    begin, end = part
    for start in range(begin, end, _COLUMNS):
        yield slice(start, min(start + _COLUMNS, end))


def _alike(
    views: NDArray[np.float32],
    plain: NDArray[np.float32],
    start: int,
    chunk: slice,
    contents: Places,
) -> Candidates:
    """Return the pairs of one block with like descriptions; few even where all are alike."""
    best = views[0] @ plain[chunk].T
    for view in views[1:]:
        np.maximum(best, view @ plain[chunk].T, out=best)
    hits = best > _ALIKE
    if len(many := np.flatnonzero(hits.sum(1) > _PARTNERS)):
        kept = np.partition(best[many], -_PARTNERS - 1, axis=1)[:, -_PARTNERS - 1]
        hits[many] &= best[many] >= kept[:, None]
    row, column = np.nonzero(hits)
    other = contents[start + row] != contents[chunk.start + column]
    row, column = row[other], column[other]
    by_view = np.einsum("vnd,nd->vn", views[:, row], plain[chunk.start + column])
    return Candidates(start + row, chunk.start + column, by_view.argmax(0), best[row, column])


def _fittest(found: Candidates) -> Candidates:
    """Keep the best partners of every image."""
    order = np.lexsort((found.second, -found.alike, found.first))
    first = found.first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    return found.at(order[rank < _PARTNERS])
