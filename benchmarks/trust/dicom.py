"""How DICOM files are rendered: the files that come with pydicom, beside an independent reader.

The files are those of pydicom and, if present, ``$LUCENCY_DATA/dicom``. The independent reader is
highdicom (skipped if not installed) with the same transforms: modality, VOI and presentation.
Padding is not compared, as highdicom shows it like any other value, nor are images without a
window, which highdicom does not map to grey levels. Malicious files are read as well.
"""

from __future__ import annotations

import importlib.util
import io
import time
import tracemalloc
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from benchmarks.dicom_files import BIG, bombs, dicom
from benchmarks.results import Figure
from benchmarks.sample_images import DATA
from lucency.errors import ImageError
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.imaging.dicom import is_dicom
from lucency.imaging.dicom.header import read_dicom
from lucency.imaging.dicom.render import rendered
from lucency.imaging.image import SourceImage, encode_png, read_image

WHEEL = Path(pydicom.__file__).parent / "data"
MR = ("", "_implicit", "_expb", "_bigendian", "_RLE", "_jp2klossless", "_jpeg_ls_lossless")


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    found = [*_wheel(), *sorted((DATA / "dicom").glob("*.dcm"))]
    with DecoderPool() as pool:
        decoded = [*pool.map(Request(str(file), None, colour=True) for file in found)]
        lost = pool.lost
    readable = [f for f, each in zip(found, decoded, strict=True) if each.pixels is not None]
    return [
        *_counts(decoded, lost),
        *_agreement(readable),
        _encodings(),
        _polarities(20 if quick else 200),
        _as_png(readable),
        *_bombs(),
        *_speed(1 if quick else 5),
    ]


def _wheel() -> Iterator[Path]:
    for path in sorted(WHEEL.rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            yield path


def _counts(decoded: Sequence[Decoded], lost: int) -> list[Figure]:
    n = len(decoded)
    read = sum(each.pixels is not None for each in decoded)
    rejected = sum(bool(each.reason) and not each.transient for each in decoded)
    return [
        Figure("real files read", "files", [read], n),
        Figure("real files rejected with a reason", "files", [rejected], n),
        Figure("real files that crashed a decoder", "files", [lost], n, most=0),
    ]


def _agreement(files: Sequence[Path]) -> list[Figure]:
    if importlib.util.find_spec("highdicom") is None:
        return []
    differences = [apart for file in files if (apart := _largest_difference(file)) is not None]
    name = "largest difference to highdicom before rounding, of 255"
    return [Figure(name, "grey levels", [max(differences)], len(differences), most=1)]


def _largest_difference(file: Path) -> float | None:
    """Return the largest difference in one file; ``None`` if it cannot be compared."""
    import highdicom

    data = file.read_bytes()
    header = read_dicom(data) if is_dicom(data) else None
    if header is None or header.syntax.uid == BIG:  # highdicom only reads little endian
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = pydicom.dcmread(io.BytesIO(data))
        if header.grey and not ("WindowCenter" in opened or "VOILUTSequence" in opened):
            return None
        image = highdicom.Image.from_dataset(opened)
        theirs: NDArray[Any] = image.get_frame(
            1, apply_voi_transform=None, apply_real_world_transform=False, apply_icc_profile=False
        )
        compared = np.asarray(opened.pixel_array) != opened.get("PixelPaddingValue", np.nan)
    if header.grey:
        theirs = theirs * 255
    elif header.stored > 8 or header.palette:
        theirs = theirs // 2 ** (8 if header.palette else header.stored - 8)
    ours = np.asarray(rendered(header))
    apart = abs(np.asarray(theirs, float) - ours)
    return float((apart[compared] if header.grey else apart).max(initial=0))


def _encodings() -> Figure:
    names = [*(f"MR_small{end}.dcm" for end in MR)]
    first, *others = [_whole((WHEEL / "test_files" / name).read_bytes()) for name in names]
    apart = max(int(abs(other.astype(int) - first).max()) for other in others)
    name = "one image in seven encodings, largest difference"
    return Figure(name, "grey levels", [apart], len(names), most=0)


def _polarities(count: int) -> Figure:
    apart = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        values = random.integers(0, random.integers(2, 4096), (32, 32)).astype(np.uint16)
        centre, width = int(random.integers(100, 4000)), int(random.integers(2, 4000))
        plain = dicom(values, BitsStored=12, WindowCenter=centre, WindowWidth=width)
        inverse = dicom(
            4095 - values,
            BitsStored=12,
            WindowCenter=4096 - centre,
            WindowWidth=width,
            PhotometricInterpretation="MONOCHROME1",
            PresentationLUTShape=None if seed % 2 else "INVERSE",
        )
        apart.append(int(abs(_whole(plain).astype(int) - _whole(inverse)).max()))
    name = "pairs of both polarities, largest difference"
    return Figure(name, "grey levels", [max(apart)], count, most=0)


def _as_png(files: Sequence[Path]) -> Figure:
    """Compare the input of a network from a file and from a PNG with its grey levels."""
    apart = []
    for file in files:
        image = SourceImage(file.read_bytes())
        if is_dicom(file.read_bytes()) and image.size == _stored(file):
            png = encode_png(image.pixels(image.size, colour=True))
            pair = [read_image(each, (64, 64), True).astype(int) for each in (str(file), png)]
            apart.append(int(abs(pair[0] - pair[1]).max()))
    name = "a file and a PNG of it at 64 px, largest difference"
    return Figure(name, "grey levels", [max(apart)], len(apart), most=0)


def _stored(file: Path) -> tuple[int, int]:
    header = read_dicom(file.read_bytes())
    return header.rows, header.columns


def _bombs() -> list[Figure]:
    seconds, memory, accepted = [], [], 0
    _rejected(dicom(np.zeros((8, 8), np.uint8), kind="1.2.3"))  # loads pydicom
    for data in bombs().values():
        start = time.perf_counter()
        accepted += not _rejected(data)
        seconds.append(time.perf_counter() - start)
        tracemalloc.start()
        _rejected(data)
        memory.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    n = len(seconds)
    return [
        Figure("bombs that were not rejected", "files", [accepted], n, most=0),
        Figure("slowest bomb, time", "s", [max(seconds)], n, most=1),
        Figure("largest bomb, memory", "MiB", [max(memory)], n, most=64),
    ]


def _rejected(data: bytes) -> bool:
    try:
        SourceImage(data).decode((64, 64), colour=False)
    except ImageError:
        return True
    return False


def _speed(repeats: int) -> list[Figure]:
    random = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(3000), np.arange(2500)).astype(np.uint16) // 2
    radiograph = smooth + random.integers(0, 64, smooth.shape, np.uint16)
    data = dicom(radiograph, BitsStored=12, WindowCenter=1500, WindowWidth=3000)
    _whole(data)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        SourceImage(data).decode((224, 224), colour=False)
        times.append(1000 * (time.perf_counter() - start))
    first = []
    small = dicom(radiograph[:64, :64], BitsStored=12)
    for _ in range(repeats):
        with DecoderPool(1) as pool:
            start = time.perf_counter()
            pool.submit(Request(small, (64, 64), False)).result()
            first.append(1000 * (time.perf_counter() - start))
    return [
        Figure("decode 7.5 megapixels of 12 bits, stored as they are", "ms", times, 1),
        Figure("start a process and decode its first DICOM file", "ms", first, 1),
    ]


def _whole(data: bytes) -> NDArray[np.uint8]:
    image = SourceImage(data)
    return image.pixels(image.size, colour=False)
