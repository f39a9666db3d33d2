"""Corruptions of pixels: (n, height, width, channels) uint8 in, the same shape out."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_ANGLES = (5, -5, 10, -10, 20, -20)
_LEVELS = (20, -20, 40, -40)
_FACTORS = (0.9, 1.1, 0.8, 1.2)


class Corruption(NamedTuple):
    """One corruption: ``apply`` takes and returns (n, height, width, channels) uint8."""

    name: str
    severity: str
    apply: Callable[[Pixels], Pixels]


def pixel_corruptions(seed: int) -> tuple[Corruption, ...]:
    """Return all corruptions of pixels, each kind from mild to severe.

    Args:
        seed: Of the noise and of the positions of the markers.
    """
    return (
        *(Corruption("rotation", f"{x:+d} degrees", partial(rotate, degrees=x)) for x in _ANGLES),
        *(Corruption("zoom", f"x {x:g}", partial(zoom, factor=x)) for x in (0.9, 1.1, 1.2)),
        *(Corruption("stretch", f"height x {x:g}", partial(stretch, factor=x)) for x in _FACTORS),
        *(Corruption("gamma", f"{x:g}", partial(gamma, exponent=x)) for x in (0.7, 1.4)),
        *(Corruption("brightness", f"{x:+d} of 255", partial(brighten, levels=x)) for x in _LEVELS),
        *(
            Corruption("noise", f"sd {x} of 255", partial(noise, sd=x, seed=seed))
            for x in (5, 10, 20)
        ),
        *(
            Corruption("blur", f"sigma {x:g} pixels", partial(blur, sigma=x))
            for x in (0.5, 1.0, 2.0)
        ),
        Corruption("inversion", "black for white", lambda pixels: 255 - pixels),
        Corruption("upside down", "", lambda pixels: pixels[:, ::-1]),
        Corruption("mirrored", "left for right", lambda pixels: pixels[:, :, ::-1]),
        Corruption("marker", "bright letter at the border", partial(mark, seed=seed)),
    )


def rotate(pixels: Pixels, degrees: float) -> Pixels:
    """Rotate images counterclockwise about their centre; edge pixels are repeated outwards."""
    angle = math.radians(degrees)
    matrix = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    return _warp(pixels, np.array(matrix))


def zoom(pixels: Pixels, factor: float) -> Pixels:
    """Enlarge images about their centre; below 1, edge pixels are repeated outwards."""
    return _warp(pixels, np.eye(2) / factor)


def stretch(pixels: Pixels, factor: float) -> Pixels:
    """Scale the height of images about their centre; below 1, edge pixels are repeated outwards."""
    return _warp(pixels, np.diag([1 / factor, 1.0]))


def _warp(pixels: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """Resample every channel bilinearly; ``matrix`` maps output to input about the centre."""
    from scipy import ndimage

    centre = (np.array(pixels.shape[1:3]) - 1) / 2
    offset = centre - matrix @ centre
    result = np.empty_like(pixels)
    for i, k in np.ndindex(len(pixels), pixels.shape[3]):
        result[i, ..., k] = _eight_bits(
            ndimage.affine_transform(
                pixels[i, ..., k].astype(np.float32), matrix, offset, order=1, mode="nearest"
            )
        )
    return result


def gamma(pixels: Pixels, exponent: float) -> Pixels:
    """Apply gamma correction: an exponent below 1 brightens, above 1 darkens."""
    table = _eight_bits(255 * (np.arange(256) / 255) ** exponent)
    return table[pixels]


def brighten(pixels: Pixels, levels: int) -> Pixels:
    """Add grey levels, clipped at black and white."""
    return _eight_bits(pixels.astype(np.float32) + levels)


def noise(pixels: Pixels, sd: float, seed: int) -> Pixels:
    """Add Gaussian noise, independent for every pixel and equal in all channels."""
    random = np.random.default_rng(seed)
    drawn = random.normal(0, sd, (*pixels.shape[:3], 1)).astype(np.float32)
    return _eight_bits(pixels + drawn)


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Blur with a Gaussian of ``sigma`` pixels."""
    from scipy import ndimage

    return _eight_bits(ndimage.gaussian_filter(pixels.astype(np.float32), (0, sigma, sigma, 0)))


def mark(pixels: Pixels, seed: int) -> Pixels:
    """Paste a white letter L, a seventh of the image high, near a random corner."""
    random = np.random.default_rng(seed)
    height, width = pixels.shape[1:3]
    tall, broad = max(3, height // 7), max(2, width // 10)
    letter = np.zeros((tall, broad), bool)
    letter[:, : max(1, broad // 3)] = letter[-max(1, tall // 4) :] = True
    result = pixels.copy()
    for image in result:
        y, x = _near_corner(random, height, tall), _near_corner(random, width, broad)
        image[y : y + tall, x : x + broad][letter] = 255
    return result


def _near_corner(random: np.random.Generator, side: int, length: int) -> int:
    """Return where a letter of ``length`` starts, within an eighth of one end of the side."""
    gap = int(random.integers(max(1, side // 8)))
    return gap if random.random() < 0.5 else max(0, side - length - gap)


def _eight_bits(values: NDArray[np.floating[Any]]) -> Pixels:
    return np.asarray(values.round().clip(0, 255), np.uint8)
