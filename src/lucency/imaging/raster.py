"""A recognised file to a Pillow image, by the decoder of its format and no other.

The plugins of Pillow are called by name: its registry, which tries one format after the other, is
never used.
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import cast

from PIL import Image
from PIL.ImageFile import ImageFile

from lucency.imaging.headers import Header
from lucency.imaging.notes import Note

PLUGINS = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
    "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
}
# A JPEG is decoded at the smallest scale of 1/8, 1/4, 1/2 and 1/1 that is still this many times
# larger than requested. On radiographs of 1.4 megapixels the mean difference from a full decode is
# 0.2 to 0.3 grey levels, in half the time; the rest is mostly entropy decoding, at any scale.
DRAFT = 1.25
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def opened(header: Header) -> ImageFile:
    """Return the image, not decoded yet."""
    module, plugin = PLUGINS[header.kind]
    found = import_module(f"PIL.{module}")
    if header.kind == "AVIF":
        vars(found)["DEFAULT_MAX_THREADS"] = 1  # the process that decodes may not start any
    image = cast(ImageFile, getattr(found, plugin)(io.BytesIO(header.stream)))
    if image.size != (header.width, header.height):
        raise ValueError("Pillow reads other dimensions in the header")
    if header.skipped:
        image.seek(header.skipped)
    return image


def decoded(header: Header, size: tuple[int, int], colour: bool) -> Image.Image:
    """Decode, resize and turn an image of 8 bits, to mode "L" or "RGB"."""
    mode, image, stored = "RGB" if colour else "L", opened(header), stored_size(header, size)
    drafted = None
    if header.kind == "JPEG":
        drafted = image.draft(mode, (round(DRAFT * stored[0]), round(DRAFT * stored[1])))
    # A scaled JPEG is padded to whole pixels; the padding must not shift the image.
    box = drafted[1] if drafted else None
    return turned(header, converted(image, mode).resize(stored, Image.Resampling.BILINEAR, box))


def is_transposed(header: Header) -> bool:
    """Tell whether rows are stored as columns."""
    return header.orientation >= 5


def stored_size(header: Header, size: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height to resize the stored image to, for a height and width."""
    height, width = size
    return (height, width) if is_transposed(header) else (width, height)


def turned(header: Header, image: Image.Image) -> Image.Image:
    """Return a stored image upright."""
    if header.orientation == 1:
        return image
    return image.transpose(_TRANSPOSITIONS[header.orientation])


def notes_on(header: Header) -> Note:
    """Return what users should know of frames and pages."""
    if header.frames == 1:
        return Note(0)
    paged = header.kind in ("TIFF", "PPM", "16-bit PGM", "16-bit PPM")
    return Note.FIRST_PAGE if paged else Note.FIRST_FRAME


def converted(image: Image.Image, mode: str) -> Image.Image:
    """Decode to "L" or "RGB"."""
    if image.has_transparency_data:
        # Palette, grey and true colour store transparency differently; RGBA unifies them.
        layer, image = image.convert("RGBA"), Image.new("RGB", image.size)
        image.paste(layer, mask=layer)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    return image.convert(mode)
