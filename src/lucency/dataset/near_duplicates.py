"""Find near duplicates: images that show the same although their bytes differ.

People resize, re-encode, mirror, crop and brighten images before they share them. Pairs with
similar descriptors (``candidates``) are registered to each other and compared (``registration``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from lucency.dataset.cache import PixelCache
from lucency.dataset.candidates import (
    MARGIN,
    ROWS,
    Candidates,
    candidates,
    concatenated,
    grey,
    grids,
)
from lucency.dataset.entry import Entry
from lucency.dataset.registration import SIDE, Images, Transforms, similarity
from lucency.progress import SILENT, Progress

# No two of 5,535 chest radiographs reach 0.94, not even two of the same child. Of their copies, all
# that are not moved exceed 0.98, and 99 % of those cropped by 3 % exceed 0.96.
_LEAST, _LEAST_CROPPED = 0.98, 0.96
_CROPPED = 0.015  # scale or shift beyond which resampling cannot be the reason
_MOST_CROPPED = 0.07
_MOST_DEVIATION = 0.012  # of a transform from that of a crop
_MOST_FALSE = 0.02  # expected share of false ones among the reported crops
_PAIRS = 128  # registered at a time


class NearDuplicate(NamedTuple):
    """Two images with different bytes that show the same.

    Attributes:
        first: The entry with the lower row.
        second: The other.
        kind: How one of them was modified: ``mirrored``, ``cropped``, ``resized`` (the files have
            different sizes) or ``re-encoded``; the first of these that applies.
        similarity: Correlation of their details after registration, 0.96 to 1.
    """

    first: Entry
    second: Entry
    kind: str
    similarity: float


def find_near_duplicates(
    cache: PixelCache, entries: Sequence[Entry], *, progress: Progress = SILENT
) -> tuple[NearDuplicate, ...]:
    """Return pairs of images that show the same although their bytes differ.

    Images with equal bytes are compared once per split. An image has at most about eight partners
    in each split, so some pairs are missing where many images show the same. Flat images have no
    duplicates.

    Args:
        cache: Pixels; the measured recall is that of sides of 64 to 255.
        entries: Images with row, sha256 and split; partners are searched split by split.
        progress: Called for every block of images.
    """
    once = {(entry.split, entry.sha256): entry for entry in reversed(entries)}
    images = sorted(once.values(), key=lambda entry: (entry.split, entry.row))
    if len(images) < 2:
        return ()
    contents = np.unique([entry.sha256 for entry in images], return_inverse=True)[1]
    splits = np.unique([entry.split for entry in images], return_inverse=True)[1]
    small = grids(cache, [entry.row for entry in images])
    blocks: list[Candidates] = []
    with progress.task("Comparing images", len(images), "images") as task:
        for block in candidates(*small, contents, splits):
            task.advance(min(ROWS, len(images) - ROWS * len(blocks)))
            blocks.append(block)
    found = _significant([*_registered(cache, images, _unordered(concatenated(blocks)))])
    return tuple(sorted(found, key=lambda pair: (pair.first.row, pair.second.row)))


def _significant(registered: Sequence[tuple[NearDuplicate, float]]) -> list[NearDuplicate]:
    """Return the near duplicates, with crops only where chance cannot explain them.

    Images with little detail of their own (drawings, schemes) match each other somewhere once they
    may be moved and scaled. Transforms that no crop can have show how often: as many false matches
    must be expected among the transforms that a crop can have.

    Args:
        registered: Pairs, and the deviation of their transform from the nearest that a crop can
            have; -1 where neither image is moved.
    """
    unmoved = [
        pair for pair, deviation in registered if deviation < 0 and pair.similarity >= _LEAST
    ]
    moved = [(pair, deviation) for pair, deviation in registered if deviation >= 0]
    crops = sorted(
        (pair for pair, deviation in moved if deviation <= _MOST_DEVIATION),
        key=lambda pair: -pair.similarity,
    )
    false = np.sort([pair.similarity for pair, deviation in moved if deviation > _MOST_DEVIATION])
    accepted = 0
    for n, pair in enumerate(crops, 1):
        if len(false) - np.searchsorted(false, pair.similarity) <= _MOST_FALSE * n:
            accepted = n
    return unmoved + crops[:accepted]


def _unordered(found: Candidates) -> Candidates:
    """Keep each pair once, in the view with the highest similarity."""
    low, high = np.minimum(found.first, found.second), np.maximum(found.first, found.second)
    order = np.lexsort((found.view, -found.similarity, high, low))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return found.at(order[new])


def _registered(
    cache: PixelCache, images: Sequence[Entry], found: Candidates
) -> Iterator[tuple[NearDuplicate, float]]:
    """Yield the pairs that are similar after registration, and the deviation from a crop."""
    for start in range(0, len(found.first), _PAIRS):
        some = found.at(slice(start, start + _PAIRS))
        first = _read(cache, [images[i].row for i in some.first])
        second = _read(cache, [images[i].row for i in some.second])
        mirrored = some.view % 2 == 1
        first[mirrored] = first[mirrored][:, :, ::-1]
        begin = np.zeros((len(first), 4), np.float32)
        begin[some.view >= 2, ::2] = -2 * MARGIN
        scores, transforms = similarity(first, second, begin)
        for k in np.flatnonzero(scores >= _LEAST_CROPPED):
            pair = images[some.first[k]], images[some.second[k]]
            kind = _kind(cache, pair, bool(mirrored[k]), transforms[k])
            low, high = sorted(pair, key=lambda entry: entry.row)
            duplicate = NearDuplicate(low, high, kind, min(float(scores[k]), 1.0))
            yield duplicate, _crop_deviation(transforms[k])


def _crop_deviation(transform: Transforms) -> float:
    """Return how far a transform is from that of a crop: one image inside the other.

    0 where it is one; -1 where neither image is moved.
    """
    if np.abs(transform).max() <= _CROPPED:
        return -1.0
    scale, shift = transform[::2], np.abs(transform[1::2])
    outside = min(np.max(shift + scale), np.max(shift - scale))
    return float(max(outside, 0.0, np.abs(scale).max() - _MOST_CROPPED))


def _kind(
    cache: PixelCache, pair: tuple[Entry, Entry], mirrored: bool, transform: Transforms
) -> str:
    if mirrored:
        return "mirrored"
    if np.abs(transform).max() > _CROPPED:
        return "cropped"
    first, second = (cache.sizes[entry.row] for entry in pair)
    return "re-encoded" if (first == second).all() else "resized"


def _read(cache: PixelCache, rows: Sequence[int]) -> Images:
    size, method = (SIDE, SIDE), Image.Resampling.BILINEAR
    images = [grey(pixels).resize(size, method) for pixels in cache.read_8bit(rows)]
    return np.stack([np.asarray(image, np.float32) for image in images])
