"""Draw maps: colours on a constant scale over the image in grey."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

# Okabe and Ito (2008): distinguishable with any colour blindness, and by brightness.
FOR, AGAINST = (230, 120, 0), (0, 114, 178)
_OPAQUE = 0.65  # opacity at the end of the scale: the image stays visible
_STRIP, _MARGIN = 34, 8  # pixels of the legend below an image
_PAPER, _INK = (255, 255, 255), (27, 32, 38)


def enlarged(values: NDArray[np.floating[Any]], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a map (h, w) bilinearly."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def overlay(pixels: Pixels, values: NDArray[np.floating[Any]], scale: float) -> bytes:
    """Draw a map over an image.

    Orange is evidence for the class, blue against it. The colour is full at ``scale``, which is
    the same for all images of a classifier, and absent at 0, so an empty map looks empty.

    Args:
        pixels: (height, width, 1 or 3) uint8; shown in grey.
        values: (h, w) in logits.
        scale: Value with the full colour, above 0.

    Returns:
        A PNG file, height x width.
    """
    return _png(_coloured(pixels, values, scale))


def with_legend(image: bytes, scale: float, of: str, note: str = "") -> bytes:
    """Add a legend below an overlay.

    Args:
        image: What ``overlay`` returned.
        scale: As in ``overlay``.
        of: Class of the map; omitted where the font cannot draw the name.
        note: A warning, or "".

    Returns:
        A PNG file, at least 256 pixels wide.
    """
    shown = Image.open(io.BytesIO(image), formats=("PNG",)).convert("RGB")
    width = max(shown.width, 256)
    lines = 2 if note else 1
    sheet = Image.new("RGB", (width, shown.height + _STRIP * lines), _PAPER)
    sheet.paste(shown, ((width - shown.width) // 2, 0))
    middle, half = width // 2, min(60, width // 6)
    grey = np.full((10, 2 * half, 1), 128, np.uint8)
    ramp = np.linspace(-scale, scale, 2 * half)[None]
    sheet.paste(Image.fromarray(_coloured(grey, ramp, scale)), (middle - half, shown.height + 6))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    top, name = shown.height + 11, of if of.isascii() and len(of) <= 18 else ""
    draw.text((middle - half - _MARGIN, top), f"against {name}".strip(), _INK, font, "rm")
    draw.text((middle + half + _MARGIN, top), f"for {name}".strip(), _INK, font, "lm")
    for place, text in ((-half, f"-{scale:.2g}"), (0, "0"), (half, f"{scale:.2g} logits")):
        draw.text((middle + place, top + 15), text, _INK, font, "mm")
    if note:
        draw.text((middle, shown.height + _STRIP + 12), note, _INK, font, "mm")
    return _png(np.asarray(sheet))


def drawn_values(values: NDArray[np.floating[Any]], scale: float) -> bytes:
    """Return signed values (h, w) as a PNG of the same size: orange above 0, blue below."""
    painted = colours(values, scale)
    alpha = painted[..., 3:] / _OPAQUE
    mixed = 255 * (1 - alpha) + painted[..., :3] * alpha
    return _png(np.asarray(mixed.round().clip(0, 255), np.uint8))


def grey_of(pixels: Pixels) -> Pixels:
    """Return (height, width) grey levels of an image (luma, ITU-R BT.601)."""
    if pixels.shape[2] == 1:
        return np.asarray(pixels[:, :, 0])
    return np.asarray((pixels @ np.array([0.299, 0.587, 0.114])).round(), np.uint8)


def colours(values: NDArray[np.floating[Any]], scale: float) -> NDArray[np.float32]:
    """Return the colours of values and their opacity, (height, width, 4)."""
    share = np.clip(np.asarray(values, np.float32) / scale, -1, 1)
    hue = np.where(share[..., None] > 0, np.array(FOR), np.array(AGAINST))
    parts = [hue, _OPAQUE * np.abs(share)[..., None]]
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def _coloured(pixels: Pixels, values: NDArray[np.floating[Any]], scale: float) -> Pixels:
    height, width = pixels.shape[:2]
    painted = colours(enlarged(values, (height, width)), scale)
    alpha = painted[..., 3:]
    mixed = grey_of(pixels)[..., None] * (1 - alpha) + painted[..., :3] * alpha
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
