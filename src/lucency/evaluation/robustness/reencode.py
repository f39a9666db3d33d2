"""Changes of files: read again at their own size, saved in another way, brought to size again."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lucency.evaluation.robustness.corruptions import Pixels
from lucency.imaging import image
from lucency.imaging.decoder.pool import DecoderPool, read_again

_PROCESSES = 2  # that decode: each holds a few images at their own size
_QUALITIES = (95, 75, 50, 30)


def _as_png(whole: Image.Image) -> bytes:
    return _encoded(whole, "PNG", compress_level=1)


def _as_jpeg(whole: Image.Image, quality: int) -> bytes:
    return _encoded(whole, "JPEG", quality=quality)


def _encoded(whole: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    whole.save(file, kind, **options)
    return file.getvalue()


def _halved(whole: Image.Image) -> Image.Image:
    """Bring an image to half its size and back."""
    half = (max(1, whole.width // 2), max(1, whole.height // 2))
    bilinear = Image.Resampling.BILINEAR
    return whole.resize(half, bilinear).resize(whole.size, bilinear)


# Name, strength and what becomes of the whole image: another one, or the bytes of a file.
FILE_CHANGES: tuple[tuple[str, str, Callable[[Image.Image], Image.Image | bytes]], ...] = (
    ("decoded whole", "", lambda whole: whole),
    ("saved as PNG", "", _as_png),
    *(
        ("saved as JPEG", f"quality {quality}", partial(_as_jpeg, quality=quality))
        for quality in _QUALITIES
    ),
    ("half size and back", "", _halved),
)


def changed_files(
    files: Sequence[tuple[Path, str]], shape: tuple[int, ...]
) -> Iterator[tuple[str, str, Pixels]]:
    """Read files again and change them in each of ``FILE_CHANGES``.

    Args:
        files: n PNG, JPEG or DICOM files that were decoded before, each with its sha256.
        shape: (n, height, width, 1 or 3), of what the network sees.

    Yields:
        Name and strength of each change, and what the network sees then, uint8 of ``shape``.

    Raises:
        DataError: A file has vanished or changed since it was decoded.
    """
    seen = np.empty((len(FILE_CHANGES), *shape), np.uint8)
    colour = shape[3] == 3
    with DecoderPool(min(_PROCESSES, os.cpu_count() or 1)) as pool:
        for i, pixels in enumerate(read_again(pool, files, None, colour)):
            whole = Image.fromarray(pixels if colour else pixels[..., 0])
            for k, (_, _, apply) in enumerate(FILE_CHANGES):
                seen[k, i] = _at_size(apply(whole), shape[1:3], colour)
    for (name, strength, _), pixels in zip(FILE_CHANGES, seen, strict=True):
        yield name, strength, pixels


def _at_size(changed: Image.Image | bytes, size: tuple[int, ...], colour: bool) -> Pixels:
    """Return what ``images`` would make of an image or a file, (height, width, channels)."""
    height, width = size
    if isinstance(changed, bytes):
        return image.read_image(changed, (height, width), colour)
    small = changed.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(small).reshape(height, width, -1)
