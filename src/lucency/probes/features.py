"""Features that the probes extract from pixels: simple ones, not the content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lucency.imaging.frames import file_of

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


def tone(images: Pixels) -> FloatArray:
    """Return the brightness and contrast of images, (k, 9) as in ``TONE``."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    levels = np.percentile(flat, _PERCENTILES, axis=1).T
    return np.column_stack([flat.mean(axis=1), flat.std(axis=1), levels])


def border(images: Pixels) -> FloatArray:
    """Return the outer tenth, standardised: eight means along each side, (k, 32)."""
    x = _standardised(images.astype(np.float64))
    sides = (x[:, :_BORDER], x[:, -_BORDER:], x[:, :, :_BORDER], x[:, :, -_BORDER:])
    along = (2, 2, 1, 1)
    strips = [side.mean(axis=3 - axis) for side, axis in zip(sides, along, strict=True)]
    return np.column_stack([strip.reshape(len(x), 8, -1).mean(axis=2) for strip in strips])


def marks(images: Pixels) -> FloatArray:
    """Return features of text and markers near the border, (k, 4) as in ``MARKS``."""
    x = _standardised(images.astype(np.float64))  # without exposure, which is part of the tone
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


def thumbnail(images: Pixels) -> FloatArray:
    """Return images at 8 x 8, standardised, (k, 64)."""
    return _standardised(_pooled(images, 8)).reshape(len(images), -1)


def without_centre(images: Pixels) -> FloatArray:
    """Return images at 16 x 16, standardised, without the middle 60 % of each side, (k, 156)."""
    outside = np.ones((16, 16), bool)
    outside[3:13, 3:13] = False
    return _standardised(_pooled(images, 16)[:, outside])


def _pooled(images: Pixels, side: int) -> FloatArray:
    step = _SIDE // side
    return np.asarray(images.reshape(len(images), side, step, side, step).mean(axis=(2, 4)))


def _standardised(values: FloatArray) -> FloatArray:
    """Return values with mean 0 and standard deviation 1 in each image."""
    axes = tuple(range(1, values.ndim))
    mean, deviation = values.mean(axis=axes, keepdims=True), values.std(axis=axes, keepdims=True)
    return np.asarray((values - mean) / (deviation + 1))


def name_features(files: Sequence[str], classes: Sequence[str]) -> tuple[FloatArray, list[str]]:
    """Return features of file names: words, digits and length.

    Args:
        files: n paths; only the file name counts.
        classes: Class names, which do not count as words.

    Returns:
        (n, words + 2), and the name of each column.
    """
    stems = [PurePosixPath(file_of(file)).stem for file in files]
    ignored = {word.lower() for name in classes for word in re.findall("[A-Za-z]+", name)}
    words = [{word.lower() for word in re.findall("[A-Za-z]+", stem)} - ignored for stem in stems]
    counts = Counter(word for each in words for word in each)
    common = [word for word, n in counts.most_common(_TOKENS) if n < len(files)]
    columns = [[float(word in each) for each in words] for word in common]
    columns.append([float(sum(letter.isdigit() for letter in stem)) for stem in stems])
    columns.append([float(len(stem)) for stem in stems])
    names = [*(f"the word {word!r}" for word in common), "number of digits", "length of the name"]
    return np.array(columns).T, names
