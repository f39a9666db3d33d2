"""A run at an address: worked on in the local cache, and published to object storage.

    ADDRESS/                 the files of the run, and ``manifest.json``, which is written last
    ADDRESS.unfinished/      the claim, and the latest checkpoints, by the sha256 of each file
    CACHE/runs/KEY/NAME      the local copy, while and after the run is made or read

A reader finds the whole run or none. Checkpoints are published every ``PUBLISH_SECONDS`` at most,
after training, and when the command stops early.
"""

from __future__ import annotations

import _thread
import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from lucency.errors import LucencyError, RunError
from lucency.io import (
    built_folder,
    default_cache,
    locked,
    prune,
    read_bytes,
    redacted,
    sync_files,
    why,
    write_bytes,
)
from lucency.progress import SILENT, Progress
from lucency.run_folder.claim import SIGN_SECONDS, Claim, holder_of
from lucency.run_folder.files import (
    CHECKPOINTS,
    ENDING,
    LOCK,
    MANIFEST,
    PUBLISHED,
    TEST_EVALUATIONS,
    UNFINISHED,
)
from lucency.run_folder.objects import Entry, Objects, for_all, listed, manifest_of, read_manifest

PUBLISH_SECONDS = 300.0
_RUNS, _TOKEN, _SNAPSHOT = "runs", "token", "snapshot"
_ATTEMPTS = 3  # to read checkpoints that are replaced meanwhile


class Stored:
    """The places of a run at an address.

    Attributes:
        shown: The address without what may be secret.
        run: The objects of the run.
        unfinished: Those of the unfinished run.
        entry: The folder of its local copy in the cache.
        target: The local copy of the complete run.
        partial: The local folder of the unfinished run.
    """

    def __init__(self, address: str, cache: str = "", *, writing: bool = False) -> None:
        """Connect to nothing yet.

        Args:
            address: As ``s3://bucket/runs/name``.
            cache: Folder of the cache; empty for the user's.
            writing: Whether the run will be written.

        Raises:
            LucencyError: The address names no folder, its scheme is not known or cannot be
                written to, or a library is missing.
        """
        address = address.rstrip("/")
        self.shown = redacted(address)
        parts = urlsplit(address)
        name = PurePosixPath(parts.path).name
        if not name or name != parts.path.rpartition("/")[2] or name.startswith("."):
            raise RunError(
                f"{self.shown}: expected the address of a run folder, as s3://bucket/runs/name."
            )
        if self.shown != address:
            raise RunError(
                f"{self.shown}: the address of a run has no password, question mark or number "
                "sign. Give credentials as the storage's own tools take them, as in environment "
                "variables."
            )
        self.run = Objects(address, writing=writing)
        self.unfinished = Objects(f"{address}{ENDING}")
        key = hashlib.sha256(address.encode()).hexdigest()[:32]
        self.entry = (Path(cache) if cache else default_cache()) / _RUNS / key
        self.target = self.entry / name
        self.partial = self.entry / f"{name}{ENDING}"

    def make_entry(self) -> None:
        """Make the folder of the local copy, and remove those that were not used for long.

        Raises:
            OSError: The cache cannot be written.
        """
        self.entry.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(self.entry)
        prune(self.entry.parent)


def local_copy(address: str, progress: Progress = SILENT) -> Path:
    """Return a local folder with the run at an address, downloaded unless it is there already.

    Args:
        address: As ``s3://bucket/runs/name``.
        progress: Called while files arrive.

    Raises:
        RunError: There is no complete run, it is damaged or cannot be read, or the cache cannot be
            written.
        BackendError: A library is missing.
        DataError: The scheme of the address is not known.
    """
    stored = Stored(address)
    manifest = stored.run.read(MANIFEST.name, MANIFEST.largest)
    if manifest is None:
        raise RunError(_missing(stored))
    files = read_manifest(manifest, f"{stored.shown}/{MANIFEST}")
    with _usable(stored):
        stored.make_entry()
        with locked(stored.entry / LOCK, wait=True):  # for another process that downloads it
            if not _is_there(stored, manifest, files):
                (stored.entry / MANIFEST).unlink(missing_ok=True)
                _download(stored.run, files, stored.target, progress)
                write_bytes(stored.entry / MANIFEST, manifest)
    return stored.target


@contextlib.contextmanager
def working_copy(
    address: str, cache: str, resume: bool | None, progress: Progress
) -> Iterator[WorkingCopy]:
    """Yield the local folder of a run at an address, which only this command works on.

    The claim is released when the block ends. After an error, checkpoints are published first.

    Args:
        address: As ``s3://bucket/runs/name``.
        cache: Folder of the cache; empty for the user's.
        resume: ``False`` ignores checkpoints.
        progress: Called while files are sent, and warned of what could not be.

    Raises:
        RunError: There is a run already, or another command works on it; or as ``local_copy``.
    """
    stored = Stored(address, cache, writing=True)
    _check_absent(stored)
    if not holder_of(stored.unfinished) and (names := stored.run.names()):
        raise RunError(
            f"{stored.shown} holds files that are no run, as {names[0][:80]}. Give another name "
            "with --run, or delete them."
        )
    with contextlib.ExitStack() as stack:
        with _usable(stored):
            stored.make_entry()
            try:
                stack.enter_context(locked(stored.entry / LOCK))
            except RunError as holder:
                raise RunError(
                    f"Another process (PID {holder}) is working on {stored.shown}. Wait for it, or "
                    "give another name with --run."
                ) from holder
        copy = WorkingCopy(stored, progress)
        stack.enter_context(copy.held(resume))
        yield copy


class WorkingCopy:
    """The local folder of an unfinished run at an address, whose claim this process holds."""

    def __init__(self, stored: Stored, progress: Progress) -> None:
        """Claim the run.

        Raises:
            RunError: As ``working_copy``.
        """
        self.stored, self._progress = stored, progress
        self._own = _text(stored.entry / _TOKEN)
        # We hold the local lock: a claim of this folder was left by a process that is dead.
        self._claim = Claim(stored.unfinished, stored.shown, self._own)
        self._sent: dict[str, Entry] = {}
        self._saving, self._is_published = threading.Lock(), False

    @contextlib.contextmanager
    def held(self, resume: bool | None) -> Iterator[None]:
        """Hold the claim while the block runs, and publish checkpoints meanwhile."""
        prepared = False
        try:
            _check_absent(self.stored)  # nobody can finish it from now on
            self._prepare(resume)
            prepared = True
            with (
                _repeated(SIGN_SECONDS, self._give_sign),
                _repeated(PUBLISH_SECONDS, self.save),
            ):
                yield
        except BaseException as error:
            if self._claim.lost:
                raise RunError(self._claim.loss) from error
            if not self._is_published:
                self._release(save=prepared)
            raise
        finally:
            if self._is_published:
                self._remove_unfinished()

    def save(self) -> None:
        """Publish the checkpoints, if there are others than before; warn where that fails."""
        try:
            self._save()
        except LucencyError as error:
            if not self._claim.lost:  # else this process is about to stop
                self._progress.warn(f"Checkpoints were not published. Training continues. {error}")

    def _save(self) -> None:
        with self._saving:
            self._send_checkpoints()

    def _send_checkpoints(self) -> None:
        """Publish the checkpoints.

        Raises:
            RunError: The claim is lost, or they cannot be published.
        """
        partial, snapshot = self.stored.partial, self.stored.entry / _SNAPSHOT
        if not (partial / CHECKPOINTS).is_dir():
            return
        try:
            names = _linked(partial, snapshot)
            files = listed(snapshot, names)
            if files == self._sent:
                return
            self._claim.check()
            content = {entry.sha256: name for name, entry in files.items()}
            objects = self.stored.unfinished
            there = {*objects.names()}
            for sha256 in content.keys() - there:
                objects.upload(sha256, snapshot / content[sha256], replace=False)
            self._claim.check()
            objects.write(PUBLISHED.name, manifest_of(files))
            old = {entry.sha256 for entry in self._sent.values()}
            objects.remove((old - content.keys()) & there)
            self._sent = files
        except OSError as error:
            raise RunError(f"{partial} cannot be read: {why(error)}.") from error
        finally:
            shutil.rmtree(snapshot, ignore_errors=True)

    def publish(self) -> None:
        """Publish the files of the complete run, which is still in the folder of the unfinished.

        Raises:
            RunError: The claim is lost, another command was faster, or it cannot be published.
        """
        stored, run = self.stored, self.stored.run
        try:
            files = listed(stored.partial, _complete(stored.partial))
        except OSError as error:
            raise RunError(f"{stored.partial} cannot be read: {why(error)}.") from error

        def upload(name: str) -> None:
            self._claim.check()  # whoever has lost it must not remove what another has sent
            run.upload(name, stored.partial / name, replace=True)

        for_all(files, upload, self._progress, "Publishing")
        self._claim.check()
        manifest = manifest_of(files)
        read_manifest(manifest, f"{stored.shown}/{MANIFEST}")  # nothing that cannot be read
        if not run.create(MANIFEST.name, manifest):
            raise RunError(f"Another command has just finished the run: {stored.shown}.")
        self._is_published = True
        with contextlib.suppress(LucencyError):  # without it, the copy is downloaded again
            write_bytes(stored.entry / MANIFEST, manifest)

    def _prepare(self, resume: bool | None) -> None:
        """Bring the local folder to what was published last, unless it is ahead of that."""
        stored, before = self.stored, self._claim.before
        with _usable(stored):
            if before is None or before.token != self._own:
                shutil.rmtree(stored.partial, ignore_errors=True)
            shutil.rmtree(stored.target, ignore_errors=True)
            write_bytes(stored.entry / _TOKEN, self._claim.token.encode())
        objects = stored.unfinished
        if resume is False:
            objects.remove([PUBLISHED.name])
        published = objects.read(PUBLISHED.name, PUBLISHED.largest)
        if published is None:
            return
        self._sent = read_manifest(published, f"{objects.shown}/{PUBLISHED}")
        if not (stored.partial / CHECKPOINTS).is_dir():
            with _usable(stored):
                _download(objects, self._sent, stored.partial, self._progress, by_content=True)

    def _give_sign(self) -> None:
        """Tell others that this process is alive; once another has taken over, stop."""
        with contextlib.suppress(LucencyError, OSError):  # the next sign may reach the storage
            os.utime(self.stored.entry)
            self._claim.give_sign()
        if self._claim.lost:
            _thread.interrupt_main()

    def _release(self, *, save: bool) -> None:
        try:
            if save:
                self._save()
            self._claim.give_sign(released=True)
        except LucencyError as error:
            self._progress.warn(
                f"What was trained since the last published checkpoint is only on this machine, in "
                f"{self.stored.partial}; the same command resumes it here. {error}"
            )

    def _remove_unfinished(self) -> None:
        """Remove what only the unfinished run needed; the claims last."""
        objects = self.stored.unfinished
        try:
            names = objects.names()
            objects.remove(sorted(names, key=lambda name: name.startswith("claim-")))
        except LucencyError as error:
            self._progress.warn(
                f"The run is complete, but {objects.shown} could not be removed. {error}"
            )


def _check_absent(stored: Stored) -> None:
    """Raise ``RunError`` where there is a run already."""
    if stored.run.read(MANIFEST.name, MANIFEST.largest) is not None:
        raise RunError(
            f"The run exists already: {stored.shown}. Give another name with --run, or delete it."
        )


def _missing(stored: Stored) -> str:
    holder = None
    with contextlib.suppress(LucencyError):
        holder = holder_of(stored.unfinished)
    if holder:
        return (
            f"The run {stored.shown} is not complete: a command ({holder.who}) has worked on it "
            f"since {holder.since}. Wait for it, or resume it with lucency train."
        )
    return (
        f"There is no run at {stored.shown}, or it may not be read: there is no {MANIFEST}. Check "
        "the address. A run folder that was copied there is no run at an address."
    )


def _is_there(stored: Stored, manifest: bytes, files: dict[str, Entry]) -> bool:
    """Tell whether the local copy is the one that the manifest lists; caches may lose files."""
    try:
        if read_bytes(stored.entry / MANIFEST, MANIFEST.largest) != manifest:
            return False
        return listed(stored.target, files) == files
    except OSError:
        return False


def _download(
    objects: Objects,
    files: dict[str, Entry],
    target: Path,
    progress: Progress,
    *,
    by_content: bool = False,
) -> None:
    """Download files to a new folder, each compared with its sha256: all of them or none."""
    size, free = sum(each.size for each in files.values()), shutil.disk_usage(target.parent).free
    if size > free:
        raise RunError(
            f"{objects.shown}: {size:,} bytes, and {free:,} are free for {target.parent}. Free "
            "some space, or choose another folder with LUCENCY_CACHE."
        )
    with built_folder(target, replace=True) as partial:

        def fetch(name: str) -> None:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            source = files[name].sha256 if by_content else name
            objects.download(source, partial / name, files[name])

        for_all(files, fetch, progress, "Downloading")
        sync_files(partial)


def _complete(partial: Path) -> list[str]:
    """Return the names of the files of a complete run."""
    without = {file.name for file in UNFINISHED}
    return [name for name in _files(partial) if name.partition("/")[0] not in without]


def _linked(partial: Path, snapshot: Path) -> list[str]:
    """Link what a run resumes from to another folder, as training replaces it meanwhile."""
    names: list[str] = []
    for _ in range(_ATTEMPTS):
        names = _kept(partial)
        shutil.rmtree(snapshot, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):  # of a checkpoint that was just replaced
            for name in names:
                (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
                _link(partial / name, snapshot / name)
            return names
    raise OSError("checkpoints were replaced while they were read")


def _kept(partial: Path) -> list[str]:
    """Return the names of the files that a run resumes from."""
    kept = {file.name for file in (*UNFINISHED, TEST_EVALUATIONS)} - {LOCK.name}
    return [name for name in _files(partial) if name.partition("/")[0] in kept]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _files(folder: Path) -> list[str]:
    """Return the names of the files below a folder without hidden ones."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(x[0] == "." for x in name.parts))


def _text(path: Path) -> str:
    try:
        return read_bytes(path, 100).decode("ascii", errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def _repeated(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Do something every so many seconds in a thread while the block runs."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(seconds):
            act()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _usable(stored: Stored) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"The cache {stored.entry} cannot be used ({why(error)}). Expected a writable folder. "
            "Choose another one with LUCENCY_CACHE."
        ) from error
