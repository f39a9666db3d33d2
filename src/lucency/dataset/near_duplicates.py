"""Find near duplicates: images that show the same although their bytes differ.

People resize, re-encode, mirror, crop and brighten images before they share them. Pairs with
similar descriptors (``candidates``, or ``nearest`` among more than a million images) are registered
to each other and compared (``registration``).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from lucency.cluster import Tasks, tasks, threads
from lucency.config import Config
from lucency.dataset.cache import PixelCache
from lucency.dataset.candidates import ROWS, Candidates, candidates, concatenated
from lucency.dataset.descriptors import MARGIN, Small, grey, shrunk
from lucency.dataset.entry import Entry
from lucency.dataset.nearest import BLOCK, nearest
from lucency.dataset.registration import SIDE, Transforms, similarity
from lucency.errors import BackendError
from lucency.progress import SILENT, Progress

MOST_COMPARED = 1_000_000  # images, all with all; an index of nearest neighbours takes over
_HOURS = 4.6  # of a processor to compare a million with each other

# No two of 5,535 chest radiographs reach 0.94, not even two of the same child. Of their copies, all
# that are not moved exceed 0.98, and 99 % of those cropped by 3 % exceed 0.96.
_LEAST, _LEAST_CROPPED = 0.98, 0.96
_CROPPED = 0.015  # scale or shift beyond which resampling cannot be the reason
_MOST_CROPPED = 0.07
_MOST_DEVIATION = 0.012  # of a transform from that of a crop
_MOST_FALSE = 0.02  # expected share of false ones among the reported crops
_PAIRS = 128  # registered at a time
_TASK = 1024  # pairs that a task registers
_PAIR = np.dtype([("images", np.uint8, (2, SIDE, SIDE)), ("start", np.float32, 4)])

Pairs = NDArray[np.void]  # (n,) of _PAIR: the first image is registered to the second


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
    cache: PixelCache,
    entries: Sequence[Entry],
    config: Config | None = None,
    *,
    progress: Progress = SILENT,
) -> tuple[NearDuplicate, ...]:
    """Return pairs of images that show the same although their bytes differ.

    Images with equal bytes are compared once per split. An image has at most about eight partners
    in each split, so some pairs are missing where many images show the same. Flat images have no
    duplicates.

    Args:
        cache: Pixels; the measured recall is that of sides of 64 to 255.
        entries: Images with row, sha256 and split; partners are searched split by split.
        config: Where to work: on how many threads or on which cluster. The pairs do not depend on
            it.
        progress: Called for every block of images.

    Raises:
        BackendError: There are more images than can be compared without FAISS, which is missing.
        LucencyError: The cluster cannot be used.
    """
    config = config or Config()
    images, contents, splits = _once(entries)
    if len(images) < 2:
        return ()
    check_search(len(images))
    work = tasks(config, progress)
    with threadpool_limits(1, "blas"):  # each thread compares images of its own
        small = shrunk(cache, [entry.row for entry in images])
        pairs = _compared(small, contents, splits, config, work, progress)
        found = _significant([*_registered(cache, images, pairs, work, progress)])
    return tuple(sorted(found, key=lambda pair: (pair.first.row, pair.second.row)))


def check_search(n: int) -> None:
    """Check that near duplicates among so many images can be searched for here.

    Raises:
        BackendError: They need FAISS, which is missing.
    """
    if n > MOST_COMPARED and not importlib.util.find_spec("faiss"):
        hours = _HOURS * (n / 1e6) ** 2
        raise BackendError(
            f"{n:,} images: the search for copies among more than {MOST_COMPARED:,} needs FAISS: "
            'pip install "lucency[search]". Comparing all with all would take '
            f"{hours:,.0f} processor hours. Or give fewer images."
        )


def _once(
    entries: Sequence[Entry],
) -> tuple[list[Entry], NDArray[np.int64], NDArray[np.int64]]:
    """Return one image of each content and split, by split and row, with numbers of both."""
    numbers: dict[str, int] = {}
    count = len(entries)
    contents = np.fromiter(
        (numbers.setdefault(entry.sha256, len(numbers)) for entry in entries), np.int64, count
    )
    names = {name: k for k, name in enumerate(sorted({entry.split for entry in entries}))}
    splits = np.fromiter((names[entry.split] for entry in entries), np.int64, count)
    rows = np.fromiter((entry.row for entry in entries), np.int64, count)
    first = np.unique(splits * count + contents, return_index=True)[1]
    order = first[np.lexsort((rows[first], splits[first]))]
    return [entries[i] for i in order], contents[order], splits[order]


def _compared(
    small: Small,
    contents: NDArray[np.int64],
    splits: NDArray[np.int64],
    config: Config,
    work: Tasks,
    progress: Progress,
) -> Candidates:
    """Return the pairs of similar descriptors, each once, with all others or by an index."""
    n = len(contents)
    search: Iterator[Candidates]
    if n > MOST_COMPARED:
        search, rows = nearest(small, contents, splits, threads(config)), BLOCK
    else:
        search, rows = candidates(small, contents, splits, work), ROWS
    blocks: list[Candidates] = []
    with progress.task("Comparing images", n, "images") as task:
        for block in search:
            task.advance(min(rows, n - rows * len(blocks)))
            blocks.append(block)
    return _unordered(concatenated(blocks))


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
    cache: PixelCache, images: Sequence[Entry], found: Candidates, work: Tasks, progress: Progress
) -> Iterator[tuple[NearDuplicate, float]]:
    """Yield the pairs that are similar after registration, and the deviation from a crop."""
    n = len(found.first)
    some = [found.at(slice(k, k + _TASK)) for k in range(0, n, _TASK)]
    results = work.run(registered, (_pairs(cache, images, each) for each in some))
    with progress.task("Comparing similar images", n, "pairs") as task:
        for each, (scores, transforms) in zip(some, results, strict=True):
            task.advance(len(scores))
            for k in np.flatnonzero(scores >= _LEAST_CROPPED):
                pair = images[each.first[k]], images[each.second[k]]
                yield _duplicate(
                    cache, pair, bool(each.view[k] % 2), float(scores[k]), transforms[k]
                )


def _duplicate(
    cache: PixelCache,
    pair: tuple[Entry, Entry],
    mirrored: bool,
    score: float,
    transform: Transforms,
) -> tuple[NearDuplicate, float]:
    """Return a pair that is similar after registration, and its deviation from a crop."""
    kind = _kind(cache, pair, mirrored, transform)
    low, high = sorted(pair, key=lambda entry: entry.row)
    return NearDuplicate(low, high, kind, min(score, 1.0)), _crop_deviation(transform)


def _pairs(cache: PixelCache, images: Sequence[Entry], found: Candidates) -> Pairs:
    """Return the pixels of pairs, and the transforms to start with."""
    pairs = np.zeros(len(found.first), _PAIR)
    for k, column in enumerate((found.first, found.second)):
        pairs["images"][:, k] = _read(cache, [images[i].row for i in column])
    mirrored = found.view % 2 == 1
    pairs["images"][mirrored, 0] = pairs["images"][mirrored, 0, :, ::-1]
    pairs["start"][found.view >= 2, ::2] = -2 * MARGIN
    return pairs


def registered(pairs: Pairs) -> tuple[NDArray[np.float32], Transforms]:
    """Return the similarity of pairs after registration, (n,), and the transforms, (n, 4)."""
    parts = [pairs[start : start + _PAIRS] for start in range(0, len(pairs), _PAIRS)]
    scores, transforms = zip(*map(_similarity, parts), strict=True)
    return np.concatenate(scores), np.concatenate(transforms)


def _similarity(pairs: Pairs) -> tuple[NDArray[np.float32], Transforms]:
    images = pairs["images"].astype(np.float32)
    return similarity(images[:, 0], images[:, 1], pairs["start"])


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


def _read(cache: PixelCache, rows: Sequence[int]) -> NDArray[np.uint8]:
    size, method = (SIDE, SIDE), Image.Resampling.BILINEAR
    images = [grey(pixels).resize(size, method) for pixels in cache.read_8bit(rows)]
    return np.stack([np.asarray(image) for image in images])
