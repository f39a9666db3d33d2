"""Find images that show the same although their bytes differ: copies of copies.

Resized, saved again, mirrored, cropped at the edges, brightened: what people do to images before
they share them. Pairs with like descriptions are laid over each other and compared closely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from lucency.dataset.cache import PixelStore
from lucency.dataset.candidates import INSIDE, ROWS, Candidates, candidates, grey, grids, joined
from lucency.dataset.entry import Entry
from lucency.dataset.registration import SIDE, Images, Places, similarity
from lucency.progress import SILENT, Progress

# Of 5,535 chest radiographs no two reach 0.94, not even of one child. Of their copies, all that lie in
# place exceed 0.98, and 99 % of those cropped by 3 % exceed 0.96.
_SAME, _SAME_CROPPED = 0.98, 0.96
_CROPPED = 0.015  # scale or shift beyond which it is no matter of resampling
_MOST_CROPPED = 0.07
_CROOKED = 0.012  # how far a place may be from that of a crop
_MOST_FALSE = 0.02  # share of the crops told that may be false
_PAIRS = 128  # compared closely at a time


class Copy(NamedTuple):
    """Two images with different bytes that show the same.

    Attributes:
        first: The one that comes first.
        second: The other.
        kind: What was done to one of them: ``mirrored``, ``cropped``, ``resized`` (the files have
            different sizes) or ``re-encoded``; the first of these that applies.
        similarity: Correlation of their details when laid over each other, 0.96 to 1.
    """

    first: Entry
    second: Entry
    kind: str
    similarity: float


def find_copies(
    store: PixelStore, entries: Sequence[Entry], *, progress: Progress = SILENT
) -> tuple[Copy, ...]:
    """Return pairs of images that show the same although their bytes differ.

    Images with equal bytes are looked at once per part. An image has about eight partners in
    each part at most, so where many images show the same, some of their pairs are missing.
    Flat images have no copies.

    Args:
        store: Pixels; what is known of recall holds for sides of 64 to 255.
        entries: Images with row, sha256 and part; partners are looked for part by part.
        progress: Hears of the comparison.
    """
    once = {(entry.split, entry.sha256): entry for entry in reversed(entries)}
    images = sorted(once.values(), key=lambda entry: (entry.split, entry.row))
    if len(images) < 2:
        return ()
    contents = np.unique([entry.sha256 for entry in images], return_inverse=True)[1]
    splits = np.unique([entry.split for entry in images], return_inverse=True)[1]
    small = grids(store, [entry.row for entry in images])
    blocks: list[Candidates] = []
    with progress.task("Comparing images", len(images), "images") as task:
        for block in candidates(*small, contents, splits):
            task.advance(min(ROWS, len(images) - ROWS * len(blocks)))
            blocks.append(block)
    copies = _believed([*_overlaid(store, images, _unordered(joined(blocks)))])
    return tuple(sorted(copies, key=lambda copy: (copy.first.row, copy.second.row)))


def _believed(overlaid: Sequence[tuple[Copy, float]]) -> list[Copy]:
    """Return the copies, and crops only where they can be told from chance.

    Images without much detail of their own (drawings, schemes) fit over each other somehow once
    they may be moved and scaled. How often shows in the places where no crop could lie: as many
    false ones must be expected among those where it could.

    Args:
        overlaid: Pairs, and how far their place is from the nearest that a crop can have; -1
            where the images lie exactly over each other.
    """
    in_place = [copy for copy, crooked in overlaid if crooked < 0 and copy.similarity >= _SAME]
    moved = [(copy, crooked) for copy, crooked in overlaid if crooked >= 0]
    crops = sorted(
        (copy for copy, crooked in moved if crooked <= _CROOKED),
        key=lambda copy: -copy.similarity,
    )
    false = np.sort([copy.similarity for copy, crooked in moved if crooked > _CROOKED])
    told = 0
    for n, copy in enumerate(crops, 1):
        if len(false) - np.searchsorted(false, copy.similarity) <= _MOST_FALSE * n:
            told = n
    return in_place + crops[:told]


def _unordered(found: Candidates) -> Candidates:
    """Keep of every pair the side from which it looks most alike."""
    low, high = np.minimum(found.first, found.second), np.maximum(found.first, found.second)
    order = np.lexsort((found.view, -found.alike, high, low))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return found.at(order[new])


def _overlaid(
    store: PixelStore, images: Sequence[Entry], found: Candidates
) -> Iterator[tuple[Copy, float]]:
    """Yield the pairs that are alike when laid over each other, and how crooked they lie."""
    for start in range(0, len(found.first), _PAIRS):
        some = found.at(slice(start, start + _PAIRS))
        first = _read(store, [images[i].row for i in some.first])
        second = _read(store, [images[i].row for i in some.second])
        mirrored = some.view % 2 == 1
        first[mirrored] = first[mirrored][:, :, ::-1]
        begin = np.zeros((len(first), 4), np.float32)
        begin[some.view >= 2, ::2] = -2 * INSIDE
        alike, places = similarity(first, second, begin)
        for k in np.flatnonzero(alike >= _SAME_CROPPED):
            pair = images[some.first[k]], images[some.second[k]]
            kind = _kind(store, pair, bool(mirrored[k]), places[k])
            low, high = sorted(pair, key=lambda entry: entry.row)
            yield Copy(low, high, kind, min(float(alike[k]), 1.0)), _crooked(places[k])


def _crooked(place: Places) -> float:
    """Return how far a place is from that of a crop: one image inside the other, little smaller.

    0 where it is one; -1 where the images lie exactly over each other.
    """
    if np.abs(place).max() <= _CROPPED:
        return -1.0
    scale, shift = place[::2], np.abs(place[1::2])
    outside = min(np.max(shift + scale), np.max(shift - scale))
    return float(max(outside, 0.0, np.abs(scale).max() - _MOST_CROPPED))


def _kind(store: PixelStore, pair: tuple[Entry, Entry], mirrored: bool, place: Places) -> str:
    if mirrored:
        return "mirrored"
    if np.abs(place).max() > _CROPPED:
        return "cropped"
    first, second = (store.sizes[entry.row] for entry in pair)
    return "re-encoded" if (first == second).all() else "resized"


def _read(store: PixelStore, rows: Sequence[int]) -> Images:
    side, how = (SIDE, SIDE), Image.Resampling.BILINEAR
    images = [grey(pixels).resize(side, how) for pixels in store.read(rows)]
    return np.stack([np.asarray(image, np.float32) for image in images])
