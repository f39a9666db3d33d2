"""Trackers: what they log, that resumed runs continue there, and that training is not affected."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Heard, draw_folder
from lucency.classifier import Classifier, ReferenceImages
from lucency.config import Config
from lucency.errors import ConfigError
from lucency.evaluation import evaluate_predictions
from lucency.pipeline.train import run_training
from lucency.progress import Task
from lucency.signals import Interrupted
from lucency.tracking import Start, tracked
from lucency.tracking.curves import counts, roc_image
from lucency.tracking.tracker import of_epoch, of_evaluation
from lucency.tracking.worker import Worker
from small_runs import TWO, labelled_predictions, labelled_spec, write_images, write_run
from small_values import draw_values, write_value_run
from test_docs import ROOT, blocks


@dataclasses.dataclass(frozen=True)
class Row:
    """The fields of an epoch that trackers log."""

    epoch: int
    loss: float
    val_loss: float
    val_auroc: float = 0.9


def start_of(folder: Path, *, resumed: bool = False) -> Start:
    (folder / "run.unfinished").mkdir(parents=True, exist_ok=True)
    return Start(
        target=folder / "run",
        partial=folder / "run.unfinished",
        resumed=resumed,
        data="chest radiographs (2019)",
        fingerprint="f" * 64,
        version="0.1.0",
        config=Config(labels="/home/ann/patients.csv", cache="/home/ann/cache").to_json(),
        plan={
            "batch": 32, "size": (8, 8), "augmentation": {"rotation": 10.0},
            "choices": [{"name": "batch", "value": "32", "reason": "a | b"}],
        },
    )  # fmt: skip


def test_parameters_are_flat_and_contain_no_paths(tmp_path: Path) -> None:
    given = start_of(tmp_path).parameters()
    assert given["config.labels"] == "patients.csv"
    assert given["plan.augmentation.rotation"] == 10.0
    assert given["plan.size"] == "(8, 8)"
    assert given["config.epochs"] == ""
    assert "ann" not in json.dumps(given)
    assert not {"config.cache", "config.workers", "config.track"} & set(given)


def test_metrics_that_are_not_finite_are_omitted() -> None:
    assert of_epoch(Row(1, 0.5, 0.25, float("nan"))) == {"loss": 0.5, "val_loss": 0.25}
    estimate = {"value": 0.9, "low": 0.8, "high": None, "method": "m"}
    found = of_evaluation({"validation": {"metrics": {"auroc": estimate}}, "test": None})
    assert found == {"validation/auroc": 0.9, "validation/auroc_low": 0.8}


def test_each_label_has_metrics_beside_the_means() -> None:
    names = ("effusion", "a/b", "a.b", "Ödem")
    found = labelled_predictions(200)
    assert found.targets is not None
    wide = {
        key: np.concatenate([x := getattr(found, key), x[:, :1]], axis=1)
        for key in ("targets", "probabilities", "decisions")
    }
    classifier = Classifier(labelled_spec(names), {})
    evaluation = evaluate_predictions(classifier, dataclasses.replace(found, classes=names, **wide))
    logged = of_evaluation({"test": evaluation.to_json()})
    assert evaluation.labels is not None
    assert logged["test/auroc"] == evaluation.metrics["auroc"].value
    shown = dict(zip(("effusion", "a_b", "a_b_3", "Ödem"), names, strict=True))
    for tag, name in shown.items():
        for key in evaluation.metrics:
            estimate = evaluation.labels[name].metrics[key]
            assert logged[f"test_labels/{tag}/{key}"] == estimate.value
            assert logged[f"test_labels/{tag}/{key}_low"] == estimate.low
    assert len(logged) == 3 * 5 * len(evaluation.metrics)
    mean = np.mean([logged[f"test_labels/{tag}/brier"] for tag in shown])
    assert logged["test/brier"] == pytest.approx(mean)


def test_an_unknown_tracker_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'tensorboard'"), tracked("tensorbord"):
        pass


def test_a_missing_package_is_one_line_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'pip install "lucency\[mlflow\]"'), tracked("mlflow"):
        pass


# -- what goes wrong with a tracker ----------------------------------------------------------------


class Listener:
    """Keeps its calls; fails or hangs on request."""

    def __init__(self, fails_at: int = 0, hangs: threading.Event | None = None) -> None:
        self.calls: list[Any] = []
        self._fails_at, self._hangs = fails_at, hangs

    def begin(self, start: Start) -> str:
        self.calls.append(start.data)
        if self._hangs:
            self._hangs.wait()
        return "look here"

    def epoch(self, row: Any) -> None:
        if row == self._fails_at:
            raise OSError("the store\nis gone")
        self.calls.append(row)

    def finish(self, folder: Path) -> str:
        self.calls.append(folder)
        return ""

    def stop(self, interrupted: bool) -> None:
        self.calls.append(interrupted)


def test_a_worker_calls_in_order(tmp_path: Path) -> None:
    progress, listener = Heard(), Listener()
    worker = Worker("Listener", listener, progress)
    worker.start(start_of(tmp_path))
    for row in range(50):
        worker.call("epoch", row + 1)
    worker.close()
    assert listener.calls == ["chest radiographs (2019)", *range(1, 51)]
    assert progress.notes == ["look here"]
    assert progress.warnings == []


def test_a_tracker_that_fails_is_a_warning_and_not_called_again(tmp_path: Path) -> None:
    progress, listener = Heard(), Listener(fails_at=2)
    worker = Worker("Listener", listener, progress)
    worker.start(start_of(tmp_path))
    for row in (1, 2, 3):
        worker.call("epoch", row)
    worker.close()
    assert listener.calls == ["chest radiographs (2019)", 1]
    (warning,) = progress.warnings
    assert warning == (
        "Tracking with Listener stopped: the store is gone. The run itself is not affected."
    )


def test_a_tracker_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    progress, go = Heard(), threading.Event()
    worker = Worker("Listener", Listener(hangs=go), progress)
    worker.start(start_of(tmp_path))
    worker.close(seconds=0.2)
    go.set()
    assert "more than 0.2 seconds" in progress.warnings[0]


def test_a_run_that_never_began_makes_no_call(tmp_path: Path) -> None:
    listener = Listener()
    Worker("Listener", listener, Heard()).close()
    assert listener.calls == []


# -- TensorBoard -----------------------------------------------------------------------------------


@pytest.fixture
def event_files() -> Any:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from lucency.tracking.tensorboard import EventFiles

    return EventFiles


def values(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every scalar in a folder's event files."""
    from tensorboard.compat.proto.event_pb2 import Event

    from lucency.tracking.tensorboard import _records_of

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.*")):
        for event in map(Event.FromString, _records_of(path)):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_an_event_file_is_gone_on_with_and_begun_anew(event_files: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard" / "run"
    first = event_files()
    assert first.begin(start_of(tmp_path)) == f"To watch it: tensorboard --logdir {folder.parent}"
    first.epoch(Row(1, 0.5, 0.75))
    first.epoch(Row(2, 0.25, 0.5))
    first.stop(True)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-5])  # killed while it wrote epoch 2
    second = event_files()
    second.begin(start_of(tmp_path, resumed=True))
    for row in (Row(1, 0.5, 0.75), Row(2, 0.25, 0.5), Row(3, 0.125, 0.25)):
        second.epoch(row)
    second.stop(False)
    assert values(folder)["loss/train"] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert values(folder)["loss/validation"][-1] == (3, 0.25)
    third = event_files()
    third.begin(start_of(tmp_path))
    third.stop(True)
    assert values(folder) == {}


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_itself_reads_the_file(event_files: Any, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import metadata

    run = write_run(tmp_path / "run", tmp_path / "data", write_images(tmp_path / "data"))
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan | {"best_epoch": 1}))
    writer = event_files()
    writer.begin(start_of(tmp_path))
    writer.epoch(Row(1, 0.5, 0.75))
    writer.finish(run)
    (path,) = (tmp_path / "tensorboard" / "run").iterdir()
    events = [*EventFileLoader(str(path)).Load()]  # checks every checksum
    tags = {value.tag: value for event in events for value in event.summary.value}
    measured = json.loads((run / "evaluation.json").read_text())["test"]["metrics"]
    low = measured["sensitivity"]["low"]
    assert tags["test/sensitivity_low"].tensor.float_val[0] == pytest.approx(low)
    assert b"| batch | 32 | a \\| b |" in tags["plan/text_summary"].tensor.string_val[0]
    assert b"| sensitivity |" in tags["metrics/test/text_summary"].tensor.string_val[0]
    content = tags[metadata.SESSION_START_INFO_TAG].metadata.plugin_data.content
    session = metadata.parse_session_start_info_plugin_data(content)
    assert session.hparams["plan.batch"].number_value == 32
    assert metadata.SESSION_END_INFO_TAG in tags
    drawn = tags[f"test/{TWO[1]}"].tensor
    table = np.frombuffer(drawn.tensor_content, np.float32).reshape(6, 101)
    assert table[:4].sum(axis=0).tolist() == [12.0] * 101
    (image,) = [tag for tag in tags if tag.startswith("roc/test/")]
    assert b"\x89PNG" in tags[image].tensor.SerializeToString()


def test_counts_by_threshold() -> None:
    table = counts(np.array([True, False, True, False]), np.array([0.9, 0.2, 0.505, 0.7]))
    at = dict(zip(np.linspace(0, 1, 101).round(2).tolist(), table.T.tolist(), strict=True))
    assert at[0.0] == [2, 2, 0, 0, 0.5, 1]
    assert at[0.6] == [1, 1, 1, 1, 0.5, 0.5]
    assert at[0.8] == [1, 0, 2, 1, 1, 0.5]
    assert at[1.0] == [0, 0, 2, 2, 0, 0]


def test_a_perfect_curve_goes_along_the_edge() -> None:
    ends = [0.0, 0.0, 1.0]
    file = roc_image({"fpr": ends, "tpr": [0.0, 1.0, 1.0], "low": ends, "high": [1.0] * 3})
    pixels = np.asarray(Image.open(io.BytesIO(file)))
    assert pixels.shape == (360, 360, 3)
    inked = np.argwhere((pixels == (31, 119, 180)).all(axis=2))
    assert inked.min(axis=0).tolist() == [pytest.approx(24, abs=1)] * 2
    assert all(row < 27 or column < 27 for row, column in inked)


# -- MLflow ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a store without any run; to make its tables takes seconds."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of an empty store in the working folder."""
    from mlflow import MlflowClient

    from lucency.tracking.mlflow_run import own_store

    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_store, tmp_path)
    return MlflowClient(own_store())


def only_run(store: Any) -> Any:
    (run,) = store.search_runs([store.get_experiment_by_name("lucency").experiment_id])
    return run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_the_run_and_answers_with_its_classifier(store: Any, tmp_path: Path) -> None:
    import pandas as pd
    from mlflow import pyfunc

    from lucency.tracking.mlflow_run import MlflowRun

    entries = write_images(tmp_path / "data")
    run = write_run(tmp_path / "run", tmp_path / "data", entries)
    classifier = Classifier.load(run)
    pixels = np.zeros((2, 8, 8, 1), np.uint8)
    classifier.reference_images = ReferenceImages(pixels, np.float32([[1, 0], [1, 0]]))
    classifier.save(run)
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan | {"best_epoch": 2}))
    for name in ("report.html", "model_card.md"):
        (run / name).write_text("of this run")
    writer = MlflowRun()
    writer.begin(start_of(tmp_path))
    for row in (Row(1, 0.5, 0.75), Row(2, 0.25, 0.5)):
        writer.epoch(row)
    assert writer.finish(run) == "In MLflow: models:/chest-radiographs-2019/1"

    held = only_run(store)
    assert held.info.status == "FINISHED"
    assert held.data.params["plan.batch"] == "32"
    assert held.data.metrics["val_loss"] == 0.5
    measured = json.loads((run / "evaluation.json").read_text())["test"]["metrics"]
    assert held.data.metrics["test/sensitivity_high"] == measured["sensitivity"]["high"]
    assert held.data.tags["lucency.sha256"] == classifier.fingerprint
    assert held.data.tags["lucency.data_fingerprint"] == "f" * 64
    artifacts = {each.path for each in store.list_artifacts(held.info.run_id)}
    assert artifacts == {"evaluation.json", "model_card.md", "plan.json", "report.html"}

    files = {path.name for path in (tmp_path / "mlruns").rglob("classifier/*")}
    assert files == {"classifier.json", "weights.safetensors", "model.onnx"}  # nothing of patients
    names = [str(p) for p in (tmp_path / "mlruns").rglob("*") if p.suffix in (".pkl", ".pickle")]
    assert names == []

    version = store.get_model_version("chest-radiographs-2019", "1")
    served = pyfunc.load_model(str(next((tmp_path / "mlruns").rglob("MLmodel")).parent))
    assert version.run_id == held.info.run_id
    image = tmp_path / "data" / entries[-1].file
    text = base64.b64encode(image.read_bytes()).decode()
    (expected,) = classifier.predict([image])
    answers = served.predict(pd.DataFrame({"image": [text, "%%%", "AAAA"]}))
    assert list(answers) == [
        "decision", "probabilities", "reason", "prediction_set", "ood_score", "notes",
    ]  # fmt: skip
    assert answers["decision"][0] == expected.decision
    assert answers["probabilities"][0] == dict(zip(TWO, expected.probabilities, strict=True))
    assert "empty" in answers["reason"][1]
    assert answers["reason"][2]
    assert answers["probabilities"][1] is answers["decision"][2] is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_in_mlflow_is_gone_on_with(store: Any, tmp_path: Path) -> None:
    import mlflow

    from lucency.tracking.mlflow_run import MlflowRun

    first = MlflowRun()
    first.begin(start_of(tmp_path))
    first.epoch(Row(1, 0.5, 0.75))
    first.stop(True)
    before = only_run(store)
    assert before.info.status == "KILLED"
    second = MlflowRun()
    second.begin(start_of(tmp_path, resumed=True))
    assert only_run(store).info.status == "RUNNING"
    for row in (Row(1, 0.5, 0.75), Row(2, 0.25, 0.5)):
        second.epoch(row)
    second.stop(False)
    held = only_run(store)
    assert held.info.run_id == before.info.run_id
    assert held.info.status == "FAILED"
    seen = store.get_metric_history(held.info.run_id, "val_loss")
    assert [(metric.step, metric.value) for metric in seen] == [(1, 0.75), (2, 0.5)]
    store.delete_run(held.info.run_id)
    MlflowRun().begin(start_of(tmp_path, resumed=True))
    assert only_run(store).info.run_id != held.info.run_id
    assert mlflow.active_run() is None  # a run of the program's own is not touched


# -- the whole way ---------------------------------------------------------------------------------


class Stopping(Heard):
    """Asks to stop when an epoch begins."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at

    def task(self, name: str, total: int, unit: str = "") -> Task:
        if name == self._at:
            raise Interrupted(15)
        return super().task(name, total, unit)


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_a_tracked_run_comes_to_the_same_bytes_also_when_it_is_gone_on_with(
    event_files: Any, tmp_path: Path
) -> None:
    folder = draw_folder(tmp_path / "radiographs", 20)
    config = Config(
        effort="quick",
        size=16,
        epochs=3,
        precision="float32",
        folds=0,
        cache=str(tmp_path / "cache"),
    )
    plain = run_training(folder, config, run=str(tmp_path / "a" / "run"))
    tracked_config = dataclasses.replace(config, track="tensorboard")
    where = str(tmp_path / "b" / "run")
    with pytest.raises(Interrupted):
        run_training(folder, tracked_config, run=where, progress=Stopping("Epoch 3/3"))
    events = tmp_path / "b" / "tensorboard" / "run"
    assert [step for step, _ in values(events)["loss/validation"]] == [1, 2]
    done = run_training(folder, tracked_config, run=where, progress=(listener := Heard()))
    assert "Resuming from the checkpoint at epoch 3, step 1." in listener.notes
    for name in ("weights.safetensors", "predictions.csv", "history.csv", "evaluation.json"):
        assert (done.folder / name).read_bytes() == (plain.folder / name).read_bytes(), name
    seen: Mapping[str, Any] = values(events)
    assert [step for step, _ in seen["loss/validation"]] == [1, 2, 3]
    assert seen["test/auroc"][0][1] == pytest.approx(done.headline.metrics["auroc"].value)
    left = {path.name for path in done.folder.iterdir()}
    assert left == {path.name for path in plain.folder.iterdir()}


def test_the_page_says_what_is_sent() -> None:
    from lucency.tracking.mlflow_run import FILES

    page = (ROOT / "docs/how-to/track.md").read_text()
    (row,) = [line for line in page.splitlines() if line.endswith("| Artifacts of the run |")]
    assert re.findall(r"`([^`]+)`", row) == [*map(str, FILES)]
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/how-to/track.md", "python"):
        exec(compile(block, "docs/how-to/track.md", "exec"), names)  # noqa: S102
    assert names["config"].track == "tensorboard"


def test_numbers_are_logged_without_curves_of_their_bins(event_files: Any, tmp_path: Path) -> None:
    run = write_value_run(tmp_path / "done", draw_values(0))
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan | {"best_epoch": 2}))
    tracker = event_files()
    tracker.begin(start_of(tmp_path))
    tracker.finish(run)
    folder = tmp_path / "tensorboard" / "run"
    found = values(folder)
    document = json.loads((run / "evaluation.json").read_text())["test"]["metrics"]
    for name in ("mean_absolute_error", "r2"):
        assert found[f"test/{name}"] == [(2, pytest.approx(document[name]["value"], rel=1e-6))]
    assert all(b"pr_curve" not in path.read_bytes() for path in folder.iterdir())
