"""The networks of folds: trained one after another here, or at once on the nodes of a cluster.

A trial trains the network of one fold, in a process of its own on any node. It returns its last
checkpoint, which this process stores as if it had trained the network itself. So the rest is that
of a resumed training, the bytes are the same, and a later command needs no cluster. Where a trial
is lost with its process or node, another one begins.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lucency import backend
from lucency.cluster import Cluster, Lost, Shared, connect
from lucency.config import Config
from lucency.dataset import Split
from lucency.dataset.cache import PixelCache
from lucency.dataset.entry import counted
from lucency.errors import RunError
from lucency.imaging.decoder.pool import Pixels
from lucency.progress import Progress
from lucency.training.checkpoints import Stored, newest, store
from lucency.training.fit import Fitted, fit
from lucency.training.plan import Plan
from lucency.training.state import Epoch

OnEpoch = Callable[[Epoch], None] | None
_RETRIES = 3  # of a trial whose process or node died
_BLOCK = 64 * 2**20  # bytes of pixels that are one object of the cluster


class Fold(NamedTuple):
    """One network to be trained.

    Attributes:
        held: (n,) bool, which images of the pool it does not see.
        plan: How it is trained.
        folder: For its checkpoints; ``None`` writes none.
    """

    held: NDArray[np.bool_]
    plan: Plan
    folder: Path | None

    def splits(self, pool: Split) -> tuple[Split, Split]:
        """Return the images to train on, and those that are held out."""
        rest, held = np.flatnonzero(~self.held), np.flatnonzero(self.held)
        return pool.subset("train", rest), pool.subset("val", held)


class FoldTrainer(Protocol):
    """What trains the networks of folds."""

    def train(self, k: int, on_epoch: OnEpoch) -> Fitted:
        """Return the network of a fold, counted from 0; they are asked for in order."""


@contextlib.contextmanager
def fold_trainer(
    pool: Split, folds: Sequence[Fold], config: Config, progress: Progress
) -> Iterator[FoldTrainer]:
    """Lend what trains the networks of folds: this process, or a cluster.

    Shards of one network take the whole cluster, so with them folds are trained one after another.

    Args:
        pool: The images of all folds.
        folds: The networks.
        config: With ``on``.
        progress: Called on every step.

    Raises:
        LucencyError: There is no such cluster, or a node does not see what training starts from.
    """
    if not config.on or folds[0].plan.shards > 1:
        yield _Here(pool, folds, config, progress)
        return
    cluster = connect(config.on, progress)
    if config.start_path:
        cluster.check_sees([config.start_path])
        config = replace(config, start=str(Path(config.start_path).absolute()))
    with TemporaryDirectory() as temporary:
        folders = [each.folder or Path(temporary) / str(k) for k, each in enumerate(folds)]
        kept = [each._replace(folder=of) for each, of in zip(folds, folders, strict=True)]
        here = _Here(pool, kept, config, progress)
        trials = _Trials(here, folders, cluster)
        try:
            yield trials
        finally:
            trials.end()


@dataclass
class _Here:
    """Trains in this process, from checkpoints if there are any."""

    pool: Split
    folds: Sequence[Fold]
    config: Config
    progress: Progress

    def train(self, k: int, on_epoch: OnEpoch) -> Fitted:
        """Return the network of a fold."""
        fold = self.folds[k]
        return fit(
            fold.splits(self.pool), fold.plan, self.config,
            progress=self.progress, on_epoch=on_epoch, checkpoints=fold.folder,
        )  # fmt: skip


@dataclass
class _Running:
    """A trial that has not finished.

    Attributes:
        fold: Counted from 0.
        actor: The trial.
        address: Of its node; empty before it has begun.
        began: When, in seconds of ``time.monotonic``.
        epochs: How many it has reported.
    """

    fold: int
    actor: Any
    address: str = ""
    began: float = 0.0
    epochs: int = 0


class _Trials:
    """Trains the networks on the nodes of a cluster, as many at once as it has processors.

    Args:
        here: Reads the finished networks from their checkpoints.
        folders: Of the checkpoints of each fold.
        cluster: The cluster.
    """

    def __init__(self, here: _Here, folders: Sequence[Path], cluster: Cluster) -> None:
        self._here, self._folders, self._cluster = here, folders, cluster
        self._progress = here.progress
        self._retries: Counter[int] = Counter()
        self._trained: Counter[str] = Counter()  # by the address of the node
        self._rows: list[list[Epoch]] = [[] for _ in folders]  # each epoch once
        self._running: dict[Any, _Running] = {}  # by the reference of the next report
        stored = [newest(folder) for folder in folders]
        remaining = [k for k, each in enumerate(stored) if not (each and each.finished)]
        if remaining:
            self._pool = self._shared()
        for k in remaining:
            self._begin(k)

    def train(self, k: int, on_epoch: OnEpoch) -> Fitted:
        """Wait for the trial of a fold, and return its network as its checkpoint has it."""
        given = self._wait_for(k, on_epoch)

        def further(row: Epoch) -> None:
            if on_epoch and row.epoch > given:
                on_epoch(row)

        return self._here.train(k, further)

    def end(self) -> None:
        """End the trials that are still running, and say what the nodes have done."""
        for each in self._running.values():
            self._cluster.end(each.actor)
        self._running.clear()
        if not self._trained:
            return
        nodes = ", ".join(f"{address} {n}" for address, n in sorted(self._trained.items()))
        self._progress.note(
            f"{counted(self._trained.total(), 'fold')} trained on the cluster: {nodes}; "
            f"{counted(self._retries.total(), 'trial')} lost and repeated."
        )

    def _shared(self) -> Shared[Split]:
        pool = self._here.pool
        images = SharedImages(pool, self._cluster)
        return self._cluster.share(replace(pool, cache=images, rows=np.arange(len(pool))))

    def _begin(self, k: int) -> None:
        """Ask for a trial; it begins when there is room."""
        fold, checkpoint = self._here.folds[k]._replace(folder=None), newest(self._folders[k])
        actor = self._cluster.actor(
            Trial, self._pool, fold, self._here.config, checkpoint,
            env=backend.for_the_same_bits(), spread=True,
        )  # fmt: skip
        self._running[actor.begin.remote()] = _Running(k, actor)

    def _wait_for(self, k: int, on_epoch: OnEpoch) -> int:
        """Handle reports until that of a fold's end; return the number of its epochs so far."""
        given, epochs = 0, self._here.folds[k].plan.epochs
        with self._progress.task(self._name(k), epochs, "epochs") as task:
            while True:
                for row in self._rows[k][given:]:
                    given += 1
                    task.advance(loss=row.loss, val_loss=row.val_loss)
                    if on_epoch:
                        on_epoch(row)
                if all(each.fold != k for each in self._running.values()):
                    return given
                reference = self._cluster.first([*self._running])
                self._handle(self._running.pop(reference), self._cluster.answer(reference))

    def _handle(self, trial: _Running, report: Began | Warned | Epoch | Stored | Lost) -> None:
        """Handle a report, or the loss of a trial, and ask for the next report."""
        name = self._name(trial.fold)
        match report:
            case Began(address):
                trial.address, trial.began = address, time.monotonic()
                self._progress.note(f"{name} began on node {address}.")
            case Warned(line):
                self._progress.warn(f"{name}: {line}")
            case Epoch():
                self._add(trial, report)
            case Stored():
                self._finish(trial, report)
                return
            case Lost():
                self._repeat(trial, report)
                return
        self._running[trial.actor.report.remote()] = trial

    def _add(self, trial: _Running, row: Epoch) -> None:
        """Keep an epoch; a repeated trial reports those of the one before again."""
        trial.epochs += 1
        if trial.epochs > len(self._rows[trial.fold]):
            self._rows[trial.fold].append(row)

    def _finish(self, trial: _Running, checkpoint: Stored) -> None:
        store(self._folders[trial.fold], checkpoint)
        self._cluster.end(trial.actor)
        self._trained[trial.address] += 1
        took = time.monotonic() - trial.began
        self._progress.note(
            f"{self._name(trial.fold)} is trained (on node {trial.address}, {took:.0f} s)."
        )

    def _repeat(self, trial: _Running, lost: Lost) -> None:
        """Begin again, a bounded number of times.

        Raises:
            RunError: It was lost too often.
        """
        k, name = trial.fold, self._name(trial.fold)
        self._cluster.end(trial.actor)  # where it was only out of reach
        self._retries[k] += 1
        where = f" on node {trial.address}" if trial.address else ""
        if self._retries[k] > _RETRIES:
            raise RunError(
                f"{name} was lost {_RETRIES + 1} times with its process, the last time{where} "
                f"({lost.reason}). If the nodes have too little memory, start them with fewer "
                "processors (--num-cpus). Repeat the command, or leave --on out; finished folds "
                "are kept."
            )
        self._progress.warn(
            f"{name} was lost with its process{where}. It is trained again (retry "
            f"{self._retries[k]} of at most {_RETRIES})."
        )
        self._begin(k)

    def _name(self, k: int) -> str:
        return f"Fold {k + 1} of {len(self._folders)}"


class Began(NamedTuple):
    """A trial has begun on the node of this address."""

    address: str


class Warned(NamedTuple):
    """A trial warns of something."""

    line: str


class Trial(Progress):
    """Trains the network of a fold in a process of a node.

    Args:
        pool: The images of all folds.
        fold: The network.
        config: The user's choices.
        checkpoint: To resume from; ``None`` to begin with the first epoch.
    """

    def __init__(
        self, pool: Shared[Split], fold: Fold, config: Config, checkpoint: Stored | None
    ) -> None:
        self._pool, self._fold, self._config, self._checkpoint = pool, fold, config, checkpoint
        self._reports: queue.Queue[Epoch | Warned | None] = queue.Queue()
        self._thread = ThreadPoolExecutor(1)

    def begin(self) -> Began:
        """Begin to train."""
        import ray

        self._training = self._thread.submit(self._train)
        return Began(ray.util.get_node_ip_address())

    def report(self) -> Epoch | Warned | Stored:
        """Wait for the next epoch or warning, or at the end for the checkpoint.

        Raises:
            LucencyError: As training raises it.
        """
        return self._reports.get() or self._training.result()

    def warn(self, line: str) -> None:
        """Report a warning."""
        self._reports.put(Warned(line))

    def _train(self) -> Stored:
        try:
            with TemporaryDirectory() as temporary:
                folder = Path(temporary)
                if self._checkpoint:
                    store(folder, self._checkpoint)
                fit(
                    self._fold.splits(self._pool.value), self._fold.plan, self._config,
                    progress=self, on_epoch=self._reports.put, checkpoints=folder,
                )  # fmt: skip
                if (found := newest(folder)) and found.finished:
                    return found
                raise RunError("The node could not write the checkpoint. Free space on its disk.")
        finally:
            self._reports.put(None)


class SharedImages(PixelCache):
    """The images of a split in the memory of the nodes: once on each, for all of its processes.

    Args:
        split: The images; they are the rows, in its order.
        cluster: Stores them.
    """

    def __init__(self, split: Split, cluster: Cluster) -> None:
        self.shape, self.depth = split.cache.shape, split.cache.depth
        self.sha256 = tuple(split.cache.sha256[row] for row in split.rows)
        self._size = max(1, _BLOCK // split.pixels([0]).nbytes)  # images of a block
        rows = np.arange(len(split))
        self._blocks = [
            cluster.share(split.pixels(some))
            for some in np.split(rows, rows[self._size :: self._size])
        ]

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> Pixels:
        """Return rows in the order asked for, (k, height, width, channels), 0 to 255."""
        return np.stack([self._pixels[row // self._size][row % self._size] for row in rows])

    @cached_property
    def _pixels(self) -> list[Pixels]:
        return [block.value for block in self._blocks]
