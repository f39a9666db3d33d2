"""The host's half: draw the numbers with which images are augmented; needs only NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Indices = Sequence[int] | NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges of the augmentation; each value is drawn uniformly within plus or minus its range.

    Attributes:
        flip_horizontal: Mirror left-right with probability one half.
        flip_vertical: Mirror top-bottom with probability one half.
        rotation: Rotation in degrees.
        zoom: Relative zoom of both axes together.
        stretch: Relative zoom of each axis independently.
        shift: Translation as a share of the side.
        gamma: Natural logarithm of the exponent of the tone curve.
        gain: Natural logarithm of the contrast.
        offset: Brightness added, as a share of the full range.
        sharpness: Maximum share of an image's fine detail (its difference from the mean over 3 x 3
            pixels) that is added; at most a third as much is removed. More is added on average,
            as resampling removes detail.
        rectangles: Largest number of bright or dark rectangles pasted near the borders, where
            markers, letters and collimators are; each with probability one half, so that images
            without any, as in use, are not rare.
        fill: What is outside the image: ``reflect`` (the image again, mirrored at its border),
            ``nearest`` (its border pixels) or ``constant`` (black, which no image in use shows).
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    gamma: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    sharpness: float = 0.0
    rectangles: int = 0
    fill: str = "reflect"

    @property
    def moves(self) -> bool:
        """Whether it changes the position of anything."""
        flips = self.flip_horizontal or self.flip_vertical
        return flips or any((self.rotation, self.zoom, self.stretch, self.shift))


@dataclasses.dataclass(frozen=True)
class Draw:
    """The numbers for a batch of n images, as ``Augment`` takes them.

    Attributes:
        affine: (n, 8) float32, output to input coordinates in pixels, as expected by
            ``keras.ops.image.affine_transform``.
        tone: (n, 4) float32: exponent, contrast, brightness, share of detail added.
        rectangles: (n, k, 5) float32: top, left, bottom, right as shares of the side, grey value.
    """

    affine: Floats
    tone: Floats
    rectangles: Floats

    @property
    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """All three, in the order of the layer's inputs after the pixels."""
        return self.affine, self.tone, self.rectangles


def generator(seed: int, epoch: int, item: int, stream: int = 0) -> np.random.Generator:
    """Return the random generator of one image in one epoch (Philox, counter-based).

    Equal arguments give equal numbers on any machine; different ones give independent numbers.
    ``stream`` separates purposes (0 augmentation, 1 order, 2 noise).
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, item, epoch, stream]))


def draw(
    policy: Augmentation, seed: int, epoch: int, items: Indices, size: tuple[int, int]
) -> Draw:
    """Draw the numbers with which the images ``items`` are augmented in an epoch.

    Args:
        policy: Ranges of the augmentation.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        items: Indices of the n images in their split.
        size: Height and width of the network's input in pixels.

    Returns:
        Numbers for n images; the same arguments give the same numbers.
    """
    count = 12 + 8 * policy.rectangles
    numbers = np.stack([generator(seed, epoch, int(item)).random(count) for item in items])
    return Draw(
        affine=_affine(policy, numbers[:, :8], size),
        tone=_tone(policy, 2 * numbers[:, [8, 9, 10, -1]] - 1),
        rectangles=_rectangles(numbers[:, 11:-1].reshape(len(items), policy.rectangles, 8)),
    )


def _affine(policy: Augmentation, numbers: Floats64, size: tuple[int, int]) -> Floats:
    """Compose flips, zoom, stretch, rotation and shift about the image's centre."""
    angle, zoom, stretch_y, stretch_x, shift_y, shift_x = 2 * numbers[:, 2:].T - 1
    height, width = size
    scale_x = (1 + policy.zoom * zoom) * (1 + policy.stretch * stretch_x)
    scale_y = (1 + policy.zoom * zoom) * (1 + policy.stretch * stretch_y)
    mirrored = numbers[:, :2] < 0.5
    scale_x[mirrored[:, 0] & policy.flip_horizontal] *= -1
    scale_y[mirrored[:, 1] & policy.flip_vertical] *= -1
    radians = np.radians(policy.rotation) * angle
    cos, sin = np.cos(radians), np.sin(radians)
    a, b, c, d = cos * scale_x, -sin * scale_y, sin * scale_x, cos * scale_y
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    to_x = middle_x + policy.shift * shift_x * width - a * middle_x - b * middle_y
    to_y = middle_y + policy.shift * shift_y * height - c * middle_x - d * middle_y
    nothing = np.zeros_like(a)
    return np.stack([a, b, to_x, c, d, to_y, nothing, nothing], axis=1).astype(np.float32)


def _tone(policy: Augmentation, numbers: Floats64) -> Floats:
    gamma, gain, offset, detail = numbers.T
    tone = [np.exp(policy.gamma * gamma), np.exp(policy.gain * gain), policy.offset * offset]
    tone.append(policy.sharpness * (2 * detail + 1) / 3)
    return np.stack(tone, axis=1).astype(np.float32)


def _rectangles(numbers: Floats64) -> Floats:
    """Place rectangles of 4 to 25 % of the side with their centres in the outer 22 %.

    A rectangle that is not pasted has no height.
    """
    sides = 0.04 + 0.21 * numbers[..., :2]
    sides = np.where(numbers[..., 7, None] < 0.5, sides, 0)
    along, depth, level = numbers[..., 2], 0.22 * numbers[..., 3], numbers[..., 5]
    depth = np.where(numbers[..., 4] < 0.5, depth, 1 - depth)
    horizontal = numbers[..., 6, None] < 0.5
    centre = np.where(horizontal, np.stack([depth, along], -1), np.stack([along, depth], -1))
    value = np.where(level < 0.5, 1 - 0.6 * level, 0.4 * (level - 0.5))  # bright or dark
    corners = [centre - sides / 2, centre + sides / 2, value[..., None]]
    return np.concatenate(corners, axis=-1).astype(np.float32)
