"""Images of every kind that the page reads, and PNG files that no encoder would write."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def drawn(rng: np.random.Generator, width: int, height: int, mode: str) -> Image.Image:
    """Draw coloured waves with noise, so that no coefficient of a JPEG is zero."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / (5 + 3 * i)) * np.cos(y / (7 + 2 * i)) for i in range(3)]
    noisy = np.stack(waves, -1) + rng.normal(0, 25, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpegs(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield JPEG files of all colour spaces, samplings and codings, in odd sizes."""
    sizes = ((64, 64), (61, 47), (200, 133), (17, 300), (8, 9))
    codings: tuple[dict[str, Any], ...] = (
        {},
        {"progressive": True},
        {"quality": 30, "optimize": True},
        {"quality": 100},
        {"restart_marker_blocks": 3},
    )
    for (width, height), mode, coding in itertools.product(sizes, ("L", "RGB", "CMYK"), codings):
        for sampling in (0, 1, 2) if mode == "RGB" else (0,):
            image = drawn(rng, width, height, mode)
            name = f"{width}x{height} {mode} {coding} sampling {sampling}"
            yield name, file_of(image, "JPEG", subsampling=sampling, **coding)
    yield "4:1:1", file_of(drawn(rng, 70, 50, "RGB"), "JPEG", subsampling="4:1:1")
    yield "4:4:0", _as_440(file_of(drawn(rng, 64, 40, "RGB"), "JPEG", subsampling=1))
    yield "red, green, blue", file_of(drawn(rng, 70, 50, "RGB"), "JPEG", keep_rgb=True)


def _as_440(jpeg: bytes) -> bytes:
    """Turn 4:2:2 of 64 x 40 into 4:4:0 of 29 x 75, which has as many units of as many blocks."""
    frame = jpeg.index(b"\xff\xc0") + 5
    size = struct.pack(">HH", 75, 29)
    assert jpeg[frame + 6] == 0x21
    return jpeg[:frame] + size + jpeg[frame + 4 : frame + 6] + b"\x12" + jpeg[frame + 7 :]


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(
    samples: NDArray[Any],
    depth: int,
    kind: int,
    rng: np.random.Generator,
    *,
    interlaced: bool = False,
    extra: bytes = b"",
) -> bytes:
    """Write a PNG file with a random filter for each row.

    Args:
        samples: (height, width, channels), below 2 ** depth.
        depth: Bits of a sample.
        kind: The colour type.
        rng: Draws the filters.
        interlaced: Whether in seven passes.
        extra: Chunks before the data.
    """
    height, width, channels = samples.shape
    rows = b""
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[top::down, left::across]
        above = b"\0" * len(_bits(part[0], depth)) if part.size else b""
        for row in part if part.size else ():
            line = _bits(row, depth)
            rows += _filtered(int(rng.integers(5)), line, above, max(1, channels * depth // 8))
            above = line
    packed = zlib.compress(rows)
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    data = chunk(b"IDAT", packed[:20]) + chunk(b"IDAT", packed[20:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + data + chunk(b"IEND", b"")


def _bits(row: NDArray[Any], depth: int) -> bytes:
    if depth == 16:
        return bytes(row.astype(">u2").tobytes())
    bits = (row.reshape(-1, 1) >> np.arange(depth)[::-1]) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def _filtered(kind: int, line: bytes, line_above: bytes, step: int) -> bytes:
    row, above = (np.frombuffer(each, np.uint8).astype(int) for each in (line, line_above))
    left, corner = (
        np.concatenate([np.zeros(step, int), each])[: len(row)] for each in (row, above)
    )
    near = [np.abs(above - corner), np.abs(left - corner), np.abs(left + above - 2 * corner)]
    paeth = np.where(
        (near[0] <= near[1]) & (near[0] <= near[2]),
        left,
        np.where(near[1] <= near[2], above, corner),
    )
    guess = (0 * row, left, above, (left + above) >> 1, paeth)[kind]
    return bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()


def pngs(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield PNG files of all colour types and depths, interlaced or not, transparent or not."""
    for kind, depths in DEPTHS.items():
        for depth, interlaced, clear in itertools.product(depths, (False, True), range(4)):
            if clear and kind in (4, 6):
                continue
            height, width = rng.integers(8, 40, 2)
            # Grey of 16 bits comes from detectors of fewer.
            most = 2 ** (int(rng.choice([8, 10, 12, 14, 16])) if depth == 16 else depth)
            samples = rng.integers(0, most, (height, width, CHANNELS[kind]))
            extra = _palette(rng, depth, short=clear == 3) if kind == 3 else b""
            extra += _transparent(samples, kind, clear) if clear else b""
            name = f"kind {kind}, {depth} bits, interlaced {interlaced}, transparent {clear}"
            yield name, png(samples, depth, kind, rng, interlaced=interlaced, extra=extra)


def _palette(rng: np.random.Generator, depth: int, *, short: bool) -> bytes:
    count = max(1, 2**depth // 2) if short else 2**depth
    return chunk(b"PLTE", rng.integers(0, 256, 3 * count, np.uint8).tobytes())


def _transparent(samples: NDArray[Any], kind: int, clear: int) -> bytes:
    if kind == 3:
        return chunk(b"tRNS", (b"\xff\x00", b"\x00", b"\x80\x10")[clear - 1])
    return chunk(b"tRNS", samples[2, 2].astype(">u2").tobytes())
