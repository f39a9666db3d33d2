"""Lay one image over another and measure how alike the two are then.

The second image may be a part of the first, moved and scaled by up to 12 % in each direction;
brightness and contrast do not count. Gauss-Newton steps find the best place (Lucas and Kanade,
"An iterative image registration technique", IJCAI 1981; Baker and Matthews, IJCV 56, 2004), first
at 32 and then at 64 pixels, and the correlation there is taken on what is finer than the blur that
all radiographs of one body part share.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

SIDE = 64
_COARSE, _FINE = (1.0, 4.0), (0.7, 3.0)  # bands, as the sigmas of two Gaussians in pixels
_COARSE_STEPS, _FINE_STEPS = 5, 3
_WORTH_IT = 0.80  # correlation at 32 pixels below which no copy has been seen
_FARTHEST = 0.12  # scale and shift, relative to half a side
_DAMPING = 1e-3

Images = NDArray[np.float32]  # (n, side, side)
Places = NDArray[np.float32]  # (n, 4): scale - 1 and shift in x, then in y; half a side is 1


def similarity(first: Images, second: Images, start: Places) -> tuple[Images, Places]:
    """Return how alike pairs of images are where they lie best over each other.

    Args:
        first: (n, 64, 64) float32, grey levels; these are moved.
        second: The same of the other images.
        start: (n, 4) float32, where to begin; zeros lay each exactly over its partner.

    Returns:
        (n,) float32, correlations from -1 to 1, 0 where an image is flat; and (n, 4) float32,
        the places found. Pairs that are unlike at 32 pixels are not looked at any closer.
    """
    wide = _halved(_band(first, *_COARSE)), _halved(_band(second, *_COARSE))
    places = _aligned(*wide, start, _COARSE_STEPS)
    alike = _correlation(*wide, places)
    close = np.flatnonzero(alike > _WORTH_IT)
    if len(close):
        broad = _band(first[close], *_COARSE), _band(second[close], *_COARSE)
        places[close] = _aligned(*broad, places[close], _FINE_STEPS)
        fine = _band(first[close], *_FINE), _band(second[close], *_FINE)
        alike[close] = _correlation(*fine, places[close])
    return alike, places


@functools.cache
def blur(side: int, sigma: float) -> NDArray[np.float32]:
    """Return the (side, side) matrix that blurs a column by a Gaussian, mirrored at the ends."""
    from scipy.ndimage import gaussian_filter1d

    blurred = gaussian_filter1d(np.eye(side), sigma, axis=0, mode="reflect")
    return np.asarray(blurred, np.float32)


def _band(images: Images, low: float, high: float) -> Images:
    """Return the details between two scales."""
    fine, coarse = (blur(images.shape[1], sigma) for sigma in (low, high))
    return np.asarray(fine @ images @ fine.T - coarse @ images @ coarse.T)


def _halved(images: Images) -> Images:
    n, side, _ = images.shape
    return np.asarray(images.reshape(n, side // 2, 2, side // 2, 2).mean((2, 4)))


def _aligned(first: Images, second: Images, places: Places, steps: int) -> Places:
    for _ in range(steps):
        places = (places + _step(first, second, places)).clip(-_FARTHEST, _FARTHEST)
    return places


def _step(first: Images, second: Images, places: Places) -> Places:
    """Return one Gauss-Newton step; contrast and brightness are solved for and thrown away."""
    n, side, _ = first.shape
    moved, seen = _moved(first, places)
    have, want = _standardised(moved, seen), _standardised(second, seen)
    down, across = np.gradient(have, 2 / side, axis=(1, 2))
    x = _coordinates(side)
    columns = (across * x, across, down * x[:, None], down, have, seen)
    slopes = np.stack([np.broadcast_to(each * seen, have.shape) for each in columns], 1)
    slopes = slopes.reshape(n, 6, -1)
    normal = slopes @ slopes.transpose(0, 2, 1)
    damping = _DAMPING / 6 * np.trace(normal, axis1=1, axis2=2) + np.float32(1e-6)
    normal += damping[:, None, None] * np.eye(6, dtype=np.float32)
    right = slopes @ (want - have).reshape(n, -1, 1)
    return np.asarray(np.linalg.solve(normal, right)[:, :4, 0], np.float32)


def _correlation(first: Images, second: Images, places: Places) -> Images:
    moved, seen = _moved(first, places)
    product = _standardised(moved, seen) * _standardised(second, seen)
    return np.asarray(product.sum((1, 2)) / seen.sum((1, 2)))


def _standardised(images: Images, seen: Images) -> Images:
    """Return images of mean 0 and variance 1 where they are seen, and 0 elsewhere."""
    n = seen.sum((1, 2), keepdims=True)
    centred = (images - (images * seen).sum((1, 2), keepdims=True) / n) * seen
    spread = np.sqrt((centred**2).sum((1, 2), keepdims=True) / n)
    return np.asarray(centred / np.maximum(spread, 1e-3))


def _moved(images: Images, places: Places) -> tuple[Images, Images]:
    """Return images resampled at their places, and 1 where there was something to sample."""
    across, seen_x = _sampling(places[:, :2], images.shape[1])
    down, seen_y = _sampling(places[:, 2:], images.shape[1])
    seen = (seen_y[:, :, None] & seen_x[:, None, :]).astype(np.float32)
    return np.asarray(down @ images @ across.transpose(0, 2, 1)), seen


def _sampling(places: Places, side: int) -> tuple[Images, NDArray[np.bool_]]:
    """Return (n, side, side) matrices that interpolate a line, and which points lie on it."""
    target = (1 + places[:, :1]) * _coordinates(side) + places[:, 1:]
    position = (target + 1) * (side / 2) - 0.5
    seen = (position >= -0.5) & (position <= side - 0.5)
    position = position.clip(0, side - 1)
    left = np.minimum(position.astype(np.int64), side - 2)
    matrix = np.zeros((*position.shape, side), np.float32)
    np.put_along_axis(matrix, left[:, :, None], (1 - (position - left))[:, :, None], 2)
    np.put_along_axis(matrix, left[:, :, None] + 1, (position - left)[:, :, None], 2)
    return matrix, seen


def _coordinates(side: int) -> NDArray[np.float32]:
    """Return the centres of a line of pixels from -1 to 1."""
    return ((2 * np.arange(side) + 1) / side - 1).astype(np.float32)
