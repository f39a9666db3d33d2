"""Images decoded in the browser have the same pixels as in Python, bit for bit."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lucency.errors import ImageError
from lucency.imaging.image import SourceImage
from web_browser import browser, modules, packed, unpacked, without_others
from web_images import drawn, file_of, jpegs, png, pngs

# For each file: the pixels at each size, or the reason.
DECODE = """async (requests) => {
  const { readHeader } = await import("/local/header.js");
  const { readImage } = await import("/local/image.js");
  const { ImageError } = await import("/local/errors.js");
  const text = (bytes) => {
    let found = "";
    for (let i = 0; i < bytes.length; i += 8192) {
      found += String.fromCharCode(...bytes.subarray(i, i + 8192));
    }
    return btoa(found);
  };
  const results = [];
  for (const { file, sizes } of requests) {
    const data = Uint8Array.from(atob(file), (sign) => sign.charCodeAt(0));
    try {
      const image = await readImage(readHeader(data), data);
      const pixels = sizes.map(([size, colour]) => text(image.pixels(size, colour)));
      results.push({ size: image.size, pixels });
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      results.push({ reason: error.message });
    }
  }
  return results;
}"""
SIZES = [
    (size, colour) for size in ((64, 64), (16, 16), (3, 40), (90, 7)) for colour in (False, True)
]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with browser() as started, modules(started) as found:
        yield found


def decoded(page: Any, files: list[bytes], sizes: list[Any] = SIZES) -> list[dict[str, Any]]:
    return list(page.evaluate(DECODE, [{"file": packed(file), "sizes": sizes} for file in files]))


def by_pillow(data: bytes, sizes: list[Any] = SIZES) -> list[bytes] | str:
    try:
        image = SourceImage(data)
        return [image.decode(size, colour, depth=8) for size, colour in sizes]
    except ImageError as error:
        return str(error)


def assert_same(page: Any, named: list[tuple[str, bytes]], sizes: list[Any] = SIZES) -> None:
    found = decoded(page, [data for _, data in named], sizes)
    for (name, data), result in zip(named, found, strict=True):
        expected = by_pillow(data, sizes)
        if isinstance(expected, str):
            assert result == {"reason": without_others(expected)}, name
            continue
        assert result["size"] == list(SourceImage(data).size), name
        for size, ours, theirs in zip(sizes, result["pixels"], expected, strict=True):
            assert unpacked(ours) == theirs, (name, size)


def test_jpeg_of_all_kinds(page: Any) -> None:
    assert_same(page, [*jpegs(np.random.default_rng(0))])


def test_png_of_all_kinds(page: Any) -> None:
    assert_same(page, [*pngs(np.random.default_rng(1))])


def test_resizing_in_all_proportions(page: Any) -> None:
    rng = np.random.default_rng(2)
    sides = (3, 20, 31, 59, 61, 200)
    sizes = [((height, width), False) for height in sides for width in sides]
    shapes = ((60, 60), (50, 80), (100, 30))
    files = [file_of(Image.fromarray(rng.integers(0, 256, s, np.uint8)), "PNG") for s in shapes]
    assert_same(page, [(str(s), file) for s, file in zip(shapes, files, strict=True)], sizes)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_exif_orientation_is_applied(page: Any, kind: str) -> None:
    image = drawn(np.random.default_rng(3), 90, 60, "RGB")
    named = []
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        named.append((f"orientation {orientation}", file_of(image, kind, exif=exif)))
    assert_same(page, named, [((60, 90), True), ((20, 31), False)])


def test_other_files_are_rejected_with_the_same_words(page: Any) -> None:
    image = drawn(np.random.default_rng(4), 40, 30, "RGB")
    whole = [
        file_of(image, "JPEG"),
        file_of(image, "JPEG", progressive=True),
        file_of(image, "PNG"),
    ]
    cut = [data[:place] for data in whole for place in range(2, len(data) - 2, 211)]
    foreign = [
        b"",
        b"%PDF",
        b" <html><body>",
        b"anything",
        b"\0\0\0\x18ftypheic",
    ]
    flat = np.zeros((8, 8, 1), np.int64)
    rng = np.random.default_rng(0)
    small = [file_of(image.resize((7, 30)), "PNG"), file_of(image.resize((30, 7)), "JPEG")]
    large = png(flat, 8, 0, rng).replace(b"\0\0\0\x08\0\0\0\x08", b"\0\0\x27\x10\0\0\x27\x10")
    frames = io.BytesIO()
    image.save(frames, "PNG", save_all=True, append_images=[image.rotate(90)])
    others = [*foreign, *small, _checksum_mended(large), frames.getvalue()]
    assert_same(page, [(repr(data[:20]), data) for data in (*cut, *others)])


def _checksum_mended(data: bytes) -> bytes:
    return data[:29] + zlib.crc32(data[12:29]).to_bytes(4, "big") + data[33:]


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WebP", "AVIF"])
def test_formats_that_only_the_service_reads_are_named(page: Any, kind: str) -> None:
    (result,) = decoded(page, [file_of(drawn(np.random.default_rng(4), 40, 30, "RGB"), kind)])
    assert f" {kind} file; expected PNG or JPEG: convert it to PNG" in result["reason"]


def test_dicom_is_rejected_with_advice(page: Any) -> None:
    (result,) = decoded(page, [b"\0" * 128 + b"DICM" + b"\0" * 100])
    assert "lucency serve" in result["reason"]


def test_a_damaged_file_affects_no_other(page: Any) -> None:
    """Every file gives an image or a reason: ``decoded`` raises for anything else."""
    rng = np.random.default_rng(5)
    image = drawn(rng, 90, 60, "RGB")
    files = []
    for whole in (
        file_of(image, "JPEG"),
        file_of(image, "JPEG", progressive=True),
        file_of(image, "JPEG", restart_marker_blocks=4),
        file_of(image, "PNG"),
    ):
        for _ in range(100):
            data = bytearray(whole)
            for place in rng.integers(2, len(data), rng.integers(1, 4)):
                data[place] = rng.integers(256)
            files.append(bytes(data))
    results = decoded(page, files, [((16, 16), False)])
    rejected = sum("reason" in each for each in results)
    assert len(files) / 4 < rejected < len(files)


def test_a_file_with_missing_scans_is_rejected(page: Any) -> None:
    """Pillow hides that something is missing; the page reports it."""
    whole = file_of(drawn(np.random.default_rng(6), 90, 60, "L"), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    (result,) = decoded(page, [whole[:last] + b"\xff\xd9"])
    assert "some of its scans are missing" in result["reason"]


@pytest.mark.real
def test_radiographs(page: Any, radiographs: Path) -> None:
    files = sorted((radiographs / "chest_xray_native").rglob("*.jpeg"))[::20]
    sizes = [((64, 64), False), ((255, 255), True), ((300, 700), False)]
    assert len(files) == 10
    assert_same(page, [(file.name, file.read_bytes()) for file in files], sizes)
