"""Candidate pairs among more than a million images, by an index of nearest neighbours (FAISS).

The descriptors of each split are grouped around centres (k-means), and each image is compared with
those in the groups nearest to it only. Descriptors are stored in a byte per value; the pairs that
are found are compared exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lucency.dataset.candidates import (
    LEAST,
    PARTNERS,
    Candidates,
    best_partners,
    best_views,
    concatenated,
    runs,
)
from lucency.dataset.descriptors import (
    LENGTH,
    Grids,
    Indices,
    Small,
    blocks,
    common,
    described,
    mirrored,
)

BLOCK = 8192  # images that are searched at a time
_TRAINED = 64  # images of a group that its centre is computed from, at most
_ROUNDS = 10  # of k-means
_SEARCHED = 32  # groups that an image is compared with
_MORE = 4  # neighbours beyond the partners, as stored descriptors are inexact
_INEXACT = 0.01


def nearest(small: Small, contents: Indices, splits: Indices, threads: int) -> Iterator[Candidates]:
    """Yield the best pairs of 8,192 images at a time, as ``candidates`` does; a few are missed.

    Args:
        small: n images.
        contents: (n,) ints; images of equal content are no pair.
        splits: (n,) ints, in ascending order.
        threads: Number of threads. The pairs do not depend on it.
    """
    import faiss

    faiss.omp_set_num_threads(threads)
    shared = common(small.whole)
    indices = [(run, _index(small, run, shared)) for run in runs(splits)]
    for rows in blocks(len(contents), BLOCK):
        views = tuple(described(each[rows], shared) for each in small)
        turned = [view for each in views for view in (each, mirrored(each))]
        found = []
        for (begin, _), index in indices:
            row, column = _neighbours(index, turned)
            pairs = _exact(small, shared, views, row, begin + column)
            other = contents[rows.start + pairs.first] != contents[pairs.second]
            pairs = pairs.at(np.flatnonzero(other & (pairs.similarity > LEAST)))
            found.append(best_partners(pairs._replace(first=rows.start + pairs.first)))
        yield concatenated(found)


def _index(small: Small, run: tuple[int, int], shared: Grids) -> Any:
    """Return an index of one split."""
    import faiss

    begin, end = run
    groups = max(1, min(round(4 * math.sqrt(end - begin)), (end - begin) // _TRAINED))
    index: Any = faiss.index_factory(LENGTH, f"IVF{groups},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = _ROUNDS, _TRAINED
    index.cp.min_points_per_centroid = 1  # below which FAISS prints a warning
    index.nprobe = _SEARCHED
    draw = np.random.default_rng(0).permutation(end - begin)[: groups * _TRAINED]
    index.train(described(small.whole[begin + np.sort(draw)], shared))
    for rows in blocks(end - begin, BLOCK):
        index.add(described(small.whole[begin + rows.start : begin + rows.stop], shared))
    return index


def _neighbours(index: Any, views: Sequence[Any]) -> tuple[Indices, Indices]:
    """Return rows of the views and those of the index that are similar, each pair once."""
    pairs = []
    for view in views:
        similarity, neighbours = index.search(view, PARTNERS + 1 + _MORE)
        row, place = np.nonzero(similarity > LEAST - _INEXACT)
        pairs.append(row * np.int64(index.ntotal) + neighbours[row, place])
    unique = np.unique(np.concatenate(pairs))
    return unique // index.ntotal, unique % index.ntotal


def _exact(small: Small, shared: Grids, views: Any, row: Indices, column: Indices) -> Candidates:
    """Compare pairs without the error of the stored descriptors."""
    others, place = np.unique(column, return_inverse=True)
    view, similarity = best_views(views, described(small.whole[others], shared), row, place)
    return Candidates(row.astype(np.int32), column.astype(np.int32), view, similarity)
