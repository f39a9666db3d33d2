"""What each probe sees of an image: little, and not its content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.float64]
Pixels = NDArray[np.uint8]

_SIDE = 64
_BORDER = 6  # of 64 pixels, about a tenth
_TOKENS = 40
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
TONE = ("mean grey", "contrast", *(f"grey at {p} %" for p in _PERCENTILES))
MARKS = (
    "brightest spot at the border",
    "darkest spot at the border",
    "sharpest edges at the border",
    "edges at the border",
)


def small(pixels: Pixels) -> Pixels:
    """Return images (k, height, width, channels) as grey 64 x 64, (k, 64, 64) uint8."""
    grey = pixels[..., 0] if pixels.shape[3] == 1 else pixels.mean(axis=3).astype(np.uint8)
    size = (_SIDE, _SIDE)
    shrunk = [Image.fromarray(x).resize(size, Image.Resampling.BILINEAR) for x in grey]
    return np.stack([np.asarray(x) for x in shrunk])


def tone(seen: Pixels) -> FloatArray:
    """Return the brightness and contrast of images, (k, 9) as in ``TONE``."""
    flat = seen.reshape(len(seen), -1).astype(np.float64)
    levels = np.percentile(flat, _PERCENTILES, axis=1).T
    return np.column_stack([flat.mean(axis=1), flat.std(axis=1), levels])


def border(seen: Pixels) -> FloatArray:
    """Return the outer tenth alone at equal tone: eight places along each side, (k, 32)."""
    x = _even(seen.astype(np.float64))
    sides = (x[:, :_BORDER], x[:, -_BORDER:], x[:, :, :_BORDER], x[:, :, -_BORDER:])
    along = (2, 2, 1, 1)
    strips = [side.mean(axis=3 - axis) for side, axis in zip(sides, along, strict=True)]
    return np.column_stack([strip.reshape(len(x), 8, -1).mean(axis=2) for strip in strips])


def marks(seen: Pixels) -> FloatArray:
    """Return what is written or pasted anywhere near the border, (k, 4) as in ``MARKS``."""
    x = _even(seen.astype(np.float64))  # exposure is for the tone to find
    steps = abs(np.diff(x, axis=1))[:, :, :-1] + abs(np.diff(x, axis=2))[:, :-1]
    frame = np.ones((_SIDE, _SIDE), bool)
    frame[_SIDE // 4 : -_SIDE // 4, _SIDE // 4 : -_SIDE // 4] = False
    outside, edges = x[:, frame], steps[:, frame[:-1, :-1]]
    return np.column_stack([
        np.partition(outside, -12, axis=1)[:, -12:].mean(axis=1),
        np.partition(outside, 12, axis=1)[:, :12].mean(axis=1),
        np.partition(edges, -12, axis=1)[:, -12:].mean(axis=1),
        edges.mean(axis=1),
    ])  # fmt: skip


def thumbnail(seen: Pixels) -> FloatArray:
    """Return images at 8 x 8 and equal tone, (k, 64)."""
    return _even(_pooled(seen, 8)).reshape(len(seen), -1)


def without_centre(seen: Pixels) -> FloatArray:
    """Return images at 16 x 16 and equal tone without the middle 60 % each way, (k, 156)."""
    outside = np.ones((16, 16), bool)
    outside[3:13, 3:13] = False
    return _even(_pooled(seen, 16)[:, outside])


def _pooled(seen: Pixels, side: int) -> FloatArray:
    step = _SIDE // side
    return np.asarray(seen.reshape(len(seen), side, step, side, step).mean(axis=(2, 4)))


def _even(values: FloatArray) -> FloatArray:
    axes = tuple(range(1, values.ndim))
    mean, deviation = values.mean(axis=axes, keepdims=True), values.std(axis=axes, keepdims=True)
    return np.asarray((values - mean) / (deviation + 1))


def name_features(files: Sequence[str], classes: Sequence[str]) -> tuple[FloatArray, list[str]]:
    """Return what file names hold beside the class folder: words, digits and length.

    Args:
        files: n paths; only the last part counts.
        classes: Class names, which are no words.

    Returns:
        (n, words + 2), and the name of each column.
    """
    stems = [PurePosixPath(file).stem for file in files]
    own = {word.lower() for name in classes for word in re.findall("[A-Za-z]+", name)}
    words = [{word.lower() for word in re.findall("[A-Za-z]+", stem)} - own for stem in stems]
    counts = Counter(word for each in words for word in each)
    common = [word for word, n in counts.most_common(_TOKENS) if n < len(files)]
    columns = [[float(word in each) for each in words] for word in common]
    columns.append([float(sum(letter.isdigit() for letter in stem)) for stem in stems])
    columns.append([float(len(stem)) for stem in stems])
    names = [*(f"the word {word!r}" for word in common), "number of digits", "length of the name"]
    return np.array(columns).T, names
