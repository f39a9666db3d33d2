"""What the probes find with a planted shortcut, and without one.

Normal radiographs of ``$LUCENCY_DATA/chest_xray`` get one of two classes by a coin toss per
patient, so nothing separates the classes; then a shortcut is planted in one of them. False alarms
are counted on the same radiographs without it. Outliers are made from radiographs as well, and the
real folders are probed as they are.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.file_structure import saved
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY, DATA
from lucency import Config, load_dataset
from lucency.dataset import Dataset
from lucency.dataset.groups import find_groups
from lucency.probes import Probes, probe
from lucency.probes.outliers import find_outliers
from lucency.probes.sample import Sample, draw_sample
from lucency.probes.shortcuts import SHORTCUT_PROBES, shortcut

Pixels = NDArray[np.uint8]
Save = Callable[[Image.Image, Generator], bytes]
RADIOGRAPHS, SIDE, QUALITY = 300, 224, 90
CLASSES = ("heads", "tails")


class Plant(NamedTuple):
    """A shortcut to plant.

    Attributes:
        name: What it is.
        probes: The probes of which at least one must flag it.
        feature: A word that its finding must contain; empty if any will do.
        save: Turns an image of one of the classes into a file.
    """

    name: str
    probes: tuple[str, ...]
    feature: str
    save: Save


def jpeg(image: Image.Image, quality: int = QUALITY, **more: object) -> bytes:
    return saved(image, "JPEG", quality=quality, **more)


def plain(image: Image.Image, _: Generator) -> bytes:
    return jpeg(image)


def _marker(image: Image.Image, place: tuple[float, float], size: float = 0.06) -> bytes:
    """Paste a white block with a dark slot, like a letter; ``size`` is its share of the width."""
    width, height = image.size
    left, top, side = place[0] * width, place[1] * height, size * width
    marked = image.copy()
    pen = ImageDraw.Draw(marked)
    pen.rectangle((left, top, left + side, top + side), fill=245)
    pen.rectangle((left + side / 3, top + side / 3, left + side / 2, top + side), fill=60)
    return jpeg(marked)


def _anywhere_near_the_border(random: Generator) -> tuple[float, float]:
    along, across = random.uniform(0.02, 0.92), random.choice([0.02, 0.92])
    return (along, across) if random.random() < 0.5 else (across, along)


def _frame(image: Image.Image, change: int) -> bytes:
    """Make the outer 4 % of an image brighter or darker by ``change`` grey levels."""
    pixels = np.asarray(image, np.int16).copy()
    width = max(1, round(0.04 * len(pixels)))
    inner = pixels[width:-width, width:-width].copy()
    pixels += change
    pixels[width:-width, width:-width] = inner
    return jpeg(_image(pixels))


def _image(pixels: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _toned(image: Image.Image, gamma: float, more: float) -> bytes:
    levels = 255 * (np.asarray(image) / 255.0) ** gamma + more
    return jpeg(_image(levels))


def _cropped(image: Image.Image, height: float) -> bytes:
    """Keep a share of the height in the middle."""
    margin = round(image.height * (1 - height) / 2)
    return jpeg(image.crop((0, margin, image.width, image.height - margin)))


def _resized(image: Image.Image, across: float, down: float) -> bytes:
    width, height = image.size
    return jpeg(image.resize((round(across * width), round(down * height))))


PLANTS = (
    Plant("marker in a corner", ("marks", "border"), "", lambda x, _: _marker(x, (0.03, 0.03))),
    Plant("marker anywhere near the border", ("marks",), "",
          lambda x, random: _marker(x, _anywhere_near_the_border(random))),
    Plant("bright border", ("border", "marks"), "", lambda x, _: _frame(x, 60)),
    Plant("dark border", ("border", "marks"), "", lambda x, _: _frame(x, -60)),
    Plant("JPEG quality", ("file",), "quantisation", lambda x, _: jpeg(x, QUALITY - 5)),
    Plant("a comment in the file", ("file",), "metadata",
          lambda x, _: jpeg(x, comment=b"Made by another camera")),
    Plant("size", ("file",), "width", lambda x, _: _resized(x, 1.1, 1.1)),
    Plant("aspect ratio", ("file",), "aspect ratio", lambda x, _: _resized(x, 1.05, 0.95)),
    Plant("wider images", ("aspect",), "aspect ratio", lambda x, _: _cropped(x, 0.7)),
    Plant("PNG beside JPEG", ("file",), "format", lambda x, _: saved(x)),
    Plant("brightness", ("tone",), "grey", lambda x, _: _toned(x, 1.0, 25)),
    Plant("contrast", ("tone",), "grey", lambda x, _: _toned(x, 1.4, 0)),
)  # fmt: skip


def write_classes(
    folder: Path,
    images: Sequence[Image.Image],
    patients: Sequence[str],
    seed: int,
    save: Save = plain,
) -> Path:
    """Write images into two class folders by a coin toss per patient; ``save`` writes tails.

    Args:
        folder: The target.
        images: Grey images.
        patients: The patient of each image.
        seed: For the coins, and for the random numbers of ``save``.
        save: Returns the content of a file.
    """
    random = np.random.default_rng(seed)
    coin = dict.fromkeys(patients, 0)
    order = random.permutation([*coin])
    coin |= dict.fromkeys(map(str, order[: len(order) // 2]), 1)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    number = {patient: i for i, patient in enumerate(coin)}
    for i, (image, patient) in enumerate(zip(images, patients, strict=True)):
        content = save(image, random) if coin[patient] else plain(image, random)
        suffix = "png" if content.startswith(b"\x89PNG") else "jpeg"
        # Names have the same form in both classes, so that they are no shortcut.
        target = folder / CLASSES[coin[patient]] / f"patient{number[patient]:04d}_{i:04d}.{suffix}"
        target.write_bytes(content)
    return folder


def flagged_correctly(found: Probes, plant: Plant) -> bool:
    """Whether one of the plant's probes flags it, with a finding that names it."""
    flagged = {each.probe for each in found.shortcuts if each.flagged} & set(plant.probes)
    text = " ".join(each.text for each in found.findings if each.probe in flagged)
    return bool(flagged) and plant.feature in text


def shuffled(sample: Sample, seed: int) -> Sample:
    """Return the sample with patients shuffled among the classes."""
    patients, cluster = np.unique(sample.groups, return_inverse=True)
    first = np.array([np.flatnonzero(cluster == i)[0] for i in range(len(patients))])
    order = np.random.default_rng(seed).permutation(len(patients))
    return dataclasses.replace(sample, labels=sample.labels[first][order][cluster])


def false_alarms(sample: Sample, seeds: Sequence[int]) -> list[str]:
    """Return the probes that flag shuffled classes, one entry per false alarm."""
    return [
        kind.name
        for seed in seeds
        for kind in SHORTCUT_PROBES
        if shortcut(kind, shuffled(sample, seed), None, seed).flagged
    ]


OUTLIERS: dict[str, Callable[[Pixels], Pixels]] = {
    "black": lambda x: x % 4,  # not entirely, as identical files are excluded before
    "white": lambda x: 252 + x % 4,
    "dark (a sixth of the levels)": lambda x: x // 6,
    "low contrast (a fifth of the contrast, white)": lambda x: (200 + x // 5).astype(np.uint8),
    "blurred (over a thirtieth of the side)": lambda x: _blurred(x, len(x) / 30),
    "inverted": lambda x: 255 - x,
    "upside down": lambda x: x[::-1],
    "rotated by 90 degrees": np.rot90,
    "noise": lambda x: np.random.default_rng(int(x.sum())).integers(0, 256, x.shape, np.uint8),
    "three times as wide": lambda x: np.repeat(x, 3, axis=1),
    "tiny": lambda x: x[:: max(1, len(x) // 24), :: max(1, len(x) // 24)],
}


def _blurred(pixels: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    folder = CHEST_XRAY / "train" / "NORMAL"
    normal = sorted(folder.glob("*.jpeg"))
    if not normal:
        raise Skipped(f"no radiographs in {folder}")
    repeats, shuffles, outliers = (1, 5, 5) if quick else (2, 50, 40)
    figures = [_planted(normal, plant, repeats) for plant in PLANTS]
    figures.append(_clean(normal, shuffles))
    figures += _outliers(normal, outliers)
    for name in ("chest_xray_native",) if quick else ("chest_xray", "chest_xray_native"):
        figures += _as_it_is(DATA / name)
    return figures


def _planted(normal: Sequence[Path], plant: Plant, repeats: int) -> Figure:
    rates = []
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            found = probe(_loaded(_coin_classes(Path(folder), normal, seed, plant.save)), seed=seed)
            rates.append(100.0 * flagged_correctly(found, plant))
    return Figure(f"flagged and named: {plant.name}", "%", rates, RADIOGRAPHS, least=100)


def _clean(normal: Sequence[Path], shuffles: int) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        data = _loaded(_coin_classes(Path(folder), normal, 0, plain))
        sample = draw_sample([data.train, data.val], data.root, 0, 1)
        alarms = false_alarms(sample, range(shuffles))
    rate = 100 * len(alarms) / (shuffles * len(SHORTCUT_PROBES))
    return Figure(
        "false alarms, of all tests", "%", [rate], shuffles * len(SHORTCUT_PROBES), most=0.5
    )


def _outliers(normal: Sequence[Path], count: int) -> list[Figure]:
    """Put a few outliers of each kind among 900 radiographs and count those that are listed."""
    radiographs = _radiographs(normal, 900 + count, 0)
    figures = []
    for name, change in OUTLIERS.items():
        with tempfile.TemporaryDirectory() as folder:
            images = [image for image, _ in radiographs]
            images[:count] = [Image.fromarray(change(np.asarray(x))) for x in images[:count]]
            # One patient per image: two images of a patient would end up in the same split.
            root = write_classes(
                Path(folder) / "outliers", images, [str(i) for i in range(len(images))], 0
            )
            found = find_outliers(_loaded(root), 1)
        listed = {file for file, _, _ in found.images}
        hits = sum(int(Path(file).stem.split("_")[1]) < count for file in listed)
        figures.append(
            Figure(f"outliers, listed: {name}", "%", [100 * hits / count], count, least=95)
        )
    return figures


def _as_it_is(folder: Path) -> list[Figure]:
    data = load_dataset(folder, Config(effort="quick"))
    n = len(data.entries)
    start = time.perf_counter()
    found = probe(data, workers=1)
    seconds = time.perf_counter() - start
    figures = [Figure(f"{folder.name}: time of all probes", "s", [seconds], n, most=20)]
    for each in found.shortcuts:
        figures.append(Figure(f"{folder.name}: AUROC of {each.probe}", "", [each.auc.value], n))
        if each.test:
            name = f"{folder.name}: AUROC of {each.probe} on test"
            figures.append(Figure(name, "", [each.test.value], len(data.test or ())))
    share = 100 * found.outliers.n / n
    return [*figures, Figure(f"{folder.name}: outliers", "%", [share], n, most=0.5)]


def _coin_classes(folder: Path, normal: Sequence[Path], seed: int, save: Save) -> Path:
    radiographs = _radiographs(normal, RADIOGRAPHS, seed)
    images, patients = zip(*radiographs, strict=True)
    return write_classes(folder / "coins", images, patients, seed, save)


def _radiographs(normal: Sequence[Path], count: int, seed: int) -> list[tuple[Image.Image, str]]:
    """Draw radiographs, in grey at 224 x 224, with their patients."""
    chosen = np.random.default_rng(seed).permutation(len(normal))[:count]
    files = [normal[i] for i in sorted(chosen)]
    patients = find_groups([file.name for file in files]).keys
    radiographs = []
    for file in files:
        with Image.open(file) as image:
            radiographs.append(image.convert("L").resize((SIDE, SIDE)))
    return [*zip(radiographs, patients, strict=True)]


def _loaded(folder: Path) -> Dataset:
    cache = folder.parent / "cache"
    return load_dataset(
        folder, Config(effort="quick", cache=str(cache), group_regex="(patient[0-9]+)")
    )
