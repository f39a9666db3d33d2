"""Random variation of training images, in two halves.

    numbers     the host draws a few numbers per image, a pure function of (seed, epoch, image)
    layer       the device applies them in one resample and one tone curve

So a run can stop and go on anywhere, and every backend sees the same variation. Validation and
test images never come here. Only ``layer`` needs Keras, so it is imported by its own name.
"""

from __future__ import annotations

from lucency.augmentation.policy import Augmentation, Draw, draw, generator

__all__ = ["Augmentation", "Draw", "draw", "generator"]
