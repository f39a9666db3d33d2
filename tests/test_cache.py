"""The pixel cache: images are decoded once, read by row, and decoded again when in doubt."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from lucency.dataset.cache import PixelCache, SourceFile, decode
from lucency.dataset.cache_index import Hexadecimal, empty_index, fill, packed, read_index
from lucency.errors import RunError
from lucency.imaging.decoder.pool import Decoded, DecoderPool
from lucency.imaging.image import encode_png, read_image
from lucency.imaging.notes import Note
from lucency.io import arrays_of, default_cache
from lucency.progress import Progress, Task

SIZE = (12, 16)


class Steps(Task):
    def __init__(self, on_advance: Callable[[int], None]) -> None:
        self.on_advance = on_advance

    def advance(self, steps: int = 1, **facts: float) -> None:  # noqa: ARG002
        self.on_advance(steps)


class Listener(Progress):
    """Counts the steps and records the warnings."""

    def __init__(self) -> None:
        self.steps = 0
        self.warnings: list[str] = []

    def task(self, name: str, total: int, unit: str = "") -> Task:  # noqa: ARG002
        return Steps(self.on_advance)

    def on_advance(self, steps: int) -> None:
        self.steps += steps

    def warn(self, line: str) -> None:
        self.warnings.append(line)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return ten images of different sizes, the fourth of which is not an image."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(10)]
    for i, path in enumerate(paths):
        path.write_bytes(encode_png(rng.integers(0, 256, (20 + i, 30, 1), np.uint8)))
    paths[3].write_bytes(b"no image")
    return paths


def decoded(files: list[Path], cache: Path, **options: Any) -> PixelCache:
    settings: dict[str, Any] = {"size": SIZE, "colour": False} | options
    with DecoderPool(settings.pop("workers", 2)) as pool:
        return decode([SourceFile(f, f.name) for f in files], folder=cache, pool=pool, **settings)


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir())


def test_rows_are_the_images(files: list[Path], tmp_path: Path) -> None:
    listener = Listener()
    with decoded(files, tmp_path / "cache", progress=listener) as entry:
        assert (entry.n, len(entry), entry.shape, entry.decoded) == (10, 10, (12, 16, 1), 10)
        assert listener.steps == 10
        rows = np.array([9, 0, 5, 5])
        expected = [read_image(files[row], SIZE, colour=False) for row in rows]
        assert np.array_equal(entry.read(rows), np.stack(expected))
        assert entry.sha256[3] == hashlib.sha256(b"no image").hexdigest()
        assert entry.sha256[9] == hashlib.sha256(files[9].read_bytes()).hexdigest()
        assert entry.sizes.tolist() == [[0, 0] if i == 3 else [20 + i, 30] for i in range(10)]
        assert list(entry.reasons) == [3]
        assert "not an image" in entry.reasons[3]
        assert not entry.read([3]).any()


def test_reading_no_rows_returns_none(files: list[Path], tmp_path: Path) -> None:
    assert decoded(files, tmp_path / "cache").read([]).shape == (0, 12, 16, 1)


def test_workers_and_colour(files: list[Path], tmp_path: Path) -> None:
    one, many = (decoded(files, tmp_path / f"cache{n}", workers=n) for n in (1, 7))
    assert np.array_equal(one.read(range(10)), many.read(range(10)))
    coloured = decoded(files, tmp_path / "cache1", colour=True)
    assert coloured.shape == (12, 16, 3)
    assert np.array_equal(coloured.read([1])[..., 2], one.read([1])[..., 0])


def test_a_second_call_decodes_nothing(files: list[Path], tmp_path: Path) -> None:
    first = decoded(files, tmp_path / "cache")
    listener = Listener()
    second = decoded(files, tmp_path / "cache", progress=listener)
    assert (second.decoded, listener.steps) == (0, 0)
    assert np.array_equal(first.read(range(10)), second.read(range(10)))
    assert (first.sha256, first.reasons) == (second.sha256, second.reasons)
    assert np.array_equal(first.sizes, second.sizes)


@pytest.mark.parametrize("change", ["content", "time", "name", "order", "size", "colour", "gone"])
def test_any_change_decodes_again(files: list[Path], tmp_path: Path, change: str) -> None:
    decoded(files, tmp_path / "cache")
    options: dict[str, Any] = {}
    if change == "content":
        files[0].write_bytes(encode_png(np.full((20, 30, 1), 200, np.uint8)))
    elif change == "time":
        os.utime(files[0], ns=(1, 1))
    elif change == "name":
        files[0] = files[0].rename(files[0].with_name("new.png"))
    elif change == "order":
        files.reverse()
    elif change == "size":
        options["size"] = (16, 12)
    elif change == "colour":
        options["colour"] = True
    elif change == "gone":
        files[0].unlink()
    entry = decoded(files, tmp_path / "cache", **options)
    assert entry.decoded == 10
    assert (0 in entry.reasons) == (change == "gone")
    if change == "content":
        assert entry.read([0]).min() == 200


def test_corrected_permissions_are_noticed(files: list[Path], tmp_path: Path) -> None:
    files[0].chmod(0)
    decoded(files, tmp_path / "cache")
    files[0].chmod(0o600)
    again = decoded(files, tmp_path / "cache")
    assert (again.decoded, 0 in again.reasons) == (10, False)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "fewer rows": lambda arrays: arrays.update(notes=arrays["notes"][1:]),
    "no column": lambda arrays: arrays.pop("sizes"),
    "other type": lambda arrays: arrays.update(sizes=arrays["sizes"].astype(np.float32)),
    "other format": lambda arrays: arrays["facts"].put(0, 4),
    "no channels": lambda arrays: arrays["facts"].put(3, 0),
    "other shape": lambda arrays: arrays["facts"].put(1, 2**40),
    "foreign depth": lambda arrays: arrays["facts"].put(4, 9),
    "foreign note": lambda arrays: arrays["notes"].put(0, 2**15),
    "foreign bits": lambda arrays: arrays["bits"].put(0, 200),
    "foreign row": lambda arrays: arrays["failed"].put(0, 10),
    "foreign reason": lambda arrays: arrays["reasons"].put(0, -1),
    "no text": lambda arrays: arrays.update(texts=np.frombuffer(b"[1]", np.uint8)),
    "no json": lambda arrays: arrays.update(texts=np.frombuffer(b"[", np.uint8)),
}


@pytest.mark.parametrize(
    "damage", ["short", "long", "cut", "list", "no pixels", "no index", *DAMAGES]
)
def test_a_damaged_entry_is_decoded_again(files: list[Path], tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    expected = decoded(files, cache).read(range(10))
    (entry,) = entries(cache)
    pixels, index = entry / "pixels.bin", entry / "index.safetensors"
    if damage in ("short", "long"):
        os.truncate(pixels, pixels.stat().st_size + (1 if damage == "long" else -1))
    elif damage == "cut":
        os.truncate(index, 40)
    elif damage == "list":
        index.write_text("[]")
    elif damage in DAMAGES:
        arrays = {name: column.copy() for name, column in arrays_of(index.read_bytes()).items()}
        DAMAGES[damage](arrays)
        index.write_bytes(save(arrays))
    else:
        (pixels if damage == "no pixels" else index).unlink()
    listener = Listener()
    again = decoded(files, cache, progress=listener)
    assert again.decoded == 10
    assert np.array_equal(again.read(range(10)), expected)
    assert len(listener.warnings) == 1
    assert str(entry) in listener.warnings[0]
    assert entries(cache) == [entry]


def test_rows_that_do_not_exist_are_rejected(files: list[Path], tmp_path: Path) -> None:
    entry = decoded(files, tmp_path / "cache")
    for row in (-1, 10):
        with pytest.raises(IndexError, match=f"Received: {row}"):
            entry.read([row])


def test_a_file_truncated_while_in_use_is_noticed(files: list[Path], tmp_path: Path) -> None:
    entry = decoded(files, tmp_path / "cache")
    os.truncate(entries(tmp_path / "cache")[0] / "pixels.bin", 100)
    with pytest.raises(RunError, match="truncated"):
        entry.read([5])


def test_a_closed_cache_reads_no_other_file(files: list[Path], tmp_path: Path) -> None:
    with decoded(files, tmp_path / "cache") as entry:
        pass
    entry.close()  # a second time is harmless
    with pytest.raises(RunError, match="closed"):
        entry.read([0])


def test_threads_read_in_parallel(files: list[Path], tmp_path: Path) -> None:
    entry = decoded(files, tmp_path / "cache")
    expected = entry.read(range(10))
    orders = [np.random.default_rng(i).permutation(10) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for order, pixels in zip(orders, pool.map(entry.read, orders), strict=True):
            assert np.array_equal(pixels, expected[order])


def test_two_processes_may_build_the_same_entry(files: list[Path], tmp_path: Path) -> None:
    """Both have decoded everything before the first renames its entry."""
    cache = tmp_path / "cache"
    barrier = threading.Barrier(2)

    class Meeting(Listener):
        def task(self, name: str, total: int, unit: str = "") -> Task:
            barrier.wait(10)
            return super().task(name, total, unit)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(decoded, files, cache, progress=Meeting()) for _ in range(2)]
        one, two = (call.result() for call in calls)
    assert one.decoded == two.decoded == 10
    assert np.array_equal(one.read(range(10)), two.read(range(10)))
    assert len(entries(cache)) == 1


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_reported_and_leaves_nothing(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with at_most(200_000), pytest.raises(RunError) as caught:
        decoded(files, cache, size=(200, 200))
    assert str(cache) in str(caught.value)
    assert "full" in str(caught.value)
    assert "--cache DIR" in str(caught.value)
    assert entries(cache) == []
    assert decoded(files, cache, size=(200, 200)).decoded == 10


def test_a_cache_that_cannot_be_created_is_reported(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="--cache DIR"):
        decoded(files, tmp_path / "file" / "cache")


def test_an_interrupted_call_leaves_nothing(files: list[Path], tmp_path: Path) -> None:
    class Interrupter(Listener):
        def on_advance(self, steps: int) -> None:  # noqa: ARG002
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded(files, tmp_path / "cache", progress=Interrupter())
    assert entries(tmp_path / "cache") == []


def test_old_entries_are_removed_and_open_ones_stay_readable(
    files: list[Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = decoded(files, cache)
    expected = first.read(range(10))
    (oldest,) = entries(cache)
    os.utime(oldest / "index.safetensors", (0, 0))
    (cache / "letter.txt").write_text("not ours")
    abandoned, recent = cache / ".decoding-old", cache / ".decoding-new"
    for partial in (abandoned, recent):
        partial.mkdir()
    os.utime(abandoned, (0, 0))
    for side in range(10, 17):
        decoded(files, cache, size=(side, side))
    assert oldest.is_dir()  # one of eight
    decoded(files, cache, size=(30, 30))
    kept = entries(cache)
    assert oldest not in kept
    assert len(kept) == 8 + 2
    assert {cache / "letter.txt", recent} < set(kept)
    assert np.array_equal(first.read(range(10)), expected)


def test_a_clock_that_was_set_back_costs_no_new_entry(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for side in range(10, 18):
        decoded(files, cache, size=(side, side))
    for entry in entries(cache):
        os.utime(entry / "index.safetensors", (4e9, 4e9))  # in the future
    assert decoded(files, cache, size=(30, 30)).decoded == 10
    assert decoded(files, cache, size=(30, 30)).decoded == 0
    assert len(entries(cache)) == 8


def test_a_used_entry_is_kept(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    decoded(files, cache)
    (entry,) = entries(cache)
    os.utime(entry / "index.safetensors", (0, 0))
    decoded(files, cache)
    assert (entry / "index.safetensors").stat().st_mtime > 1e9


def test_only_the_owner_has_access(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "a" / "cache"
    decoded(files, cache)
    for folder in (cache, *entries(cache)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_index_describes_the_rows(files: list[Path], tmp_path: Path) -> None:
    decoded(files, tmp_path / "cache")
    (entry,) = entries(tmp_path / "cache")
    index = read_index(entry / "index.safetensors")
    assert (index.shape, index.depth, len(index.notes)) == ((12, 16, 1), 8, 10)
    assert index.sha256[2].tobytes() == hashlib.sha256(files[2].read_bytes()).digest()
    assert index.sizes[2].tolist() == [22, 30]
    assert (index.notes[2], index.bits[2]) == (0, 0)
    assert not index.patients.any()
    assert [*index.reasons] == [3]
    assert (entry / "pixels.bin").stat().st_size == 10 * 12 * 16


def test_the_index_keeps_every_fact_of_a_file(tmp_path: Path) -> None:
    index = empty_index(4, (5, 6, 3), 12)
    fill(index, 0, Decoded(None, "broken\nμ", sha256="ab" * 32, size=(3, 70_000)))
    fill(
        index,
        2,
        Decoded(
            None,
            notes=Note.LATERAL | Note.CLIPPED,
            patient="0c" * 16,
            bits=12,
            study="0d" * 16,
            series="0e" * 16,
        ),
    )
    fill(index, 3, Decoded(None, "broken\nμ", True))
    (tmp_path / "index").write_bytes(packed(index))
    found = read_index(tmp_path / "index")
    assert (found.shape, found.depth) == ((5, 6, 3), 12)
    assert [*Hexadecimal(found.sha256)] == ["ab" * 32, "", "", ""]
    assert [*Hexadecimal(found.patients)] == ["", "", "0c" * 16, ""]
    assert [*Hexadecimal(found.studies)] == ["", "", "0d" * 16, ""]
    assert [*Hexadecimal(found.series)] == ["", "", "0e" * 16, ""]
    assert found.sizes.tolist() == [[3, 70_000], [0, 0], [0, 0], [0, 0]]
    assert found.notes.tolist() == [0, 0, Note.LATERAL | Note.CLIPPED, 0]
    assert found.bits.tolist() == [0, 0, 12, 0]
    assert found.reasons == {0: "broken\nμ", 3: "broken\nμ"}


def test_an_index_takes_few_bytes_per_file(tmp_path: Path) -> None:
    few, many = (len(packed(empty_index(n, (8, 8, 1), 8))) for n in (1_000, 11_000))
    assert (many - few) / 10_000 == pytest.approx(91, abs=0.1)


def test_hexadecimal_text_is_a_sequence() -> None:
    text = Hexadecimal(np.array([[0, 1], [0, 0], [254, 255]], np.uint8))
    assert [*text] == ["0001", "", "feff"]
    assert [*text[1:]] == ["", "feff"]
    assert (text[-1], len(text)) == ("feff", 3)
    assert text == Hexadecimal(text._rows.copy())
    assert text != text[1:]


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUCENCY_CACHE", str(tmp_path / "chosen"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "chosen"
    monkeypatch.delenv("LUCENCY_CACHE")
    assert default_cache() == tmp_path / "xdg" / "lucency"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache() == tmp_path / "home" / ".cache" / "lucency"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == tmp_path / "home" / ".cache" / "lucency"


PEAK = """
import resource, sys
from pathlib import Path
from lucency.dataset.cache import SourceFile, decode
from lucency.imaging.decoder.pool import DecoderPool
image, copies, cache = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
with DecoderPool(2) as pool:
    entry = decode([SourceFile(image, "x")] * copies, size=(300, 300), colour=False,
                   folder=cache, pool=pool)
for row in range(0, copies, 50):
    entry.read(range(row, row + 50))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    """600 rows are 54 MB of pixels; the peak may grow by a sixth of that over 50 rows."""
    image = tmp_path / "x.png"
    image.write_bytes(encode_png(np.zeros((64, 64, 1), np.uint8)))
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", PEAK, str(image), str(copies), str(tmp_path / "cache")],
                check=True, capture_output=True, text=True,
            ).stdout
        )
        for copies in (50, 600)
    ]  # fmt: skip
    assert peaks[1] - peaks[0] < 9_000  # KiB
