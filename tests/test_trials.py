"""Folds as trials on the nodes of a cluster: the same bytes, also where processes and nodes die."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.local_cluster import LocalCluster, local_cluster, wait_until

from conftest import Heard, draw_folder
from lucency import backend
from lucency.cluster import Lost, connect, connection
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.errors import BackendError, DataError, ImageError, RunError
from lucency.progress import SILENT, Progress
from lucency.training import trials
from lucency.training.checkpoints import Stored, newest, store
from lucency.training.fit import Fitted
from lucency.training.folds import fold_networks
from lucency.training.plan import LEVELS
from lucency.training.state import Epoch

pytest.importorskip("ray", reason='no Ray: pip install "lucency[cluster]"')

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:os.fork:RuntimeWarning"),  # Ray's
    pytest.mark.usefixtures("small"),
]

CONFIG = Config(effort="quick", size=16, epochs=2, precision="float32", folds=2, batch=8)
THERE = dataclasses.replace(CONFIG, on="ray")


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        level = dataclasses.replace(LEVELS["quick"], width=4, blocks=(1,))
        patch.setattr("lucency.training.plan.LEVELS", {**LEVELS, "quick": level})
        yield


@pytest.fixture(scope="module")
def nodes() -> Iterator[LocalCluster]:
    """Return a cluster of two nodes that this process is connected to."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # which no node can import
    with pytest.MonkeyPatch.context() as patch, local_cluster(2) as cluster:
        patch.setattr(connection, "_connected", {})
        connect("ray")
        yield cluster


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = draw_folder(tmp_path_factory.mktemp("trials") / "spots", 18)
    return load_dataset(folder, CONFIG)


def trained(
    data: Dataset,
    config: Config,
    progress: Progress = SILENT,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> Iterator[Fitted]:
    assert data.folds is not None
    return fold_networks(data.train, data.folds, config, progress, on_epoch, checkpoints)


def facts(found: Fitted) -> tuple[Any, ...]:
    """Return all that must be the same, which are not the times."""
    rows = [dataclasses.astuple(row)[:-2] for row in found.network.history]
    arrays = {name: each.tobytes() for name, each in found.network.weights.items()}
    return arrays, rows, found.network.training, found.logits.tobytes()


@pytest.fixture(scope="module")
def here(small: None, data: Dataset) -> list[tuple[Any, ...]]:
    return [facts(each) for each in trained(data, CONFIG)]


class Disturbing(Heard):
    """Does something when a note begins with a text; only once."""

    def __init__(self, **acts: Callable[[], None]) -> None:
        super().__init__()
        self._acts = acts

    def note(self, line: str) -> None:
        super().note(line)
        for number in [each for each in self._acts if f"Fold {each[-1]} of 2 began" in line]:
            self._acts.pop(number)()


@pytest.mark.slow
def test_folds_are_the_same_bytes_also_where_a_process_and_a_node_die(
    nodes: LocalCluster, data: Dataset, here: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    def kill_process() -> None:
        os.kill(nodes.workers()[0], signal.SIGKILL)

    def kill_node() -> None:
        nodes.kill(nodes.nodes[0])
        nodes.add()

    progress, rows = Disturbing(fold1=kill_process, fold2=kill_node), list[Epoch]()
    found = [*trained(data, THERE, progress, rows.append, tmp_path)]
    assert [facts(each) for each in found] == here
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    assert 1 <= len(progress.warnings) <= 3
    assert all("was lost with its process" in line for line in progress.warnings)
    assert f"{len(progress.warnings)} trial" in progress.notes[-1]
    assert progress.notes[-1].startswith("2 folds trained on the cluster: 127.0.")
    assert sum("is trained (on node 127.0." in line for line in progress.notes) == 2
    assert wait_until(lambda: not nodes.workers(), 20)

    # A later command needs no cluster.
    heard = Heard()
    resumed = [*trained(data, CONFIG, heard, checkpoints=tmp_path)]
    assert [facts(each) for each in resumed] == here
    assert heard.notes.count("Resuming from the checkpoint at the end of training.") == 2


@pytest.mark.slow
def test_what_a_command_began_here_is_finished_on_a_cluster(
    nodes: LocalCluster, data: Dataset, here: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    """The first fold is finished, the second is in its second epoch."""

    def stop(row: Epoch) -> None:
        if row.epoch == 3:
            raise KeyboardInterrupt

    often = dataclasses.replace(CONFIG, checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        [*trained(data, often, on_epoch=stop, checkpoints=tmp_path)]
    assert [bool(newest(tmp_path / f"fold-{k}")) for k in (1, 2)] == [True, True]
    rows, heard = list[Epoch](), Heard()
    found = [*trained(data, THERE, heard, rows.append, tmp_path)]
    assert [facts(each) for each in found] == here
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    assert not [line for line in heard.notes if "Fold 1 of 2 began" in line]
    assert heard.notes[-1].startswith("1 fold trained on the cluster")


@pytest.mark.slow
def test_trials_end_where_the_command_has_seen_enough(nodes: LocalCluster, data: Dataset) -> None:
    """As where the first epochs show that training from scratch is hopeless."""
    at_work = []

    def stop(row: Epoch) -> None:
        at_work.extend(nodes.workers())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        [*trained(data, dataclasses.replace(THERE, epochs=5000), on_epoch=stop)]
    assert at_work
    assert wait_until(lambda: not nodes.workers(), 20)


def test_a_fold_that_is_lost_again_and_again_is_given_up(
    nodes: LocalCluster, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.Cluster, "first", lambda _, references: references[0])
    monkeypatch.setattr(connection.Cluster, "answer", lambda *_: Lost("no memory"))
    heard = Heard()
    with pytest.raises(RunError, match=r"Fold \d of 2 was lost 4 times .* \(no memory\)\."):
        [*trained(data, THERE, heard)]
    assert any("retry 3 of at most 3" in line for line in heard.warnings)


def test_nodes_must_see_what_training_starts_from(
    nodes: LocalCluster, data: Dataset, tmp_path: Path
) -> None:
    fold = trials.Fold(np.zeros(len(data.train), bool), _plan(), None)
    config = dataclasses.replace(THERE, start=str(tmp_path / "absent"))
    with (
        pytest.raises(DataError, match="does not see /"),
        trials.fold_trainer(data.train, [fold], config, SILENT),
    ):
        pass


def _plan() -> Any:
    return type("Plan", (), {"shards": 1})()


def test_an_actor_answers_or_says_why_not(nodes: LocalCluster) -> None:
    cluster = connect("ray")
    actor = cluster.actor(_Actor, 1, env={"LUCENCY_TEST": "7"}, spread=True)
    assert cluster.answer(actor.environment.remote()) == "7"
    with pytest.raises(ImageError, match="broken"):
        cluster.answer(actor.fail.remote())
    with pytest.raises(ZeroDivisionError):
        cluster.answer(actor.divide.remote())
    lost = cluster.answer(actor.die.remote())
    assert isinstance(lost, Lost)
    assert "\n" not in lost.reason
    with pytest.raises(BackendError, match="could not start"):
        cluster.answer(cluster.actor(_Actor, 0, env={}).environment.remote())


class _Actor:
    def __init__(self, number: int) -> None:
        self._number = 1 / number

    def environment(self) -> str:
        return os.environ["LUCENCY_TEST"]

    def fail(self) -> None:
        raise ImageError("broken")

    def divide(self) -> float:
        return self._number / 0

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_shared_images_are_those_of_the_cache(
    nodes: LocalCluster, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_BLOCK", 5 * 16 * 16)
    split = data.train.subset("train", np.arange(3, 20))
    shared = trials.SharedImages(split, connect("ray"))
    rows = np.array([16, 0, 4, 5, 4])
    assert len(shared._blocks) == 4
    np.testing.assert_array_equal(shared.read(rows), split.pixels(rows))
    assert shared.sha256 == tuple(split.cache.sha256[row] for row in split.rows)


@pytest.mark.parametrize(("processors", "xla"), [(1, "2"), (6, "6")])
def test_another_process_takes_as_many_threads(
    processors: int, xla: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucency.backend.choice._processors", lambda: processors)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.delenv("NPROC", raising=False)
    found = backend.for_the_same_bits()
    assert (found["TF_NUM_INTRAOP_THREADS"], found["NPROC"]) == (str(processors), xla)
    assert found["KERAS_BACKEND"] == backend.choose_backend()
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert backend.for_the_same_bits()["TF_NUM_INTRAOP_THREADS"] == "3"


def test_a_stored_checkpoint_is_read_back_and_replaces_a_damaged_one(tmp_path: Path) -> None:
    assert newest(tmp_path / "fold-1") is None
    damaged = Stored("000002-epoch-3", {"manifest.json": b"{}"}, False)
    store(tmp_path / "fold-1", damaged)
    assert newest(tmp_path / "fold-1") is None
    store(tmp_path / "fold-1", damaged)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="Cannot use"):
        store(tmp_path / "file" / "fold-1", damaged)
