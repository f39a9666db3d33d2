"""Images unlike any radiograph: photographs, drawings, patterns, noise.

None of them is from a data set: two photographs come with scikit-learn, all others are drawn.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 224
Generator = np.random.Generator


def foreign_images(n: int, seed: int = 0) -> dict[str, list[Image.Image]]:
    """Draw ``n`` images of each kind."""
    random = np.random.default_rng(seed)
    kinds = {
        "photographs": photograph,
        "landscapes": landscape,
        "text": text,
        "hands": hand,
        "stripes": stripes,
        "noise": noise,
        "clouds": clouds,
        "plain grey": plain,
    }
    return {name: [draw(random) for _ in range(n)] for name, draw in kinds.items()}


def photograph(random: Generator) -> Image.Image:
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    whole = Image.fromarray(photographs[random.integers(len(photographs))])
    side = int(random.uniform(150, whole.height))
    left, top = (int(random.integers(0, size - side + 1)) for size in whole.size)
    return whole.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))


def landscape(random: Generator) -> Image.Image:
    rise = np.linspace(0, 1, SIDE)[:, None]
    sky = random.uniform(100, 255, 3) * (1 - rise) + random.uniform(100, 255, 3) * rise
    image = _image(np.repeat(sky[:, None, :], SIDE, axis=1))
    pen, x = ImageDraw.Draw(image), random.uniform(20, 200)
    pen.circle((x, 40), random.uniform(8, 30), fill=(255, 240, 180))
    along = np.arange(0, SIDE + 8, 8)
    for base in (100, 140, 180):
        ridge = base + 15 * np.sin(along / 30 + random.uniform(0, 6))
        hill = [(0, SIDE), *zip(along.tolist(), ridge.tolist(), strict=True), (SIDE, SIDE)]
        pen.polygon(hill, fill=tuple(random.integers(20, 150, 3).tolist()))
    for _ in range(random.integers(2, 8)):
        x, foot, height = random.uniform(0, SIDE), random.uniform(130, 210), random.uniform(20, 70)
        pen.rectangle((x - 2, foot - height / 2, x + 2, foot), fill=(70, 45, 20))
        pen.circle(
            (x, foot - 0.7 * height), height / 3, tuple(random.integers(20, 120, 3).tolist())
        )
    return image


def text(random: Generator) -> Image.Image:
    paper, ink = (30, 230) if random.random() < 0.3 else (250, 20)
    size = int(random.integers(8, 22))
    font, image = ImageFont.load_default(size), Image.new("L", (SIDE, SIDE), paper)
    pen = ImageDraw.Draw(image)
    for y in range(4, SIDE, int(1.4 * size)):
        letters = random.choice(list("etaoinshrdlu  "), 60)
        pen.text((4 + random.uniform(0, 20), y), "".join(letters), fill=ink, font=font)
    return image


def hand(random: Generator) -> Image.Image:
    """Draw the bones of a hand, as on a radiograph."""
    image = Image.new("L", (SIDE, SIDE), int(random.integers(5, 30)))
    pen, x = ImageDraw.Draw(image), SIDE / 2 + random.uniform(-10, 10)
    fingers = [*zip(np.radians([-50, -18, -6, 6, 20]), (140, 170, 182, 172, 148), strict=True)]
    tips = [(x + math.sin(a) * reach, 185 - math.cos(a) * reach) for a, reach in fingers]
    for tip in tips:
        pen.line((x, 150, *tip), fill=100, width=22)
    pen.ellipse((x - 45, 110, x + 45, 205), fill=110)
    pen.rectangle((x - 28, 190, x + 28, SIDE), fill=105)
    for (end_x, end_y), bone in ((tip, b) for tip in tips for b in _BONES):
        ends = [(x + (end_x - x) * share, 185 + (end_y - 185) * share) for share in bone]
        pen.line(ends, fill=210, width=9)
    rotated = image.rotate(random.uniform(-15, 15), fillcolor=15)
    return rotated.filter(ImageFilter.GaussianBlur(1.5))


_BONES = ((0.05, 0.42), (0.45, 0.68), (0.71, 0.86), (0.89, 0.99))


def stripes(random: Generator) -> Image.Image:
    """Draw stripes of any width and direction, or a chequerboard of them."""
    y, x = np.mgrid[:SIDE, :SIDE]
    angle, width = random.uniform(0, math.pi), random.uniform(4, 60)
    along, across = (
        np.sin(2 * math.pi / width * (x * math.cos(a) + y * math.sin(a)))
        for a in (angle, angle + math.pi / 2)
    )
    return _image(128 + 110 * (np.sign(along * across) if random.random() < 0.5 else along))


def noise(random: Generator) -> Image.Image:
    if random.random() < 0.5:
        return _image(random.uniform(0, 255, (SIDE, SIDE)))
    return _image(random.normal(random.uniform(60, 200), random.uniform(5, 60), (SIDE, SIDE)))


def clouds(random: Generator) -> Image.Image:
    """Draw noise with a spectrum like that of natural images."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = 1
    white = np.fft.fft2(random.normal(size=(SIDE, SIDE)))
    drawn = np.fft.ifft2(white / frequency ** random.uniform(0.5, 2)).real
    return _image(128 + 50 * (drawn - drawn.mean()) / drawn.std())


def plain(random: Generator) -> Image.Image:
    """Draw one grey level all over; black and white are among them."""
    return _image(np.full((SIDE, SIDE), random.choice([0, 255, random.integers(0, 256)])))


def _image(values: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))
