"""The pixel cache: every image is decoded once into a file, from which batches are read by row.

    CACHE/<key>/pixels.bin           one row of height x width x channels per image: uint8, or two
                                     bytes per value where the data set has more than 8 bits
    CACHE/<key>/index.safetensors    the rows: sha256, original sizes, reasons; the depth

Rows are read with ``os.preadv``, not memory-mapped: mapped pages count as memory of the process and
grow with the data, until a batch system kills the job.
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

from lucency.dataset.cache_index import (
    FORMAT,
    Hexadecimal,
    empty_index,
    fill,
    packed,
    read_index,
)
from lucency.errors import RunError
from lucency.imaging.decoder.pool import Decoded, Decoders, Pixels, Request
from lucency.imaging.decoder.protocol import SALT_BYTES
from lucency.imaging.depths import EIGHT, WORD, is_deep, needed
from lucency.imaging.dicom.transfer_syntaxes import versions
from lucency.imaging.frames import opened_as
from lucency.imaging.source import Stamp, stamp_of
from lucency.progress import SILENT, Progress, Task

_PIXELS, _INDEX = "pixels.bin", "index.safetensors"
_MOST_ENTRIES = 8  # in a cache folder
_PARTIAL = ".decoding-"
_ABANDONED = 7 * 24 * 3600  # seconds after which a partial entry is removed


class SourceFile(NamedTuple):
    """A file to be decoded.

    Attributes:
        path: The file.
        name: Its name in the index.
        stamp: Its size and times when it was found; ``None`` if not known yet.
    """

    path: Path
    name: str
    stamp: Stamp | None = None


class _Form(NamedTuple):
    """What files are decoded to; a depth of 0 takes each at its own, to find that of all."""

    size: tuple[int, int]
    colour: bool
    depth: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return (*self.size, 3 if self.colour else 1)

    def request(self, file: SourceFile, salt: bytes) -> Request:
        """Return the request for a file."""
        deep = is_deep(self.depth)
        return Request(str(file.path), self.size, self.colour, file.stamp, salt, self.depth, deep)


class PixelCache:
    """Decoded images on disk, one entry of the cache; a context manager.

    Thread-safe. An open entry stays readable when it is removed from the cache, as its file exists
    until it is closed.

    Attributes:
        shape: Height, width and channels of every row.
        sha256: Of the bytes of each file, in hexadecimal; empty where they could not be read.
        reasons: Row -> why that file is no image. Such rows are zeros and must not be used.
        sizes: (n, 2) int32, height and width of the files; zeros where unknown.
        patients: PatientID of DICOM files, hashed with a discarded salt: equal values are the same
            patient, and nothing else can be inferred. Empty where unknown.
        studies: StudyInstanceUID, hashed like the patients.
        series: SeriesInstanceUID likewise.
        notes: (n,) uint16, what users should know of each file, as flags of ``Note``.
        depth: Bits of files of more than 8; white is the largest number of so many.
        needed: The smallest depth that holds all of them.
        decoded: Number of files decoded just now; 0 if the cache had them.
    """

    def __init__(self, entry: Path, *, decoded: int = 0) -> None:
        """Open an entry of the cache.

        Args:
            entry: Its folder.
            decoded: Number of files that have just been decoded into it.

        Raises:
            RunError: It is damaged or cannot be read.
        """
        try:
            index = read_index(entry / _INDEX)
            self._file = os.open(entry / _PIXELS, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise RunError(f"{entry}: decoded images cannot be read ({error}).") from error
        self.close = weakref.finalize(self, os.close, self._file)
        self.shape, self.depth = index.shape, index.depth
        self.sha256: Sequence[str] = Hexadecimal(index.sha256)
        self.patients: Sequence[str] = Hexadecimal(index.patients)
        self.studies: Sequence[str] = Hexadecimal(index.studies)
        self.series: Sequence[str] = Hexadecimal(index.series)
        self.sizes: NDArray[np.integer[Any]] = index.sizes
        self.reasons, self.notes = index.reasons, index.notes
        self.needed = needed({*np.unique(index.bits).tolist()})
        self.decoded = decoded
        self._type = _stored_type(self.depth)
        self._stride = math.prod(self.shape) * self._type.itemsize
        if os.fstat(self._file).st_size != len(self) * self._stride:
            self.close()
            raise RunError(f"{entry}: decoded images have the wrong length.")

    def __len__(self) -> int:
        return len(self.sha256)

    @property
    def n(self) -> int:
        """Number of rows, readable images or not."""
        return len(self)

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> Pixels:
        """Return rows in the order asked for, (k, height, width, channels), 0 to 255.

        They are uint8, or float32 where the data set has more than 8 bits.

        Raises:
            IndexError: A row is negative or beyond the last.
            RunError: It is closed, or its file has changed or is no longer readable.
        """
        pixels = np.empty((len(rows), *self.shape), self._type)
        for target, row in zip(pixels, rows, strict=True):
            if not 0 <= row < len(self):
                raise IndexError(f"Expected rows from 0 to {len(self) - 1}. Received: {row}.")
            self._read_row(int(row), target)
        return pixels.astype(np.float32) / np.float32(WORD) if is_deep(self.depth) else pixels

    def read_8bit(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return rows as ``read`` does, but always uint8: to compare images and to show them."""
        pixels = self.read(rows)
        return np.asarray(pixels if pixels.dtype == np.uint8 else pixels.round(), np.uint8)

    def _read_row(self, row: int, target: NDArray[Any]) -> None:
        # After closing, the file descriptor may belong to another file.
        if not self.close.alive:
            raise RunError("The cache of decoded images is closed. Open it again.")
        try:
            count = os.preadv(self._file, [target.data], row * self._stride)
        except OSError as error:
            raise RunError(f"Decoded images cannot be read ({error.strerror}).") from error
        if count != self._stride:
            raise RunError("Decoded images were truncated while in use. Start again.")

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
    files: Sequence[SourceFile],
    *,
    size: tuple[int, int],
    colour: bool,
    folder: Path,
    pool: Decoders,
    depth: int = 0,
    progress: Progress = SILENT,
) -> PixelCache:
    """Decode images into the cache, unless they are already in it.

    They are if every file has the same path, length and times as before. A file that is no image
    takes a row like the others. Memory does not grow with the number of images. Several processes
    may build the same entry at once: the first to finish wins, the others discard their copy.

    The cache keeps the eight entries used most recently. Only their owner can read its folders, as
    the images may show patients. Where a file failed for a transient reason (it vanished, or its
    decoder ran out of time or memory), the rows serve this call only and are not kept.

    Args:
        files: In the order of the rows.
        size: Height and width to decode to.
        colour: Three channels if true, else one.
        folder: Folder of the cache, created if missing.
        pool: Processes that decode.
        depth: Bits of files of more than 8; 0 for the fewest that hold all of them.
        progress: Called for every file, and for a damaged entry.

    Raises:
        RunError: The cache cannot be written, the disk is full, or no decoder can be started.
    """
    if not all(each.stamp for each in files):
        files = [each if each.stamp else each._replace(stamp=_stamp(each.path)) for each in files]
    cache = _decoded(files, _Form(size, colour, depth), folder, pool, progress)
    if depth or not is_deep(cache.needed):
        return cache
    # The depth is known once all files have been decoded.
    return _decoded(files, _Form(size, colour, cache.needed), folder, pool, progress)


def _decoded(
    files: Sequence[SourceFile],
    form: _Form,
    folder: Path,
    pool: Decoders,
    progress: Progress,
) -> PixelCache:
    entry = folder / _key(files, form)
    try:
        if (cached := _cached(entry, progress)) is not None:
            return cached
        salt = secrets.token_bytes(SALT_BYTES)  # stored nowhere, so that no name can be guessed
        requests = (form.request(each, salt) for each in files)
        task = progress.task("Reading images", len(files), "files")
        with _partial(folder) as partial, contextlib.closing(pool.map(requests)) as rows, task:
            if _write(partial, files, rows, form, task):
                # Its folder will be removed, but its file remains open.
                return PixelCache(partial, decoded=len(files))
            _publish(partial, entry)
        _prune(folder, newest=entry)
    except OSError as error:
        raise RunError(_message(folder, error)) from error
    return PixelCache(entry, decoded=len(files))


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(Path(opened_as(path)[0]).stat())
    except OSError:
        return None  # reading it will give the reason


def _key(files: Sequence[SourceFile], form: _Form) -> str:
    """Hash everything that the rows depend on, including the versions of decoders."""
    decoders = [FORMAT, PIL.__version__, *versions()]
    digest = hashlib.sha256(json.dumps([*decoders, *form]).encode())
    for path, name, stamp in files:
        # New permissions, which may make a file readable, only show in the time of change.
        whole = os.path.abspath(path)  # noqa: PTH100 - links stay as they are
        digest.update(json.dumps([whole, name, *(stamp or (-1, -1, -1))]).encode())
    return digest.hexdigest()


def _cached(entry: Path, progress: Progress) -> PixelCache | None:
    if not entry.exists():
        return None
    try:
        cached = PixelCache(entry)
    except RunError as error:
        progress.warn(f"{error} They are decoded again.")
        shutil.rmtree(entry)
        return None
    with contextlib.suppress(OSError):  # the cache may be read-only
        os.utime(entry / _INDEX)
    return cached


@contextlib.contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """Yield a private folder in the cache that is removed afterwards, unless it was renamed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(
    partial: Path,
    files: Sequence[SourceFile],
    rows: Iterable[Decoded],
    form: _Form,
    task: Task,
) -> bool:
    """Write both files of an entry and sync them to disk.

    Returns:
        Whether a file failed for a transient reason.
    """
    depth = form.depth or EIGHT
    index, transient = empty_index(len(files), form.shape, depth), False
    blank = np.zeros(form.shape, _stored_type(depth))
    with _synced(partial / _PIXELS) as file:
        for row, (_, decoded) in enumerate(zip(files, rows, strict=True)):
            pixels = decoded.pixels
            file.write((blank if pixels is None else _stored(pixels, blank.dtype)).data)
            fill(index, row, decoded)
            transient = transient or decoded.transient
            task.advance()
    with _synced(partial / _INDEX) as file:
        file.write(packed(index))
    return transient


def _stored_type(depth: int) -> np.dtype[Any]:
    return np.dtype("<u2" if is_deep(depth) else np.uint8)


def _stored(pixels: Pixels, kind: np.dtype[Any]) -> NDArray[Any]:
    return pixels if kind == np.uint8 else np.rint(pixels * WORD).astype(kind)


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _publish(partial: Path, entry: Path) -> None:
    """Rename a complete folder to its entry, unless another process was first."""
    try:
        partial.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
    folder = os.open(entry.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prune(folder: Path, newest: Path) -> None:
    """Remove the least recently used entries, and partial ones of killed processes.

    The newest stays, also where the clock was set back and it looks the oldest.
    """
    entries = [each for each in folder.iterdir() if re.fullmatch("[0-9a-f]{64}", each.name)]
    partial = [each for each in folder.iterdir() if each.name.startswith(_PARTIAL)]
    entries.sort(key=lambda each: (each == newest, _last_use(each / _INDEX)), reverse=True)
    old = entries[_MOST_ENTRIES:]
    old += [each for each in partial if _last_use(each) < time.time() - _ABANDONED]
    for each in old:
        shutil.rmtree(each, ignore_errors=True)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _message(folder: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return (
            f"The disk is full: decoded images do not fit into the cache {folder} ({reason}). "
            "Free some space, or choose another folder with --cache DIR."
        )
    return (
        f"The cache {folder} cannot be used ({reason}). Expected a writable folder. "
        "Choose another one with --cache DIR."
    )
