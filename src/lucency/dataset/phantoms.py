"""Draw synthetic chest radiographs by formula: a data set without patients to try everything on.

Brightness is the attenuation of the X-rays: air is black, bone and fluid are white. Half of the
images have one to three opacities in their lungs, soft clouds of different density. Nothing else
depends on the class: exposure, size, format, marker and file names have the same distribution. With
grades, the density of the opacities grows from one to the next. With findings, an image has each of
four by chance, whatever the others are. With ratios, hearts differ widely in size, and the
cardiothoracic ratio of each image is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lucency.errors import RunError
from lucency.io import csv_lines
from lucency.progress import SILENT, Progress

CLASSES = ("NORMAL", "OPACITY")
FINDINGS = ("opacity", "effusion", "nodule", "device")
_HAVE = 0.35  # share of the images that have a finding
_NOTHING: Mapping[str, float] = {}
_USUAL = dict.fromkeys(FINDINGS, 1.0)
LABELS = "labels.csv"
RATIO = "cardiothoracic_ratio"
_HEARTS = (0.85, 1.15)  # range of their sizes
_HEARTS_OF_RATIOS = (0.75, 1.45)
GRADES = ("none", "mild", "moderate", "severe")
# How dense the opacities of each class are.
_DENSITY = {"NORMAL": 0.0, "OPACITY": 1.0, "none": 0.0, "mild": 0.5, "moderate": 0.9, "severe": 1.5}
_VAL = 8  # images per class, as in the best-known data set of chest radiographs
_TEST = 0.2
_SIDE = 320  # pixels in which anatomy is drawn, before scaling and noise
_LEFT, _RIGHT = -1, 1  # sides of the image; the patient's right lung is on the left

Field = NDArray[np.floating[Any]]


class _Shot(NamedTuple):
    """One image to draw: its split, class, patient and number."""

    split: str
    label: str
    patient: int
    number: int


def draw_dataset(
    folder: Path,
    *,
    seed: int = 0,
    images: int = 240,
    grades: bool = False,
    progress: Progress = SILENT,
) -> None:
    """Draw a data set with train, val and test folders and a few planted faults.

    The classes are NORMAL and OPACITY, or the grades none to severe, in equal numbers. The faults:
    a truncated image (only in 100 images or more, as it would be more than 1 % of fewer), a copy
    inside train, a copy of a test image in train under another name, a hidden file and a
    ``__MACOSX`` folder. The same seed gives the same bytes, with the same versions of NumPy and
    Pillow.

    Args:
        folder: Output folder; it must be missing or empty.
        seed: Determines everything.
        images: Images to draw, at least 40; the two copies are added to them.
        grades: Whether the classes are grades.
        progress: Called for every image.

    Raises:
        RunError: The folder is in use or cannot be written.
        ValueError: ``images`` is too small.
    """
    if images < 40:
        raise ValueError(f"Expected at least 40 images. Received: {images}.")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise RunError(f"{folder} is not empty. Give another folder, or empty it.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Drawn in a temporary folder and renamed, so that an interruption leaves nothing behind.
        with TemporaryDirectory(prefix=".drawing-", dir=folder.parent) as temporary:
            partial = Path(temporary) / "images"
            _draw_all(partial, seed, images, GRADES if grades else CLASSES, progress)
            partial.rename(folder)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written ({error.strerror}). Give another folder."
        ) from error


def draw_findings(
    folder: Path,
    *,
    seed: int = 0,
    images: int = 240,
    contrasts: Mapping[str, float] = _USUAL,
    progress: Progress = SILENT,
) -> None:
    """Draw a data set of several labels: ``images/`` and ``labels.csv``, without splits or faults.

    Every image has each of four findings with a probability of 35 %. The same seed gives the same
    bytes, with the same versions of NumPy and Pillow.

    Args:
        folder: Output folder; it must be missing.
        seed: Determines everything.
        images: Images to draw, two of each patient.
        contrasts: How dense each finding is, as a multiple of the usual density.
        progress: Called for every image.

    Raises:
        RunError: The folder exists or cannot be written.
    """

    def draw(at: Path, k: int) -> list[object]:
        return _draw_finding(at, seed, k, contrasts)

    _draw_table(folder, [*FINDINGS], draw, images, progress)


def draw_ratios(
    folder: Path, *, seed: int = 0, images: int = 240, progress: Progress = SILENT
) -> None:
    """Draw a data set of numbers: ``images/`` and ``labels.csv``, without splits or faults.

    The number is the cardiothoracic ratio: the width of the heart over that of the chest, in the
    frame of the patient, from about 0.39 to 0.66. The same seed gives the same bytes, with the same
    versions of NumPy and Pillow.

    Args:
        folder: Output folder; it must be missing.
        seed: Determines everything.
        images: Images to draw, two of each patient.
        progress: Called for every image.

    Raises:
        RunError: The folder exists or cannot be written.
    """
    _draw_table(folder, [RATIO], lambda at, k: _draw_ratio(at, seed, k), images, progress)


def _draw_table(
    folder: Path,
    columns: list[str],
    draw: Callable[[Path, int], list[object]],
    images: int,
    progress: Progress,
) -> None:
    """Draw ``images/``, and write a table with a row for each image."""
    try:
        if folder.exists():
            raise RunError(f"{folder} exists. Give another folder.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".drawing-", dir=folder.parent) as temporary:
            partial = Path(temporary) / "images"
            (partial / "images").mkdir(parents=True)
            rows = []
            with progress.task("Drawing phantoms", images, "images") as task:
                for k in range(images):
                    rows.append(draw(partial, k))
                    task.advance()
            table = csv_lines([["file", "patient", *columns], *rows])
            (partial / LABELS).write_text("".join(table), encoding="utf-8")
            partial.rename(folder)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written ({error.strerror}). Give another folder."
        ) from error


def _draw_finding(
    folder: Path, seed: int, number: int, contrasts: Mapping[str, float]
) -> list[object]:
    """Draw an image with findings; return its row of the table."""
    patient, shot = number // 2, np.random.default_rng([seed, 3, number])
    has = shot.random(len(FINDINGS)) < _HAVE
    findings = {name: contrasts[name] for name, each in zip(FINDINGS, has, strict=True) if each}
    anatomy = np.random.default_rng([seed, 2, patient])
    density = findings.get("opacity", 0.0)
    chest, _ = _draw_chest(anatomy, shot, density=density, findings=findings)
    return [*_save(folder, chest, shot, number), *map(int, has)]


def _draw_ratio(folder: Path, seed: int, number: int) -> list[object]:
    """Draw an image of a heart of any size; return its row of the table."""
    patient, shot = number // 2, np.random.default_rng([seed, 5, number])
    anatomy = np.random.default_rng([seed, 4, patient])
    chest, ratio = _draw_chest(anatomy, shot, density=0.0, hearts=_HEARTS_OF_RATIOS)
    return [*_save(folder, chest, shot, number), f"{ratio:.4f}"]


def _save(folder: Path, chest: Field, shot: Generator, number: int) -> list[str]:
    """Write an image of a table, two of each patient; return its file and its patient."""
    image = _exposed(chest, shot)
    patient = f"patient{number // 2:04d}"
    file = f"images/{patient}_{number % 2 + 1}.png"
    image.save(folder / file, compress_level=1)
    return [file, patient]


def _draw_all(
    folder: Path, seed: int, images: int, classes: tuple[str, ...], progress: Progress
) -> None:
    files = []
    with progress.task("Drawing phantoms", images, "images") as task:
        for shot in _plan(np.random.default_rng([seed, 0]), images, classes):
            files.append(_write(folder, shot, seed))
            task.advance()
    _plant_faults(folder, files)


def _plan(rng: Generator, images: int, classes: tuple[str, ...]) -> Iterator[_Shot]:
    """Distribute the images over patients of one to four images, each in one split."""
    test = round(images * _TEST / 2)
    train = images - 2 * (_VAL + test)
    numbers = iter(rng.permutation(10 * images))  # a patient's number must not reveal the class
    for split, wanted in (("train", train), ("val", 2 * _VAL), ("test", 2 * test)):
        for k, label in enumerate(classes):
            left = (wanted + k) // len(classes)
            while left:
                shots = min(int(rng.integers(1, 5)), left)
                patient = int(next(numbers))
                yield from (_Shot(split, label, patient, shot + 1) for shot in range(shots))
                left -= shots


def _write(folder: Path, shot: _Shot, seed: int) -> Path:
    rng = np.random.default_rng([seed, 1, shot.patient, shot.number])
    anatomy = np.random.default_rng([seed, 2, shot.patient])
    chest, _ = _draw_chest(anatomy, rng, density=_DENSITY[shot.label])
    image = _exposed(chest, rng)
    place = folder / shot.split / shot.label
    place.mkdir(parents=True, exist_ok=True)
    stem = place / f"patient{shot.patient:04d}_{shot.number}"
    if rng.random() < 0.5:
        path = stem.with_suffix(".png")
        image.save(path, compress_level=1)
    else:
        path = stem.with_suffix(".jpeg")
        image.save(path, quality=int(rng.integers(75, 96)))
    return path


def _plant_faults(folder: Path, files: list[Path]) -> None:
    train = [file for file in files if file.parent.parent.name == "train"]
    test = [file for file in files if file.parent.parent.name == "test"]
    copied, leaked, truncated = train[0], test[0], train[-1]
    _copy(copied, copied.with_stem(f"{copied.stem}_copy"))
    other_patient = f"patient{10 * len(files)}_1{leaked.suffix}"  # one above the highest number
    _copy(leaked, folder / "train" / leaked.parent.name / other_patient)
    if len(files) >= 100:
        truncated.write_bytes(truncated.read_bytes()[:2000])
    (copied.parent / ".hidden.png").write_bytes(b"left behind by a file manager")
    packed = folder / "__MACOSX" / "train" / copied.parent.name
    packed.mkdir(parents=True)
    (packed / f"._{copied.name}").write_bytes(b"left behind by a packing program")


def _copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def _draw_chest(
    anatomy: Generator,
    shot: Generator,
    *,
    density: float,
    findings: Mapping[str, float] = _NOTHING,
    hearts: tuple[float, float] = _HEARTS,
) -> tuple[Field, float]:
    """Return the attenuation and the cardiothoracic ratio.

    The attenuation is (320, 320) from 0 (air) to about 1 (spine, belly).

    Properties of the patient are drawn from ``anatomy``, those of the exposure from ``shot``; the
    number of draws is the same for all classes.
    """
    x, y = _pose(shot)
    build = anatomy.uniform(0.92, 1.08)
    y = y / anatomy.uniform(0.94, 1.06)
    x = x / build
    torso = _torso(x, y)
    lungs = _lungs(x, y, anatomy, breath=float(shot.uniform(-0.05, 0.05)))
    heart = _heart(x, y, size=float(anatomy.uniform(*hearts)))
    air = lungs * (1 - 0.92 * heart)
    chest = 0.66 * torso * (1 - 0.68 * air)
    chest += 0.10 * heart * torso
    chest += air * _vessels(x, y, anatomy)
    chest += _bones(x, y, torso, anatomy)
    opacities = _opacities(x, y, anatomy)
    if density:
        chest += density * opacities * air
    if contrast := findings.get(
        "effusion"
    ):  # fluid fills the lungs from below, with a curved level
        level = shot.uniform(0.12, 0.30)
        chest += 0.42 * contrast * air * _soft(y - level + 0.5 * (np.abs(x) - 0.2), 0.03)
    if contrast := findings.get("nodule"):
        centre = (shot.choice((_LEFT, _RIGHT)) * shot.uniform(0.28, 0.48), shot.uniform(-0.3, 0.25))
        radius = float(shot.uniform(0.05, 0.08))
        chest += 0.34 * contrast * _soft(_blob(x, y, centre, (radius, radius)), 0.2)
    if contrast := findings.get("device"):  # a pacemaker, and its lead to the heart
        box = np.maximum(np.abs(x + 0.45) / 0.10, np.abs(y + 0.52) / 0.08)
        lead = np.abs(y + 0.52 - 1.25 * (x + 0.45)) + np.maximum(0, x - 0.05)
        chest = np.maximum(chest, 1.05 * contrast * _soft(1 - box, 0.05))
        chest = np.maximum(
            chest, 0.95 * contrast * _soft(0.018 - lead, 0.006) * _soft(x + 0.45, 0.02)
        )
    return chest, float(np.ptp(x[heart > 0.5]) / np.ptp(x[lungs > 0.5]))


def _pose(rng: Generator) -> tuple[Field, Field]:
    """Return x and y from -1 to 1 in the pose of the patient: shifted, rotated, scaled."""
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, _SIDE, dtype=np.float32)], indexing="ij")
    angle, zoom = rng.normal(0, 0.03), rng.uniform(0.92, 1.12)
    x, y = x - rng.normal(0, 0.04), y - rng.normal(0, 0.03)
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    return cos * x + sin * y, cos * y - sin * x


def _soft(inside: Field, edge: float) -> Field:
    """Return 1 where ``inside`` is positive and 0 where it is negative, with a soft edge."""
    soft: Field = 1 / (1 + np.exp(np.clip(-inside / edge, -30, 30)))
    return soft


def _blob(x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float]) -> Field:
    """Return 1 minus the squared distance in radii: positive inside an ellipse."""
    return 1 - ((x - centre[0]) / radii[0]) ** 2 - ((y - centre[1]) / radii[1]) ** 2


def _torso(x: Field, y: Field) -> Field:
    """Neck, sloping shoulders and chest; thinner towards the sides."""
    shoulders = 0.24 + 0.68 * _soft(y + 0.80, 0.05)
    flank = shoulders - 0.06 * _soft(y - 0.1, 0.2)
    thickness = np.sqrt(np.clip(1.02 - (x / flank) ** 2, 0, None))
    return np.minimum(1, 1.25 * thickness) * _soft(flank - np.abs(x), 0.015)


def _lungs(x: Field, y: Field, rng: Generator, breath: float) -> Field:
    """Two lungs with a pointed top, the diaphragm below and the mediastinum between them."""
    lungs = np.zeros_like(x)
    height = rng.uniform(0.92, 1.06)
    for side, floor in ((_LEFT, 0.46), (_RIGHT, 0.53)):  # the liver lifts the patient's right
        middle = side * rng.uniform(0.39, 0.43)
        top = _blob(x, y, (middle - side * 0.04, 0.12), (0.31, 0.86 * height))
        dome = floor * height + breath + 1.6 * (x - middle + side * 0.10) ** 2
        inner = side * x - 0.11 - 0.03 * y
        lungs += _soft(top, 0.10) * _soft(dome - y, 0.014) * _soft(inner, 0.018)
    return np.minimum(1, lungs)


def _heart(x: Field, y: Field, size: float) -> Field:
    """Heart, great vessels and the aortic knob, in the middle and to the right of it."""
    heart = _soft(_blob(x - 0.35 * (y - 0.28), y, (0.13, 0.28), (0.29 * size, 0.27 * size)), 0.09)
    root = _soft(_blob(x, y, (-0.02, 0.02), (0.16, 0.34)), 0.12)
    knob = _soft(_blob(x, y, (0.10, -0.28), (0.09, 0.09)), 0.15)
    return 1 - (1 - heart) * (1 - root) * (1 - 0.8 * knob)


def _vessels(x: Field, y: Field, rng: Generator) -> Field:
    """Branching shadows, dense at the hila and fading outwards."""
    root = np.hypot(np.abs(x) - 0.17, y - 0.02)
    branches = np.abs(_clouds(rng, 26)) * 0.5 + np.abs(_clouds(rng, 52)) * 0.3
    vessels: Field = 0.16 * np.exp(-root / 0.16) + 0.07 * branches * np.exp(-root / 0.45)
    return vessels


def _bones(x: Field, y: Field, torso: Field, rng: Generator) -> Field:
    spine = _soft(0.065 - np.abs(x), 0.012) * (0.75 + 0.25 * np.cos(2 * np.pi * y / 0.105))
    side = np.abs(x)
    cage = _soft(_blob(x, y, (0, 0.12), (0.82, 0.92)), 0.08) * _soft(0.62 - y, 0.05)
    spacing, slope = rng.uniform(0.15, 0.17), rng.uniform(0.9, 1.1)
    behind = y + 0.10 - 0.30 * slope * side + 0.75 * (side - 0.30) ** 2
    ahead = y + 0.02 + 0.42 * slope * side - 0.20 * side**2
    ribs = 0.085 * _bars(behind / spacing, 0.55) * _soft(side - 0.07, 0.02)
    ribs += 0.040 * _bars(ahead / (1.15 * spacing), 0.60) * _soft(side - 0.26, 0.04)
    collar = y + 0.60 + 0.16 * side - 0.10 * np.sin(6 * side)
    collar = (
        _soft(0.022 - np.abs(collar), 0.006) * _soft(side - 0.09, 0.02) * _soft(0.72 - side, 0.03)
    )
    bones: Field = 0.17 * spine * torso + ribs * cage + 0.13 * collar
    return bones


def _bars(phase: Field, width: float) -> Field:
    """Return soft bars, one per unit of ``phase``, brighter at their edges as hollow bones are."""
    wave = np.cos(2 * np.pi * phase)
    hollow: Field = 1 - 0.35 * np.clip(wave, 0, 1)
    return _soft(wave - math.cos(math.pi * width), 0.12) * hollow


def _opacities(x: Field, y: Field, rng: Generator) -> Field:
    """One to three clouds with ragged soft edges, anywhere in the lungs."""
    ragged = 1 + 0.45 * _clouds(rng, 9) + 0.20 * _clouds(rng, 24)
    opacities = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 4))):
        side = rng.choice((_LEFT, _RIGHT))
        centre = (side * rng.uniform(0.24, 0.52), rng.uniform(-0.35, 0.42))
        radii = (rng.uniform(0.10, 0.22), rng.uniform(0.10, 0.26))
        density = np.exp(1.2 * (_blob(x, y, centre, radii) - 1))
        opacities = np.maximum(
            opacities, rng.uniform(0.14, 0.34) * density * np.clip(ragged, 0.2, 1.8)
        )
    return opacities


def _clouds(rng: Generator, cells: int) -> Field:
    """Return smooth noise of about unit variance with ``cells`` bumps along a side."""
    noise = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(noise.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))


def _exposed(attenuation: Field, rng: Generator) -> Image.Image:
    """Return the attenuation as an image of random size, exposure and noise, with a marker."""
    height = int(rng.integers(300, 641))
    width = int(np.clip(height * rng.uniform(0.85, 1.30), 300, 700))
    contrast, gamma = rng.uniform(0.82, 1.08), rng.uniform(0.80, 1.30)
    levels = rng.uniform(0.01, 0.06) + contrast * np.clip(attenuation, 0, 1.2) ** gamma
    large = Image.fromarray(levels.astype(np.float32))
    grown = np.asarray(large.resize((width, height), Image.Resampling.BICUBIC))
    # Quantum noise: relatively, it is stronger where fewer photons arrive.
    grain = rng.standard_normal((height, width), np.float32) * rng.uniform(0.008, 0.025)
    pixels = np.clip(255 * (grown + grain * (0.5 + grown)), 0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    _burn_in_marker(image, rng)
    return image


def _burn_in_marker(image: Image.Image, rng: Generator) -> None:
    """Print the letter of a side into a corner, like a lead marker."""
    letter = "RL"[int(rng.integers(2))]
    size = int(image.height * rng.uniform(0.05, 0.08))
    across = rng.uniform(0.03, 0.08) if letter == "R" else rng.uniform(0.87, 0.92)
    place = (int(image.width * across), int(image.height * rng.uniform(0.03, 0.10)))
    font = ImageFont.load_default(size)
    ImageDraw.Draw(image).text(place, letter, fill=int(rng.integers(200, 256)), font=font)
