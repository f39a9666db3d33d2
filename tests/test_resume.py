"""Training that is interrupted anywhere and resumed gives the same bits."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from conftest import Heard
from lucency import signals
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.errors import BackendError, RunError
from lucency.progress import SILENT, Progress
from lucency.signals import Interrupted
from lucency.training.checkpoints import Checkpoints
from lucency.training.fit import fit
from lucency.training.plan import Plan, make_plan
from lucency.training.state import Epoch
from lucency.training.step import Stepper, _kind
from lucency.training.train import train
from lucency.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
FAST = Config(effort="quick", size=32, epochs=3, precision="float32", batch=32)
STEPS = 6  # of an epoch: 168 training images
EPOCH = STEPS + 2  # points in an epoch where training can stop: validation has two batches

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = tmp_path_factory.mktemp("cache")
    return load_dataset(tiny_folder, dataclasses.replace(FAST, cache=str(cache)))


_steppers: dict[str, Stepper] = {}


@contextlib.contextmanager
def lent(
    network: Any, plan: Plan, classes: int, new: Callable[..., Stepper] = Stepper
) -> Iterator[Stepper]:
    """Do what ``borrowed`` does, but keep steps of all kinds, and also after an interruption."""
    key = repr((_kind(plan), classes))
    stepper = _steppers.pop(key, None)
    if stepper:
        stepper.adopt(network, plan)
    else:
        stepper = new(network, plan, classes)
    try:
        yield stepper
    finally:
        stepper.release()
        if stepper.is_whole:
            _steppers[key] = stepper


@pytest.fixture(autouse=True)
def _compiled_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile each kind of step once; what runs on every backend compiles as a new process does."""
    if not request.node.get_closest_marker("backend"):
        monkeypatch.setattr("lucency.training.fit.borrowed", lent)


_plans: dict[Config, Plan] = {}


def planned(data: Dataset, config: Config = FAST) -> Plan:
    """Plan a network that compiles in a second, with all kinds of layers that have a state."""
    if config not in _plans:
        plan = make_plan(data.train, config)
        _plans[config] = dataclasses.replace(plan, parameters={"width": 4, "blocks": (1,)})
    return _plans[config]


def fitted(
    data: Dataset,
    checkpoints: Path | None = None,
    config: Config = FAST,
    *,
    plan: Plan | None = None,
    progress: Progress = SILENT,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Classifier:
    """Train without the calibration, which depends on nothing but the network and the data."""
    found = fit(
        (data.train, data.val), plan or planned(data, config), config,
        progress=progress, on_epoch=on_epoch, checkpoints=checkpoints,
    )  # fmt: skip
    return found.network


@pytest.fixture(scope="module")
def uninterrupted(data: Dataset) -> Classifier:
    assert -(-len(data.train) // 32) == STEPS
    return fitted(data)


def interrupted_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a signal at the n-th point at which training can stop, from 1."""
    calls = iter(range(1, 10**6))

    def check() -> None:
        if next(calls) == call:
            raise Interrupted(15)

    monkeypatch.setattr(signals, "check", check)


def stopped_at(call: int, data: Dataset, folder: Path, config: Config = FAST, **given: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupted_at(call, patch)
        with pytest.raises(Interrupted):
            fitted(data, folder, config, **given)


def facts(classifier: Classifier) -> dict[str, Any]:
    """Return what must not depend on how often training was interrupted, before calibration."""
    rows = [dataclasses.asdict(row) for row in classifier.history]
    times = {"seconds", "images_per_second"}
    return {
        "weights": {name: array.tobytes() for name, array in classifier.weights.items()},
        "history": [{k: v for k, v in row.items() if k not in times} for row in rows],
        "best": classifier.best_epoch,
        "training": classifier.training,
    }


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param((3,), marks=pytest.mark.backend),
        (STEPS,),
        (STEPS + 1,),
        (EPOCH + 1,),
        pytest.param((1, 2, EPOCH, 5), marks=pytest.mark.backend),
        (3 * EPOCH + 1,),
    ],
    ids=["inside an epoch", "last step", "during validation", "first step of the second",
         "four times", "after the end"],
)  # fmt: skip
def test_interrupted_anywhere_and_resumed(
    calls: tuple[int, ...], data: Dataset, uninterrupted: Classifier, tmp_path: Path
) -> None:
    for call in calls:
        if call <= 3 * EPOCH:
            stopped_at(call, data, tmp_path)
        else:
            fitted(data, tmp_path)
    heard = Heard()
    rows: list[Any] = []
    again = fitted(data, tmp_path, progress=heard, on_epoch=rows.append)
    assert any("Resuming" in line for line in heard.notes)
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert facts(again) == facts(uninterrupted)


def test_what_is_resumed_is_calibrated_to_the_same_bits(data: Dataset, tmp_path: Path) -> None:
    stopped_at(EPOCH + 3, data, tmp_path)
    again, whole = (
        train(data.train, data.val, FAST, plan=planned(data), checkpoints=folder)
        for folder in (tmp_path, None)
    )
    assert facts(again) == facts(whole)
    assert again.spec == whole.spec
    found, expected = (each.predict_split(data.val) for each in (again, whole))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("monitor", ["log_loss", "accuracy"])
def test_the_best_epoch_and_the_patience_survive(
    monitor: str, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation gets worse after the first epoch, so that patience ends training."""
    plan = dataclasses.replace(planned(data), epochs=6, monitor=monitor, patience=2)
    original = Trainer._validate

    def worse(self: Trainer) -> dict[str, float]:
        epoch = self.state.epoch
        values = original(self)
        return values | {"val_loss": 0.1 + epoch, "val_accuracy": 0.9 - epoch / 10}

    monkeypatch.setattr(Trainer, "_validate", worse)
    whole = fitted(data, plan=plan)
    assert (whole.best_epoch, len(whole.history)) == (1, 3)
    stopped_at(EPOCH + 2, data, tmp_path, plan=plan)
    assert facts(fitted(data, tmp_path, plan=plan)) == facts(whole)


def test_other_plans_data_and_backends_are_rejected_by_name(data: Dataset, tmp_path: Path) -> None:
    stopped_at(2, data, tmp_path)

    def rejected(config: Config, changed: Dataset = data) -> str:
        with pytest.raises(RunError) as caught:
            fitted(changed, tmp_path, config)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "learning_rate is 0.003 there and 0.001 here" in rejected(
        dataclasses.replace(FAST, learning_rate=1e-3)
    )
    assert "positive is light there and dark here" in rejected(
        dataclasses.replace(FAST, positive="dark")
    )
    assert "precision is float32 there and mixed_bfloat16 here" in rejected(
        dataclasses.replace(FAST, precision="mixed_bfloat16")
    )
    fewer = dataclasses.replace(
        data.val, files=data.val.files[1:], groups=data.val.groups[1:],
        labels=data.val.labels[1:], rows=data.val.rows[1:],
    )  # fmt: skip
    assert "val is" in rejected(FAST, dataclasses.replace(data, val=fewer))
    state = json.loads(next(tmp_path.glob("*-step-2/state.json")).read_text())
    assert state["identity"]["backend"]["backend"] in ("tensorflow", "jax")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lucency.training.fit.backend.device", lambda: "gpu")
        patch.setattr("lucency.training.fit.backend.environment", lambda: {"device": "gpu"})
        assert "device is cpu there and gpu here" in rejected(FAST)


def test_other_versions_are_warned_of(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(2, data, tmp_path)
    from lucency import backend

    made = backend.environment()
    monkeypatch.setattr("lucency.training.fit.backend.environment", lambda: made | {"keras": "9.9"})
    heard = Heard()
    stopped_at(1, data, tmp_path, progress=heard)
    assert any("keras is" in line and "last digits" in line for line in heard.warnings)


def test_another_device_may_have_finished_the_training(
    data: Dataset, uninterrupted: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(data, tmp_path)
    from lucency import backend

    made = backend.environment()
    monkeypatch.setattr(
        "lucency.training.fit.backend.environment", lambda: made | {"device": "gpu"}
    )
    heard = Heard()
    assert facts(fitted(data, tmp_path, progress=heard)) == facts(uninterrupted)
    assert any("device is cpu there and gpu here" in line for line in heard.warnings)


def test_a_damaged_checkpoint_is_warned_of_and_the_one_before_it_used(
    data: Dataset, uninterrupted: Classifier, tmp_path: Path
) -> None:
    config = dataclasses.replace(FAST, checkpoint_seconds=0)
    stopped_at(EPOCH + 3, data, tmp_path, config)
    newest = max(tmp_path.glob("[0-9]*"))
    assert newest.name.endswith("-epoch-2-step-3")
    file = newest / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    heard = Heard()
    again = fitted(data, tmp_path, progress=heard)
    (line,) = heard.warnings
    assert line.startswith("DAMAGED CHECKPOINT, not used:")
    assert str(newest) in line
    assert not newest.exists(), "it would displace a valid one"
    assert facts(again) == facts(uninterrupted)


def test_two_checkpoints_and_the_last_epoch_start_are_kept(data: Dataset, tmp_path: Path) -> None:
    config = dataclasses.replace(FAST, checkpoint_seconds=0)
    stopped_at(EPOCH + 4, data, tmp_path, config)
    assert sorted(path.name.partition("-")[2] for path in tmp_path.glob("[0-9]*")) == [
        "epoch-2", "epoch-2-step-3", "epoch-2-step-4",
    ]  # fmt: skip
    stopped_at(EPOCH, data, tmp_path, config)
    names = sorted(path.name.partition("-")[2] for path in tmp_path.glob("[0-9]*"))
    assert len(names) == 3
    assert "epoch-3" in names


# -- faults ----------------------------------------------------------------------------------------


def losing(monkeypatch: pytest.MonkeyPatch, corrupted: Mapping[int, float]) -> list[int]:
    """Make the n-th steps, from 1, corrupt all weights and report these losses."""
    taken: list[int] = []
    original = Stepper.train

    def train_on(self: Stepper, *given: Any) -> Mapping[str, float]:
        seen = original(self, *given)
        taken.append(1)
        if (loss := corrupted.get(len(taken))) is None:
            return seen
        for variable in self.network.trainable_variables:
            variable.assign(np.full(variable.shape, np.nan, np.float32))
        return dict(seen) | {"loss": loss}

    monkeypatch.setattr(Stepper, "train", train_on)
    return taken


def test_nan_restarts_the_epoch_at_half_the_rate(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, {STEPS + 3: math.nan})
    heard = Heard()
    found = fitted(data, tmp_path, progress=heard)
    (line,) = heard.warnings
    assert "epoch 2, step 3: the loss is not a number" in line
    assert found.training["divergences"] == [
        {"epoch": 2, "step": 3, "reason": "the loss is not a number"}
    ]
    assert len(found.history) == 3
    assert all(np.isfinite(array).all() for array in found.weights.values())
    whole = [row.learning_rate for row in fitted(data).history]
    rates = [row.learning_rate for row in found.history]
    assert rates == [whole[0], whole[1] / 2, whole[2] / 2]


def test_divergences_do_not_depend_on_where_training_was_interrupted(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch diverges at its fifth step, as long as its rate is the planned one."""
    original = Stepper.train
    threshold = 0.0025  # what the cosine allows in the second epoch only at the full rate

    def fragile(self: Stepper, batch: Any, rate: float) -> Mapping[str, float]:
        seen = dict(original(self, batch, rate))
        count = int(self.capture().optimizer[0])
        bad = count == STEPS + 5 and rate > threshold / 2
        return seen | ({"loss": math.inf} if bad else {})

    monkeypatch.setattr(Stepper, "train", fragile)
    whole = facts(fitted(data))
    assert len(whole["training"]["divergences"]) == 1
    for call in (EPOCH + 3, EPOCH + 6):  # before it diverges, and after the restart
        folder = tmp_path / str(call)
        stopped_at(call, data, folder, dataclasses.replace(FAST, checkpoint_seconds=0))
        assert facts(fitted(data, folder)) == whole


def test_after_three_restarts_training_ends_with_the_last_good_weights(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, {STEPS + n: math.inf for n in range(1, 5)})
    heard = Heard()
    found = fitted(data, progress=heard)
    assert len(heard.warnings) == 4
    assert "with the weights of epoch 1" in heard.warnings[-1]
    assert (found.best_epoch, len(found.history)) == (1, 1)
    assert all(np.isfinite(array).all() for array in found.weights.values())


def test_training_that_only_diverges_fails_and_suggests_a_lower_rate(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, dict.fromkeys(range(1, 9), math.nan))
    with pytest.raises(RunError, match=r"--set learning_rate=0\.0003") as caught:
        fitted(data)
    assert "\n" not in str(caught.value)


def test_a_rate_that_is_too_high_is_reduced(data: Dataset) -> None:
    """No fault is injected here: the rate is a thousand times too high."""
    heard = Heard()
    config = dataclasses.replace(FAST, learning_rate=10.0, epochs=6)
    # Three blocks, as one alone stands any rate.
    small = {"width": 4, "blocks": (1, 1, 1)}
    plan = dataclasses.replace(make_plan(data.train, config), parameters=small)
    found = fitted(data, config=config, plan=plan, progress=heard)
    assert all(np.isfinite(array).all() for array in found.weights.values())
    assert any("diverged" in line for line in heard.warnings)


class OutOfMemoryError(Exception):
    """As TensorFlow words it."""

    def __str__(self) -> str:
        return "OOM when allocating tensor with shape[32,24,16,16]"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Limit how many images can be computed at once."""
    original = Stepper.train

    def limit(most: int) -> None:
        def train_on(self: Stepper, *given: Any) -> Mapping[str, float]:
            if self.micro > most:
                raise OutOfMemoryError
            return original(self, *given)

        monkeypatch.setattr(Stepper, "train", train_on)

    return limit


def test_out_of_memory_halves_the_micro_batch(
    data: Dataset, tmp_path: Path, little_memory: Callable[[int], None]
) -> None:
    little_memory(8)
    heard = Heard()
    found = fitted(data, tmp_path, progress=heard)
    assert [("16 at a time" in a, "8 at a time" in b) for a, b in [heard.warnings]] == [
        (True, True)
    ]
    assert found.training["micro_batch"] == 8
    assert len(found.history) == 3
    assert math.isfinite(found.history[-1].val_loss)
    shutil.rmtree(tmp_path)
    stopped_at(STEPS + 2, data, tmp_path)
    assert facts(fitted(data, tmp_path)) == facts(found)


def test_a_crash_of_the_last_process_counts_as_out_of_memory(data: Dataset, tmp_path: Path) -> None:
    stopped_at(2, data, tmp_path)
    assert (tmp_path / ".crash").read_bytes() == b""
    (tmp_path / ".crash").write_bytes(b"Fatal Python error: Segmentation fault")
    heard = Heard()
    stopped_at(1, data, tmp_path, progress=heard)
    assert "crashed in compiled code" in heard.warnings[0]
    assert "16 at a time" in heard.warnings[1]
    (tmp_path / ".crash").unlink()
    (tmp_path / ".crash").mkdir()  # where no trace can be written
    heard = Heard()
    found = fitted(data, tmp_path, progress=heard)
    assert found.training["micro_batch"] == 16
    assert any("leave no trace" in line for line in heard.warnings)


CRASHING = """
import ctypes, sys
from pathlib import Path
from benchmarks.small_network import without_extras
without_extras()
from lucency.training.checkpoints import Checkpoints
kept = Checkpoints(Path(sys.argv[1]), {}, seconds=0, largest=0)
with kept.traced():
    ctypes.string_at(0)
"""


def test_a_real_crash_leaves_a_trace_and_a_kill_does_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CRASHING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGSEGV
    assert Checkpoints(tmp_path, {}, seconds=0, largest=0).crashed()
    quiet = CRASHING.replace("ctypes.string_at(0)", "import os; os.kill(os.getpid(), 9)")
    command[2] = quiet
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert not Checkpoints(tmp_path, {}, seconds=0, largest=0).crashed()


def test_out_of_memory_beyond_recovery_is_one_line_and_left_to_the_next_process(
    data: Dataset, tmp_path: Path, little_memory: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    little_memory(8)
    monkeypatch.setattr(Stepper, "restore", Mock(side_effect=MemoryError()))
    with pytest.raises(BackendError, match="Run the same command again") as caught:
        fitted(data, tmp_path)
    assert "\n" not in str(caught.value)
    assert Checkpoints(tmp_path, {}, seconds=0, largest=0).crashed()


def test_out_of_memory_with_one_image_is_one_line(
    data: Dataset, little_memory: Callable[[int], None]
) -> None:
    little_memory(0)
    with pytest.raises(BackendError, match="one image at a time") as caught:
        fitted(data)
    assert "\n" not in str(caught.value)


def test_a_batch_in_micro_batches_is_the_same_step(data: Dataset) -> None:
    """Without batch statistics and dropout, the results are equal up to rounding."""
    from lucency import backend
    from lucency.dataset.batches import training_batches
    from lucency.training.trainer import build_network

    plan = dataclasses.replace(make_plan(data.train, FAST), architecture="article", parameters={})
    plan = dataclasses.replace(plan, network_channels=3, batch=30)
    batch = next(training_batches(data.train, 30, plan.augmentation, 0, 0))
    results = []
    for micro in (30, 15, 1):
        backend.make_deterministic(0)
        network = build_network(plan, 2)
        for layer in network.layers:
            if "dropout" in layer.name:
                layer.rate = 0.0
        stepper = Stepper(network, plan, 2)
        while stepper.micro > micro:
            stepper.shrink()
        assert stepper.micro == micro
        losses = [stepper.train(batch, 1e-3)["loss"] for _ in range(3)]
        results.append((losses, stepper.capture()))
    (whole, weights), *others = results
    for losses, parts in others:
        np.testing.assert_allclose(losses, whole, rtol=1e-4)
        assert int(parts.optimizer[0]) == int(weights.optimizer[0]) == 3
        assert [a.shape for a in parts.optimizer] == [a.shape for a in weights.optimizer]
        for ours, theirs in zip(parts.network, weights.network, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-4)
