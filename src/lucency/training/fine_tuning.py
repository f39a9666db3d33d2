"""How the last stage of a backbone is fine-tuned: views of each image, and passes over them.

About 15 passes are enough, as little is trained. Feature maps of at most seven views of each image
are kept in memory, so that each is seen about twice. Of many images there are fewer views, as these
take most of the time: on 4,434 radiographs three are as good as seven.
"""

from __future__ import annotations

import math

from lucency.errors import ConfigError

RATE, DECAY, SMOOTHING, BATCH = 1e-3, 0.05, 0.05, 32
_LEAST_VIEWS, _MOST_VIEWS = 2, 7  # of each training image
_ENOUGH_VIEWS, _COMPUTED = 3, 14_000  # of each, where all views of all are more than so many
_PASSES = 15  # over the training images, each time in another view
_SHOWN = 30_000  # images in all passes together, where there are more than 2,000
_BYTES = 2**30  # of feature maps in memory
NOISY = 2, 5  # views that have noise, too; with folds, the first two are also held out
NOISE = 0.05  # its largest standard deviation, as a share of white
_STRIDE, _MAP_BYTES = 32, 2 * 208  # of the feature maps, and of each of their positions


def views_of(images: int, size: tuple[int, int]) -> int:
    """Return how many views of each training image are kept; 0 where memory holds too few.

    Args:
        images: To train on.
        size: Height and width of each in pixels.
    """
    positions = math.prod(-(-side // _STRIDE) for side in size)
    held = _BYTES // (images * positions * _MAP_BYTES)
    affordable = max(_ENOUGH_VIEWS, round(_COMPUTED / images))
    views = min(_MOST_VIEWS, affordable, held, round(_passes(images)))
    return views if views >= _LEAST_VIEWS else 0


def check_memory(images: int, size: tuple[int, int]) -> None:
    """Raise ``ConfigError`` where there are too many images to keep views of each."""
    if not views_of(images, size):
        raise ConfigError(
            f"fine_tune=true needs too much memory for {images:,} images of {size[0]} x {size[1]}. "
            "Leave it out, or use smaller images: --set size=N"
        )


def epochs_of(images: int, size: tuple[int, int]) -> int:
    """Return how often all views of the images are seen."""
    return max(1, round(_passes(images) / views_of(images, size)))


def _passes(images: int) -> float:
    return min(_PASSES, max(_LEAST_VIEWS, _SHOWN / images))
