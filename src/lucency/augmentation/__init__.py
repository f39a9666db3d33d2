"""Augmentation: random variation of training images, in two halves.

    policy     the host draws a few numbers per image, a pure function of (seed, epoch, image)
    layer      the device applies them in one resampling and one tone curve

So training can stop and resume anywhere, and every backend augments images in the same way.
Validation and test images are never augmented. Only ``layer`` needs Keras, so it is imported by its
own name.
"""

from __future__ import annotations

from lucency.augmentation.policy import Augmentation, Draw, draw, generator

__all__ = ["Augmentation", "Draw", "draw", "generator"]
