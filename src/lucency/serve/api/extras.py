"""What a response can hold besides the prediction: activation map, image, nearest neighbours."""

from __future__ import annotations

from typing import NamedTuple

from lucency.imaging.decoder.pool import Pixels
from lucency.imaging.image import encode_png, png_uri

LONGEST = 512  # pixels on the longer side of the image that is sent back
MAX_NEIGHBOURS = 16


class Extras(NamedTuple):
    """What a client wants to have for each image.

    Attributes:
        map: The activation map.
        image: The decoded image, reduced.
        neighbours: How many of the nearest training images.
    """

    map: bool = False
    image: bool = False
    neighbours: int = 0


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width in which an image is sent back, its aspect ratio kept."""
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shown_image(pixels: Pixels) -> str:
    """Return pixels as a PNG file in a data URI."""
    return png_uri(encode_png(pixels))
