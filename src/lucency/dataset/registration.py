"""Register one image to another and measure their similarity (second stage of near_duplicates).

The second image may be a crop of the first, shifted and scaled by up to 12 % in each direction;
brightness and contrast do not count. Gauss-Newton steps find the best transform (Lucas and Kanade,
"An iterative image registration technique", IJCAI 1981; Baker and Matthews, IJCV 56, 2004), first
at 32 and then at 64 pixels. The similarity is the correlation of details finer than the coarse
structure that all radiographs of one body part share.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

SIDE = 64
_COARSE, _FINE = (1.0, 4.0), (0.7, 3.0)  # band-pass filters: sigmas of two Gaussians in pixels
_COARSE_STEPS, _FINE_STEPS = 5, 3
_LEAST_COARSE = 0.80  # correlation at 32 pixels below which no copy was ever observed
_FARTHEST = 0.12  # scale and shift, relative to half a side
_DAMPING = 1e-3

Images = NDArray[np.float32]  # (n, side, side)
Transforms = NDArray[np.float32]  # (n, 4): scale - 1 and shift in x, then in y; half a side is 1


def similarity(first: Images, second: Images, start: Transforms) -> tuple[Images, Transforms]:
    """Return the similarity of pairs of images after registration.

    Args:
        first: (n, 64, 64) float32, grey levels; these are transformed.
        second: (n, 64, 64) float32, their partners.
        start: (n, 4) float32, initial transforms; zeros are the identity.

    Returns:
        (n,) float32, correlations from -1 to 1, 0 where an image is flat; and (n, 4) float32,
        the transforms found. Pairs that differ at 32 pixels are not registered at 64.
    """
    coarse = _halved(_band_pass(first, *_COARSE)), _halved(_band_pass(second, *_COARSE))
    transforms = _gauss_newton(*coarse, start, _COARSE_STEPS)
    scores = _correlation(*coarse, transforms)
    close = np.flatnonzero(scores > _LEAST_COARSE)
    if len(close):
        broad = _band_pass(first[close], *_COARSE), _band_pass(second[close], *_COARSE)
        transforms[close] = _gauss_newton(*broad, transforms[close], _FINE_STEPS)
        fine = _band_pass(first[close], *_FINE), _band_pass(second[close], *_FINE)
        scores[close] = _correlation(*fine, transforms[close])
    return scores, transforms


@functools.cache
def blur(side: int, sigma: float) -> NDArray[np.float32]:
    """Return the (side, side) matrix that blurs a column by a Gaussian, reflected at the ends."""
    from scipy.ndimage import gaussian_filter1d

    blurred = gaussian_filter1d(np.eye(side), sigma, axis=0, mode="reflect")
    return np.asarray(blurred, np.float32)


def _band_pass(images: Images, low: float, high: float) -> Images:
    """Return the details between two scales (difference of Gaussians)."""
    fine, coarse = (blur(images.shape[1], sigma) for sigma in (low, high))
    return np.asarray(fine @ images @ fine.T - coarse @ images @ coarse.T)


def _halved(images: Images) -> Images:
    n, side, _ = images.shape
    return np.asarray(images.reshape(n, side // 2, 2, side // 2, 2).mean((2, 4)))


def _gauss_newton(first: Images, second: Images, transforms: Transforms, steps: int) -> Transforms:
    for _ in range(steps):
        transforms = (transforms + _step(first, second, transforms)).clip(-_FARTHEST, _FARTHEST)
    return transforms


def _step(first: Images, second: Images, transforms: Transforms) -> Transforms:
    """Return one Gauss-Newton step; contrast and brightness are solved for and discarded."""
    n, side, _ = first.shape
    warped, valid = _warped(first, transforms)
    source, target = _standardised(warped, valid), _standardised(second, valid)
    down, across = np.gradient(source, 2 / side, axis=(1, 2))
    x = _coordinates(side)
    columns = (across * x, across, down * x[:, None], down, source, valid)
    jacobian = np.stack([np.broadcast_to(each * valid, source.shape) for each in columns], 1)
    jacobian = jacobian.reshape(n, 6, -1)
    normal = jacobian @ jacobian.transpose(0, 2, 1)
    damping = _DAMPING / 6 * np.trace(normal, axis1=1, axis2=2) + np.float32(1e-6)
    normal += damping[:, None, None] * np.eye(6, dtype=np.float32)
    right = jacobian @ (target - source).reshape(n, -1, 1)
    return np.asarray(np.linalg.solve(normal, right)[:, :4, 0], np.float32)


def _correlation(first: Images, second: Images, transforms: Transforms) -> Images:
    warped, valid = _warped(first, transforms)
    product = _standardised(warped, valid) * _standardised(second, valid)
    return np.asarray(product.sum((1, 2)) / valid.sum((1, 2)))


def _standardised(images: Images, valid: Images) -> Images:
    """Return images of mean 0 and variance 1 where they are valid, and 0 elsewhere."""
    n = valid.sum((1, 2), keepdims=True)
    centred = (images - (images * valid).sum((1, 2), keepdims=True) / n) * valid
    std = np.sqrt((centred**2).sum((1, 2), keepdims=True) / n)
    return np.asarray(centred / np.maximum(std, 1e-3))


def _warped(images: Images, transforms: Transforms) -> tuple[Images, Images]:
    """Return the transformed images, and 1 where the source image has pixels, else 0."""
    across, valid_x = _interpolation(transforms[:, :2], images.shape[1])
    down, valid_y = _interpolation(transforms[:, 2:], images.shape[1])
    valid = (valid_y[:, :, None] & valid_x[:, None, :]).astype(np.float32)
    return np.asarray(down @ images @ across.transpose(0, 2, 1)), valid


def _interpolation(transforms: Transforms, side: int) -> tuple[Images, NDArray[np.bool_]]:
    """Return (n, side, side) matrices that interpolate a line, and which points lie on it."""
    target = (1 + transforms[:, :1]) * _coordinates(side) + transforms[:, 1:]
    position = (target + 1) * (side / 2) - 0.5
    valid = (position >= -0.5) & (position <= side - 0.5)
    position = position.clip(0, side - 1)
    left = np.minimum(position.astype(np.int64), side - 2)
    matrix = np.zeros((*position.shape, side), np.float32)
    np.put_along_axis(matrix, left[:, :, None], (1 - (position - left))[:, :, None], 2)
    np.put_along_axis(matrix, left[:, :, None] + 1, (position - left)[:, :, None], 2)
    return matrix, valid


def _coordinates(side: int) -> NDArray[np.float32]:
    """Return the centres of a line of pixels from -1 to 1."""
    return ((2 * np.arange(side) + 1) / side - 1).astype(np.float32)
