"""Images of more than 8 bits: their samples, the bits that hold them, and their brightness.

A file of 16 bits does not say how many of them the camera or detector uses, so the depth is a
property of a whole data set. Pillow has no colour of 16 bits: such an image is decoded twice, for
the upper and for the lower byte of each sample.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from lucency.errors import ImageError
from lucency.imaging.depths import DEEPEST, DEPTHS, EIGHT, UNIT, white_of
from lucency.imaging.headers import Header
from lucency.imaging.raster import converted, opened, stored_size, turned

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# libtiff returns samples in the byte order of the machine, whatever the order of the file.
_NATIVE = {
    **dict.fromkeys(("F;32F", "F;32BF"), "F;32NF"),
    **dict.fromkeys(("I;32S", "I;32BS"), "I;32NS"),
    **dict.fromkeys(("I;16S", "I;16BS"), "I;16NS"),
}
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}

Samples = NDArray[np.number[Any]]


class DeepImage:
    """The samples of an image of more than 8 bits.

    Attributes:
        bits: The smallest of 8, 10, 12, 14, 16, 24 and 32 that holds the largest sample; 1 for
            floats below 2, which are shares of white.
        highest: The largest sample.
    """

    def __init__(self, header: Header) -> None:
        """Decode.

        Raises:
            ImageError: A sample is negative or not a number.
        """
        self._header = header
        self._samples, self._alpha = _samples(header)
        lowest, self.highest = float(self._samples.min()), float(self._samples.max())
        if not (np.isfinite(lowest) and np.isfinite(self.highest)):
            raise ImageError("it has values that are not numbers; set them to 0, or save it as PNG")
        if lowest < 0:
            raise ImageError(
                f"it has negative values (down to {lowest:g}); expected 0 or more: add an offset, "
                "or save a window of its values as PNG"
            )
        floating = self._samples.dtype.kind == "f"
        fitting = [bits for bits in DEPTHS if self.highest < 2**bits]
        if not fitting:
            raise ImageError(f"it has values up to {self.highest:g}; expected less than 2^32")
        self.bits = UNIT if floating and self.highest < 2 else fitting[0]

    def as_bytes(self, size: tuple[int, int], colour: bool, depth: int) -> Image.Image:
        """Resize to mode "L" or "RGB", with the white of a depth at 255."""
        if depth == EIGHT:  # as an image of 8 bits is decoded
            image = converted(self._eight_bits(), "RGB" if colour else "L")
            small = image.resize(stored_size(self._header, size), Image.Resampling.BILINEAR)
            return turned(self._header, small)
        shares = self._shares(size, colour, depth)
        return Image.fromarray(np.rint(255 * shares).astype(np.uint8).squeeze())

    def as_words(self, size: tuple[int, int], colour: bool, depth: int) -> NDArray[np.uint16]:
        """Resize to (height, width, 1 or 3) uint16, with the white of a depth at 65,535."""
        return np.rint(DEEPEST * self._shares(size, colour, depth)).astype("<u2")

    def _eight_bits(self) -> Image.Image:
        pixels = self._samples.clip(0, 255).astype(np.uint8)
        if self._header.inverted:
            pixels = 255 - pixels
        image = Image.fromarray(pixels.squeeze())
        if self._alpha is not None:
            image = image.convert("RGB")
            image.putalpha(Image.fromarray(self._alpha))
        return image

    def _shares(self, size: tuple[int, int], colour: bool, depth: int) -> NDArray[np.float32]:
        """Resize to (height, width, 1 or 3) float32, shares of white."""
        white = np.float32(white_of(depth))
        planes = [self._plane(k, size, white) for k in range(self._samples.shape[2])]
        shares = np.stack(planes, axis=2) / white
        if len(planes) == 3 and not colour:
            shares = (shares @ _LUMA)[:, :, None]
        return shares.clip(0, 1).repeat(3 if colour and len(planes) == 1 else 1, axis=2)

    def _plane(self, k: int, size: tuple[int, int], white: np.floating[Any]) -> NDArray[np.float32]:
        plane = np.minimum(self._samples[:, :, k].astype(np.float32), white)
        if self._header.inverted:
            plane = white - plane
        if self._alpha is not None:
            plane *= self._alpha / np.float32(255)  # on black
        image = Image.fromarray(plane)
        small = image.resize(stored_size(self._header, size), Image.Resampling.BILINEAR)
        return np.asarray(turned(self._header, small))


def _samples(header: Header) -> tuple[Samples, NDArray[np.uint8] | None]:
    """Return (height, width, 1 or 3) samples, and the opacity (height, width) of some images."""
    if header.kind.startswith("16-bit"):
        flat = np.frombuffer(header.stream, ">u2").astype(np.uint16)
        return flat.reshape(header.height, header.width, -1), None
    image = opened(header)
    if image.mode in ("RGB", "RGBA"):
        return _colours(header, image)
    rawmode = _rawmode(image)
    if image.tile[0][0] == "libtiff" and rawmode in _NATIVE:
        _set_rawmode(image, _NATIVE[rawmode])
    values = np.asarray(image)
    if rawmode == "I;32N":  # Pillow has no unsigned integers of 32 bits
        values = values.view(np.uint32)
    if header.kind == "JPEG2000":  # Pillow shifts them up to 16 bits
        values = values >> (16 - header.bits)
    return values[:, :, None], None


def _colours(header: Header, image: ImageFile) -> tuple[Samples, NDArray[np.uint8] | None]:
    low, rawmode = opened(header), _rawmode(image)
    multiplied = rawmode.startswith("RGBa")  # by its opacity: on black already
    if multiplied:
        rawmode = rawmode.replace("RGBa", "RGBA")
        _set_rawmode(image, rawmode)
    upper = np.asarray(image)
    # Grey with opacity is four bytes, which can only be had one by one as if they were RGBA.
    grey = rawmode == "LA;16B"
    _set_rawmode(low, "RGBA" if grey else rawmode[:-1] + _OTHER_ORDER[rawmode[-1]])
    lower = np.asarray(low)
    opaque = upper.shape[2] == 3 or multiplied
    alpha = None if opaque else np.ascontiguousarray(upper[:, :, 3])
    if grey:
        upper, lower = lower[:, :, :1], lower[:, :, 1:2]
    return (upper[:, :, :3].astype(np.uint16) << 8) | lower[:, :, :3], alpha


def _rawmode(image: ImageFile) -> str:
    args = image.tile[0][3]
    return str(args[0] if isinstance(args, tuple) else args)


def _set_rawmode(image: ImageFile, rawmode: str) -> None:
    """Have samples unpacked in another way."""
    image.tile = [
        each._replace(args=(rawmode, *each.args[1:]) if isinstance(each.args, tuple) else rawmode)
        for each in image.tile
    ]
