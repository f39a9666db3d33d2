"""Corruptions of files: decode at full size, corrupt or save again, resize to the input size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lucency.evaluation.robustness.corruptions import Pixels
from lucency.imaging import image
from lucency.imaging.decoder.pool import DecoderPool, decode_again

_PROCESSES = 2  # decoders: each holds a few images at their own size
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
    """Resize an image to half its size and back."""
    half = (max(1, whole.width // 2), max(1, whole.height // 2))
    bilinear = Image.Resampling.BILINEAR
    return whole.resize(half, bilinear).resize(whole.size, bilinear)


class FileCorruption(NamedTuple):
    """One corruption: ``apply`` returns another image, or the bytes of a file."""

    name: str
    severity: str
    apply: Callable[[Image.Image], Image.Image | bytes]


# The first one is the baseline of all others.
FILE_CORRUPTIONS = (
    FileCorruption("decoded whole", "", lambda whole: whole),
    FileCorruption("saved as PNG", "", _as_png),
    *(
        FileCorruption("saved as JPEG", f"quality {quality}", partial(_as_jpeg, quality=quality))
        for quality in _QUALITIES
    ),
    FileCorruption("half size and back", "", _halved),
)


def corrupted_files(
    files: Sequence[tuple[Path, str]],
    shape: tuple[int, ...],
    corruptions: Sequence[FileCorruption] = FILE_CORRUPTIONS,
    depth: int = 0,
) -> Iterator[tuple[FileCorruption, Pixels]]:
    """Decode files again and apply each corruption to them.

    Args:
        files: n image files that were decoded before, each with its sha256.
        shape: (n, height, width, 1 or 3) of the network's input.
        corruptions: What to apply.
        depth: Bits of files of more than 8.

    Yields:
        Each corruption with the network's input, uint8 of ``shape``.

    Raises:
        DataError: A file is missing or has changed since it was decoded.
    """
    inputs = np.empty((len(corruptions), *shape), np.uint8)
    colour = shape[3] == 3
    with DecoderPool(min(_PROCESSES, os.cpu_count() or 1)) as pool:
        for i, pixels in enumerate(decode_again(pool, files, None, colour, depth)):
            whole = Image.fromarray(pixels if colour else pixels[..., 0])
            for k, corruption in enumerate(corruptions):
                inputs[k, i] = _at_size(corruption.apply(whole), shape[1:3], colour)
    yield from zip(corruptions, inputs, strict=True)


def _at_size(corrupted: Image.Image | bytes, size: tuple[int, ...], colour: bool) -> Pixels:
    """Resize as the data set does: (height, width, channels) uint8."""
    height, width = size
    if isinstance(corrupted, bytes):
        return image.read_image(corrupted, (height, width), colour)
    small = corrupted.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(small).reshape(height, width, -1)
