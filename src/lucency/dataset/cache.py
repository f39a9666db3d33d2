"""Every image decoded once into a file of pixels, from which batches are read by position.

    CACHE/<key>/pixels.bin    uint8, one row of height x width x channels per image
    CACHE/<key>/index.json    what the rows are: names, sha256, original sizes, reasons

The rows are read with ``os.preadv``, not mapped: mapped pages count as memory of the process and
grow with the data, until a batch system ends the job.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import PIL
from numpy.typing import NDArray

from lucency.errors import RunError
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.imaging.decoder.protocol import SALT_BYTES
from lucency.imaging.dicom import Note
from lucency.imaging.dicom.syntaxes import versions
from lucency.imaging.source import Stamp, stamp_of
from lucency.progress import SILENT, Progress, Task

FORMAT = 3  # 1 kept reasons that were gone by the next run, 2 knew no DICOM
_PIXELS, _INDEX = "pixels.bin", "index.json"
_KEPT = 8  # entries in a cache folder
_DRAFT = ".decoding-"
_ABANDONED = 7 * 24 * 3600  # seconds after which a draft is nobody's


class Listed(NamedTuple):
    """A file to be decoded.

    Attributes:
        path: Where it is.
        name: What the index calls it.
        stamp: Of the file when it was found; ``None`` where nobody has looked yet.
    """

    path: Path
    name: str
    stamp: Stamp | None = None


class _Record(NamedTuple):
    """What the index says of a file."""

    name: str
    sha256: str
    height: int
    width: int
    reason: str | None
    patient: str
    notes: int


class PixelStore:
    """Decoded images on disk; a context manager.

    Threads may read at the same time. An open store stays readable when its entry is removed from
    the cache, as its file lives until it is closed.

    Attributes:
        shape: Height, width and channels of every row.
        sha256: Of the bytes of each file, in hexadecimal; empty where they could not be read.
        reasons: Row -> why that file is no image. Such rows hold zeros and must not be used.
        sizes: (n, 2) int64, height and width of the files; zeros where unknown.
        patients: Whose DICOM image it is, hashed with a salt that was thrown away: it tells who
            is the same, and nothing else. Empty where unknown.
        notes: What DICOM files say that one should know.
        decoded: Files that were decoded for this store; 0 where the cache had them.
    """

    def __init__(self, entry: Path, *, decoded: int = 0) -> None:
        """Open an entry of the cache.

        Args:
            entry: Its folder.
            decoded: Files that have just been decoded into it.

        Raises:
            RunError: It is damaged or cannot be read.
        """
        try:
            records, self.shape = _read_index(entry / _INDEX)
            self._file = os.open(entry / _PIXELS, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{entry}: decoded images cannot be read ({error}).") from error
        self.close = weakref.finalize(self, os.close, self._file)
        self.sha256 = tuple(record.sha256 for record in records)
        self.reasons = {row: r.reason for row, r in enumerate(records) if r.reason is not None}
        self.sizes = np.array([(r.height, r.width) for r in records], np.int64).reshape(-1, 2)
        self.patients = tuple(record.patient for record in records)
        self.notes = tuple(Note(record.notes) for record in records)
        self.decoded = decoded
        self._stride = math.prod(self.shape)
        if os.fstat(self._file).st_size != len(self) * self._stride:
            self.close()
            raise RunError(f"{entry}: decoded images have the wrong length.")

    def __len__(self) -> int:
        return len(self.sha256)

    @property
    def n(self) -> int:
        """Number of rows, readable images or not."""
        return len(self)

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return rows in the order asked for, (k, height, width, channels) uint8.

        Raises:
            IndexError: A row is negative or beyond the last.
            RunError: The store is closed, or its file was changed or cannot be read any more.
        """
        pixels = np.empty((len(rows), *self.shape), np.uint8)
        for place, row in zip(pixels, rows, strict=True):
            if not 0 <= row < len(self):
                raise IndexError(f"Expected rows from 0 to {len(self) - 1}. Received: {row}.")
            self._read_row(int(row), place)
        return pixels

    def _read_row(self, row: int, place: NDArray[np.uint8]) -> None:
        # A closed number may by now belong to some other file.
        if not self.close.alive:
            raise RunError("The store of decoded images is closed. Open it again.")
        try:
            count = os.preadv(self._file, [place.data], row * self._stride)
        except OSError as error:
            raise RunError(f"Decoded images cannot be read ({error.strerror}).") from error
        if count != self._stride:
            raise RunError("Decoded images were cut short while in use. Start again.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def decode(
    files: Iterable[Listed],
    *,
    size: tuple[int, int],
    colour: bool,
    cache: Path,
    pool: DecoderPool,
    progress: Progress = SILENT,
) -> PixelStore:
    """Decode images into the cache, unless they are in it.

    They are, if every file has the path, length and times of then. A file that is no image takes
    a row like the others. Pixels never add up in memory. Several processes may build one entry at
    once: the first to finish wins, the others drop their copy.

    The cache keeps the eight entries used last, and its folders are for their owner only, as the
    images may be of patients. Entries that are open stay readable when they are removed. Where a
    file failed for a reason that may be gone by the next run, as it vanished or its decoder ran
    out of time or memory, the rows serve this call alone and are not kept.

    Args:
        files: In the order of the rows.
        size: Height and width to decode to.
        colour: Three channels if true, else one.
        cache: Folder of the cache, made if missing.
        pool: Who decodes.
        progress: Hears of every file, and of a damaged entry.

    Raises:
        RunError: The cache cannot be written, the disk is full, or no decoder can be started.
    """
    files = [each if each.stamp else each._replace(stamp=_stamp(each.path)) for each in files]
    entry = cache / _key(files, size, colour)
    shape = (*size, 3 if colour else 1)
    try:
        if (store := _cached(entry, progress)) is not None:
            return store
        salt = secrets.token_bytes(SALT_BYTES)  # kept nowhere, so that no name can be tried out
        requests = (Request(str(each.path), size, colour, each.stamp, salt) for each in files)
        task = progress.task("Reading images", len(files), "files")
        with _draft(cache) as draft, contextlib.closing(pool.map(requests)) as rows, task:
            if _write(draft, files, rows, shape, task):
                return PixelStore(draft, decoded=len(files))  # its folder goes, its file stays open
            _publish(draft, entry)
        _prune(cache)
    except OSError as error:
        raise RunError(_complaint(cache, error)) from error
    return PixelStore(entry, decoded=len(files))


def default_cache() -> Path:
    """Return ``$LUCENCY_CACHE``, else ``lucency`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``."""
    if chosen := os.environ.get("LUCENCY_CACHE"):
        return Path(chosen)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "lucency"


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path.stat())
    except OSError:
        return None  # whoever reads it will say why


def _key(files: Sequence[Listed], size: tuple[int, int], colour: bool) -> str:
    """Hash all that the rows depend on, the versions of decoders included."""
    by = [FORMAT, PIL.__version__, *versions()]
    digest = hashlib.sha256(json.dumps([*by, *size, colour]).encode())
    for path, name, stamp in files:
        # The time of change tells of new permissions, with which a file may be readable.
        place = os.path.abspath(path)  # noqa: PTH100 - links stay as they are
        digest.update(json.dumps([place, name, *(stamp or (-1, -1, -1))]).encode())
    return digest.hexdigest()


def _cached(entry: Path, progress: Progress) -> PixelStore | None:
    if not entry.exists():
        return None
    try:
        store = PixelStore(entry)
    except RunError as error:
        progress.warn(f"{error} They are decoded anew.")
        shutil.rmtree(entry)
        return None
    with contextlib.suppress(OSError):  # a cache that may only be read is a cache as well
        os.utime(entry / _INDEX)
    return store


def _read_index(path: Path) -> tuple[list[_Record], tuple[int, int, int]]:
    index = json.loads(path.read_bytes())
    height, width, channels = index["shape"]
    return [_Record(*record) for record in index["files"]], (height, width, channels)


@contextlib.contextmanager
def _draft(cache: Path) -> Iterator[Path]:
    """Yield a private folder in the cache that is gone afterwards, unless it was renamed."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=cache))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(
    draft: Path,
    files: Sequence[Listed],
    rows: Iterable[Decoded],
    shape: tuple[int, ...],
    task: Task,
) -> bool:
    """Write both files of an entry and have them reach the disk.

    Returns:
        Whether a reason among them may be gone by the next run.
    """
    records, nothing, passing = [], np.zeros(shape, np.uint8), False
    with _durable(draft / _PIXELS) as file:
        for (_, name, _), decoded in zip(files, rows, strict=True):
            file.write((nothing if decoded.pixels is None else decoded.pixels).data)
            height, width = decoded.size
            reason, notes = decoded.reason or None, int(decoded.notes)
            record = _Record(name, decoded.sha256, height, width, reason, decoded.patient, notes)
            records.append(record)
            passing = passing or decoded.passing
            task.advance()
    with _durable(draft / _INDEX) as file:
        index = {"format": FORMAT, "n": len(records), "shape": shape, "files": records}
        file.write(json.dumps(index).encode())
    return passing


@contextlib.contextmanager
def _durable(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, entry: Path) -> None:
    """Give a finished draft its name, or leave it where another process was first."""
    try:
        draft.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
    folder = os.open(entry.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prune(cache: Path) -> None:
    """Remove the entries used longest ago, and drafts of processes that were killed."""
    entries = [each for each in cache.iterdir() if re.fullmatch("[0-9a-f]{64}", each.name)]
    drafts = [each for each in cache.iterdir() if each.name.startswith(_DRAFT)]
    old = sorted(entries, key=lambda each: _last_use(each / _INDEX), reverse=True)[_KEPT:]
    old += [each for each in drafts if _last_use(each) < time.time() - _ABANDONED]
    for each in old:
        shutil.rmtree(each, ignore_errors=True)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _complaint(cache: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return (
            f"The disk is full: decoded images do not fit into the cache {cache} ({reason}). "
            "Free some space, or choose another folder with --cache DIR."
        )
    return (
        f"The cache {cache} cannot be used ({reason}). Expected a folder that may be written. "
        "Choose another one with --cache DIR."
    )
