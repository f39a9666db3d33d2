"""Several machines: nodes of a Ray cluster on loopback addresses, some of which are killed."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.local_cluster import LocalCluster, local_cluster, wait_until
from PIL import Image

from conftest import Heard, call_lucency
from lucency.classifier import Classifier
from lucency.cluster import Cluster, connect, connection, decoding, in_words
from lucency.cluster.decoding import ClusterDecoders
from lucency.config import Config
from lucency.dataset import near_duplicates
from lucency.dataset.cache import SourceFile, decode
from lucency.dataset.candidates import compared
from lucency.dataset.near_duplicates import find_near_duplicates, registered
from lucency.errors import BackendError, ConfigError, DataError, ImageError, RunError
from lucency.imaging.decoder.pool import DecoderPool
from lucency.io import read_json
from lucency.pipeline import predict
from lucency.pipeline.predict import predict_to_folder
from small_runs import SIDE, brightness_network, spec_of
from test_leaks import scene
from test_near_duplicates import entries, stored

pytest.importorskip("ray", reason='no Ray: pip install "lucency[cluster]"')
pq = pytest.importorskip("pyarrow.parquet", reason='no pyarrow: pip install "lucency[parquet]"')

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of Ray's own processes


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
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return 60 image files from dark to light, the eighth of which is none."""
    folder = tmp_path_factory.mktemp("images")
    files = []
    for i in range(60):
        files.append(folder / f"{i:02d}.png")
        grey = np.random.default_rng(i).integers(4 * i, 4 * i + 20, (30, 40), dtype=np.uint8)
        Image.fromarray(grey).save(files[-1])
    files[7].write_bytes(b"no image")
    return files


@pytest.fixture
def classifier() -> Classifier:
    spec = spec_of()
    return Classifier(spec, {"w": np.zeros(spec.weight_count, np.uint8)}, brightness_network())


GUIDE = Path(__file__).parent.parent / "docs/how-to/cluster.md"


def is_free(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.12", port)) != 0


def test_the_commands_of_the_guide_work(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    """A cluster of two nodes is started, one is killed, and the sums are equal."""
    if not is_free(6379):
        pytest.skip("port 6379 is in use, perhaps by another cluster")
    install, start, first, second, stop = re.findall(
        r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL
    )
    assert install.startswith("pip install")
    assert stop == "ray stop\n"  # which would stop other clusters of this machine too
    classifier.save(tmp_path / "runs/chest_xray-quick-1")
    (tmp_path / "archive").mkdir()
    for i in range(100):
        for path in images:
            (tmp_path / f"archive/{i:02d}-{path.name}").hardlink_to(path)
    binaries = Path(sys.executable).parent
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(home), "RAY_TMPDIR": str(home),
    }  # fmt: skip
    script = tmp_path / "guide.sh"
    script.write_text(start + first + second)
    try:
        done = subprocess.run(
            ["bash", "-e", script],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        sums = [line.split() for line in done.stdout.splitlines() if ".parquet" in line]
        assert len(sums) == 12
        assert [name for _, name in sums[:6]] == [
            f"predictions/part-00000{k}.parquet" for k in range(6)
        ]
        assert [each for each, _ in sums[:6]] == [each for each, _ in sums[6:]]
    finally:
        subprocess.run(["pkill", "-9", "-f", str(home)], check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each task four images, so that there are many tasks."""
    monkeypatch.setattr(decoding, "_BATCH", 4)
    monkeypatch.setattr(predict, "ROWS", 4)


def rows_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


@pytest.mark.usefixtures("small_tasks")
def test_a_killed_node_changes_no_decoded_byte(
    nodes: LocalCluster, images: list[Path], tmp_path: Path
) -> None:
    files = [SourceFile(path, path.name) for path in images]
    form: dict[str, Any] = {"size": (SIDE, SIDE), "colour": False}
    with DecoderPool(1) as pool:
        here = decode(files, **form, folder=tmp_path / "here", pool=pool)
    doomed, heard = nodes.add(), Heard()

    class Dying(ClusterDecoders):
        """Loses a node when some images are decoded."""

        def map(self, requests: Any) -> Any:
            for i, each in enumerate(super().map(requests)):
                if i == 6:
                    nodes.kill(doomed)
                yield each

    with Dying(connect("ray"), heard) as decoders:
        there = decode(files, **form, folder=tmp_path / "there", pool=decoders)  # type: ignore[arg-type]
    every = np.arange(len(images))
    assert (there.read(every) == here.read(every)).all()
    assert (there.sha256, there.reasons) == (here.sha256, here.reasons)
    assert "60 images decoded on the cluster" in heard.notes[-1]


@pytest.mark.usefixtures("small_tasks")
def test_predictions_are_the_same_bytes_whatever_dies(
    nodes: LocalCluster,
    images: list[Path],
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = predict_to_folder(classifier, images, tmp_path / "here")
    assert here.counts == {"NORMAL": 29, "PNEUMONIA": 30, predict.UNREADABLE: 1}
    again = predict_to_folder(classifier, images, tmp_path / "here")
    assert (again.predicted, again.counts) == (0, here.counts)

    doomed, write = nodes.add(), predict._write_part

    def interrupted(folder: Path, number: int, *rest: Any) -> Any:
        if number == 3:
            nodes.kill(doomed)
        if number == 8:
            raise KeyboardInterrupt
        return write(folder, number, *rest)

    monkeypatch.setattr(predict, "_write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_to_folder(classifier, images, tmp_path / "there", on="ray")
    assert len(rows_of(tmp_path / "there")) == 8
    assert "parts" not in read_json(tmp_path / "there" / "_manifest.json")
    monkeypatch.undo()
    monkeypatch.setattr(predict, "ROWS", 4)
    there = predict_to_folder(classifier, images, tmp_path / "there", on="ray")
    assert (there.predicted, there.counts) == (60 - 32, here.counts)
    assert rows_of(tmp_path / "there") == rows_of(tmp_path / "here")
    table = pq.read_table(tmp_path / "there")
    assert table["file"].to_pylist() == [str(path) for path in images]
    assert table["unreadable"].to_pylist() == [i == 7 for i in range(60)]


def test_the_search_for_copies_finds_the_same_pairs_whatever_dies(
    nodes: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "ROWS", 8)
    monkeypatch.setattr("lucency.dataset.candidates.ROWS", 8)
    monkeypatch.setattr(near_duplicates, "_TASK", 4)
    originals = [scene(seed).resize((96, 90)) for seed in range(40)]
    store = stored([*originals, *(each.resize((70, 64)) for each in originals)], tmp_path / "p")
    every = entries(store, ["train"] * 40 + ["test"] * 40)
    here = find_near_duplicates(store, every, Config(workers=1))
    assert len(here) == 40
    doomed, cluster = nodes.add(), connect("ray")
    begun: list[Any] = []
    run = Cluster.run

    def dying(self: Cluster, function: Any, items: Any, *given: Any) -> Iterator[Any]:
        begun.append(function)
        for k, result in enumerate(run(self, function, items, *given)):
            if k == 2 and len(begun) == 1:
                nodes.kill(doomed)
            yield result

    monkeypatch.setattr(Cluster, "run", dying)
    assert find_near_duplicates(store, every, Config(on="ray")) == here
    assert begun == [compared, registered]
    assert sum(cluster.work.values()) >= 40


def test_tasks_of_a_killed_node_are_repeated(nodes: LocalCluster) -> None:
    cluster, doomed = connect("ray"), nodes.add()
    before = cluster.lost
    numbers = [[i] for i in range(24)]
    found = []
    for each in cluster.run(_sleep, numbers, 0.3):
        if not found:
            nodes.kill(doomed)
        found.append(each)
    assert found == [*range(24)]
    assert wait_until(lambda: cluster.lost == before + 1, 60)
    assert "lost" in in_words(cluster, 1, "counted")


def test_a_killed_process_is_replaced(nodes: LocalCluster, tmp_path: Path) -> None:
    marker = tmp_path / "died"
    found = connect("ray").run(_die_once, [[1], [2], [3]], marker)
    assert [*found] == [1, 2, 3]
    assert marker.exists()


def _die_once(item: list[int], marker: Path) -> int:
    if item == [2] and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item[0]


def test_an_error_of_a_task_is_raised_here(nodes: LocalCluster) -> None:
    with pytest.raises(ImageError, match="broken 1"):
        [*connect("ray").run(_fail, [[1], [2]])]


def _fail(item: list[int]) -> None:
    raise ImageError(f"broken {item[0]}")


def test_a_node_must_see_the_images(nodes: LocalCluster, images: list[Path]) -> None:
    connect("ray").check_sees([str(images[0].parent)])
    with pytest.raises(
        DataError, match=r"Node 127\.0\.\d+\.\d+ of the cluster does not see /nowhere"
    ):
        connect("ray").check_sees(["/nowhere"])


def test_a_node_must_have_the_same_versions(
    nodes: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_connected", {})
    monkeypatch.setattr(connection, "_versions", lambda: "Python 3.9.1 and Lucency 0.0.1")
    with pytest.raises(BackendError, match=r"this process has Python 3\.9\.1 and Lucency 0\.0\.1"):
        connect("ray")


def test_a_cluster_without_processors_is_no_cluster(
    nodes: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_connected", {})
    monkeypatch.setattr(connection.Cluster, "_processors", lambda _: 0)
    with pytest.raises(ConfigError, match="has no processor"):
        connect("ray")


def test_a_cluster_that_loses_all_nodes_is_given_up(
    nodes: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = connect("ray")
    monkeypatch.setattr(connection, "_INTERVAL", 0.05)
    monkeypatch.setattr(connection, "_EMPTY", 0.2)
    running = cluster.run(_sleep, [[0]], 5.0)
    monkeypatch.setattr(connection.Cluster, "_processors", lambda _: 0)
    with pytest.raises(RunError, match="has had no processor"):
        next(running)


def _sleep(item: list[int], seconds: float) -> int:
    time.sleep(seconds)
    return item[0]


def test_other_files_are_not_overwritten(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files than predictions"):
        predict_to_folder(classifier, images, tmp_path)
    assert not (tmp_path / "_manifest.json").exists()


def test_predictions_of_something_else_are_not_continued(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    predict_to_folder(classifier, images[:5], tmp_path)
    for other in ({"files": images[:6]}, {"files": images[5:10]}, {"prevalence": 0.2}):
        given: dict[str, Any] = {"files": images[:5], "out": tmp_path} | other
        with pytest.raises(RunError, match="of other images, of another classifier"):
            predict_to_folder(classifier, **given)
    classifier.spec = dataclasses.replace(classifier.spec, threshold=0.9)
    with pytest.raises(RunError, match="of other images, of another classifier"):
        predict_to_folder(classifier, images[:5], tmp_path)


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{", b"7"])
def test_a_damaged_manifest_is_named(
    content: bytes, images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "_manifest.json").write_bytes(content)
    with pytest.raises(RunError, match=r"_manifest\.json is damaged"):
        predict_to_folder(classifier, images, tmp_path)


def test_what_a_killed_process_left_is_removed(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "._manifest.json.123.tmp").write_bytes(b"{")
    predict_to_folder(classifier, images, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock", "_manifest.json", "part-000000.parquet",
    ]  # fmt: skip


def test_a_damaged_part_is_named(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    predict_to_folder(classifier, images, tmp_path)
    part = tmp_path / "part-000000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:-9])
    with pytest.raises(RunError, match=r"part-000000\.parquet is damaged"):
        predict_to_folder(classifier, images, tmp_path)
    part.unlink()
    predict_to_folder(classifier, images, tmp_path)
    assert part.read_bytes() == whole


def test_two_processes_do_not_write_into_one_folder(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    with predict._opened(tmp_path), pytest.raises(RunError, match="Another process"):
        predict_to_folder(classifier, images, tmp_path)


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_connected", {})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError, match=r'pip install "lucency\[cluster\]"'):
        connect("ray")


def test_without_pyarrow_one_line_says_what_to_install(
    images: list[Path], classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(BackendError, match=r'pip install "lucency\[parquet\]"'):
        predict_to_folder(classifier, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("on", ["local", "local:0", "ray://host", "http://host:1", "dask"])
def test_what_is_no_cluster_is_rejected(on: str) -> None:
    with pytest.raises(ConfigError, match="on must be ray, ray://HOST:PORT, or local:N"):
        Config(on=on)


def test_the_command_writes_a_folder_and_counts(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path / "run")
    out = tmp_path / "predictions"
    done = call_lucency("predict", tmp_path / "run", images[0].parent, "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "NORMAL 29, PNEUMONIA 30, no decision 0, unreadable 1",
        f"60 predictions: {out}",
    ]
    both = call_lucency("predict", tmp_path / "run", images[0], "--out", out, "--csv")
    assert (both.returncode, "Leave out --csv" in both.stderr) == (2, True)
    maps = call_lucency("predict", tmp_path / "run", images[0], "--explain", "--on", "ray")
    assert (maps.returncode, "Leave out --on" in maps.stderr) == (2, True)


def test_nothing_of_ray_is_imported_without_a_cluster(
    images: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path / "run")
    script = (
        "import sys; from lucency.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'ray', 'pyarrow'} & {*sys.modules}))"
    )
    command = [sys.executable, "-c", script, "predict", tmp_path / "run", images[0], "--csv"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
