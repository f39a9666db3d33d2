"""First stage of ``near_duplicates``: candidate pairs by small descriptors.

Up to a million images, each is compared with all others, block by block, as tasks that threads or
the nodes of a cluster run. Time grows with the square of their number, memory linearly. Above, the
pairs come from an index of nearest neighbours (``nearest``).
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.cluster import Tasks, Value
from lucency.dataset.descriptors import (
    LENGTH,
    Grids,
    Indices,
    Small,
    Vectors,
    blocks,
    common,
    described,
)

ROWS = 512  # images that are compared with all others at a time
LEAST = 0.84  # correlation of descriptors; 99.5 % of copies cropped by 3 % reach 0.87
PARTNERS = 8
_COLUMNS = 4096
_HALF = LENGTH // 2


class Candidates(NamedTuple):
    """Pairs to be registered, as indices into the list of images.

    Attributes:
        first: (n,) int32, the image that is compared in several views.
        second: (n,) int32.
        view: (n,) int8, its view: 0 whole, 1 mirrored, 2 inner, 3 inner and mirrored.
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


class Described(NamedTuple):
    """All images, as every block is compared with them.

    Attributes:
        whole: (n, 144) float32, their descriptors.
        inner: (n, 12, 12) uint8, the small images without edges.
        shared: (12, 12) float32, what all images have in common.
        contents: (n,) ints; images of equal content are no pair.
        runs: First and last row + 1 of every split.
    """

    whole: Vectors
    inner: NDArray[np.uint8]
    shared: Grids
    contents: Indices
    runs: tuple[tuple[int, int], ...]


def candidates(
    small: Small, contents: Indices, splits: Indices, tasks: Tasks
) -> Generator[Candidates, None, None]:
    """Compare every image with all others; yield the best pairs of 512 images at a time.

    Each image has at most eight partners in each split; most pairs appear twice, once from each
    side.

    Args:
        small: n images.
        contents: (n,) ints; images of equal content are no pair.
        splits: (n,) ints, in ascending order.
        tasks: Compares the blocks; the pairs and their order do not depend on it.
    """
    shared = common(small.whole)
    whole = described(small.whole, shared)
    images = Described(whole, small.inner, shared, contents, runs(splits))
    rows = (range(rows.start, rows.stop) for rows in blocks(len(whole), ROWS))
    yield from tasks.run(compared, rows, tasks.share(images))


def compared(rows: range, images: Value[Described]) -> Candidates:
    """Compare some images with all; return the best pairs of each."""
    whole, inner, shared, contents, split_runs = images.value
    some = slice(rows.start, rows.stop)
    views = whole[some], described(inner[some], shared)
    found = []
    for begin, end in split_runs:
        chunks = [
            _similar(
                views, whole, rows.start, slice(begin + each.start, begin + each.stop), contents
            )
            for each in blocks(end - begin, _COLUMNS)
        ]
        found.append(best_partners(concatenated(chunks)))
    return concatenated(found)


def concatenated(found: Sequence[Candidates]) -> Candidates:
    """Return the pairs of all blocks, one block after the other."""
    return Candidates(*(np.concatenate(column) for column in zip(*found, strict=True)))


def runs(splits: Indices) -> tuple[tuple[int, int], ...]:
    """Return the first and last row + 1 of every split; they are in ascending order."""
    ends = [0, *(np.flatnonzero(np.diff(splits)) + 1).tolist(), len(splits)]
    return tuple(itertools.pairwise(ends))


def _similar(
    views: tuple[Vectors, Vectors],
    whole: Vectors,
    start: int,
    chunk: slice,
    contents: Indices,
) -> Candidates:
    """Return the pairs of one block with similar descriptors; few even where all are similar."""
    best = _best_product(views[0], whole[chunk])
    np.maximum(best, _best_product(views[1], whole[chunk]), out=best)
    hits = best > LEAST
    if len(many := np.flatnonzero(hits.sum(1) > PARTNERS)):
        kept = np.partition(best[many], -PARTNERS - 1, axis=1)[:, -PARTNERS - 1]
        hits[many] &= best[many] >= kept[:, None]
    row, column = np.nonzero(hits)
    other = contents[start + row] != contents[chunk.start + column]
    row, column = row[other], column[other]
    view, similarity = best_views(views, whole, row, chunk.start + column)
    return Candidates(
        (start + row).astype(np.int32), (chunk.start + column).astype(np.int32), view, similarity
    )


def _best_product(some: Vectors, others: Vectors) -> NDArray[np.float32]:
    """Return (k, m) correlations, each the higher one of an image and its mirror image."""
    even = some[:, :_HALF] @ others[:, :_HALF].T
    odd = some[:, _HALF:] @ others[:, _HALF:].T
    even += np.abs(odd, out=odd)
    return np.asarray(even)


def best_views(
    views: tuple[Vectors, Vectors], whole: Vectors, row: Indices, column: Indices
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the best view of pairs, and the correlation of their descriptors in it.

    Args:
        views: (k, 144) descriptors of some images and of their inner views.
        whole: (m, 144) descriptors of others.
        row: (pairs,) of the first.
        column: (pairs,) of the second.
    """
    products = []
    for view in views:
        even, odd = (
            np.einsum("nd,nd->n", view[row][:, half], whole[column][:, half])
            for half in (slice(None, _HALF), slice(_HALF, None))
        )
        products += [even + odd, even - odd]
    found = np.stack(products)
    return found.argmax(0).astype(np.int8), found.max(0)


def best_partners(found: Candidates) -> Candidates:
    """Keep the best partners of every image."""
    order = np.lexsort((found.second, -found.similarity, found.first))
    first = found.first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    return found.at(order[rank < PARTNERS])
