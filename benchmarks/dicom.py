"""How DICOM files come out: every one of pydicom's wheel, beside an independent reader, and bombs.

The files are those that pydicom brings with it and, where they are, ``$LUCENCY_DATA/dicom``. The
independent reader is highdicom (left out where it is not installed), asked for the same things:
modality, VOI and presentation. Padding is not compared, as highdicom shows it like any other value,
nor are images without a window, of which highdicom makes no grey levels.
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
from lucency.errors import ImageError
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.imaging.dicom import is_dicom
from lucency.imaging.dicom.header import read_dicom
from lucency.imaging.dicom.render import rendered
from lucency.imaging.image import SourceImage, encode_png, read_image

WHEEL = Path(pydicom.__file__).parent / "data"
MR = ("", "_implicit", "_expb", "_bigendian", "_RLE", "_jp2klossless", "_jpeg_ls_lossless")


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    found = [*_wheel(), *sorted((files[0].parents[2] / "dicom").glob("*.dcm"))]
    with DecoderPool() as pool:
        answers = [*pool.map(Request(str(file), None, colour=True) for file in found)]
        lost = pool.lost
    readable = [f for f, answer in zip(found, answers, strict=True) if answer.pixels is not None]
    return [
        *_counts(answers, lost),
        *_agreement(readable),
        _encodings(),
        _twins(20 if quick else 200),
        _as_png(readable),
        *_bombs(),
        *_speed(1 if quick else 5),
    ]


def _wheel() -> Iterator[Path]:
    for path in sorted(WHEEL.rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            yield path


def _counts(answers: Sequence[Decoded], lost: int) -> list[Figure]:
    n = len(answers)
    read = sum(each.pixels is not None for each in answers)
    told = sum(bool(each.reason) and not each.passing for each in answers)
    return [
        Figure("real files read", "files", [read], n),
        Figure("real files refused with a reason", "files", [told], n),
        Figure("real files that crashed a decoder", "files", [lost], n, most=0),
    ]


def _agreement(files: Sequence[Path]) -> list[Figure]:
    if importlib.util.find_spec("highdicom") is None:
        return []
    furthest = [far for file in files if (far := _furthest(file)) is not None]
    name = "greatest difference to highdicom before rounding, of 255"
    return [Figure(name, "grey levels", [max(furthest)], len(furthest), most=1)]


def _furthest(file: Path) -> float | None:
    """Return the greatest difference in one file; ``None`` where there is nothing to compare."""
    import highdicom

    data = file.read_bytes()
    header = read_dicom(data) if is_dicom(data) else None
    if header is None or header.syntax.uid == BIG:  # highdicom reads little endian alone
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
        seen = np.asarray(opened.pixel_array) != opened.get("PixelPaddingValue", np.nan)
    if header.grey:
        theirs = theirs * 255
    elif header.stored > 8 or header.palette:
        theirs = theirs // 2 ** (8 if header.palette else header.stored - 8)
    ours = np.asarray(rendered(header))
    apart = abs(np.asarray(theirs, float) - ours)
    return float((apart[seen] if header.grey else apart).max(initial=0))


def _encodings() -> Figure:
    names = [*(f"MR_small{end}.dcm" for end in MR)]
    first, *others = [_whole((WHEEL / "test_files" / name).read_bytes()) for name in names]
    apart = max(int(abs(other.astype(int) - first).max()) for other in others)
    name = "one image in seven encodings, greatest difference"
    return Figure(name, "grey levels", [apart], len(names), most=0)


def _twins(count: int) -> Figure:
    apart = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        values = random.integers(0, random.integers(2, 4096), (32, 32)).astype(np.uint16)
        centre, width = int(random.integers(100, 4000)), int(random.integers(2, 4000))
        plain = dicom(values, BitsStored=12, WindowCenter=centre, WindowWidth=width)
        twin = dicom(
            4095 - values,
            BitsStored=12,
            WindowCenter=4096 - centre,
            WindowWidth=width,
            PhotometricInterpretation="MONOCHROME1",
            PresentationLUTShape=None if seed % 2 else "INVERSE",
        )
        apart.append(int(abs(_whole(plain).astype(int) - _whole(twin)).max()))
    name = "twins of both polarities, greatest difference"
    return Figure(name, "grey levels", [max(apart)], count, most=0)


def _as_png(files: Sequence[Path]) -> Figure:
    """Compare what a network sees of a file, and of a PNG file with its grey levels."""
    apart = []
    for file in files:
        image = SourceImage(file.read_bytes())
        if is_dicom(file.read_bytes()) and image.size == _stored(file):
            png = encode_png(image.pixels(image.size, colour=True))
            pair = [read_image(each, (64, 64), True).astype(int) for each in (str(file), png)]
            apart.append(int(abs(pair[0] - pair[1]).max()))
    name = "a file and a PNG of it at 64 px, greatest difference"
    return Figure(name, "grey levels", [max(apart)], len(apart), most=0)


def _stored(file: Path) -> tuple[int, int]:
    header = read_dicom(file.read_bytes())
    return header.rows, header.columns


def _bombs() -> list[Figure]:
    seconds, memory, through = [], [], 0
    _refused(dicom(np.zeros((8, 8), np.uint8), kind="1.2.3"))  # loads pydicom
    for data in bombs().values():
        start = time.perf_counter()
        through += not _refused(data)
        seconds.append(time.perf_counter() - start)
        tracemalloc.start()
        _refused(data)
        memory.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    n = len(seconds)
    return [
        Figure("bombs that were not refused", "files", [through], n, most=0),
        Figure("the slowest bomb", "s", [max(seconds)], n, most=1),
        Figure("the hungriest bomb", "MiB", [max(memory)], n, most=64),
    ]


def _refused(data: bytes) -> bool:
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
