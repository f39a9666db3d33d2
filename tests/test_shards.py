"""Batches in shards: the same bits on any number of devices and workers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Heard, draw_folder
from lucency import backend
from lucency.cluster import connect, connection
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.dataset.batches import TrainingBatch, training_batches
from lucency.errors import BackendError, ConfigError
from lucency.training.plan import Plan, make_plan

SMALL: dict[str, Any] = {
    "effort": "quick", "size": 16, "epochs": 2, "batch": 24, "shards": 3, "folds": 0,
    "precision": "float32", "start": "scratch",
}  # fmt: skip

needs_jax = pytest.mark.skipif(
    backend.choose_backend() != "jax", reason="shards need JAX: KERAS_BACKEND=jax"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = draw_folder(tmp_path_factory.mktemp("shards") / "spots", 40)
    return load_dataset(folder, Config(**SMALL))


def plan_for(data: Dataset, **changed: Any) -> Plan:
    return make_plan(data.train, Config(**SMALL | changed))


def batches_of(data: Dataset, plan: Plan) -> list[TrainingBatch]:
    return [*training_batches(data.train, plan.batch, plan.augmentation, 0, 0)]


def hash_of(arrays: Any) -> str:
    return hashlib.sha256(b"".join(np.asarray(each).tobytes() for each in arrays)).hexdigest()


# -- the plan --------------------------------------------------------------------------------------


def test_a_plan_with_shards_has_larger_batches_and_rates(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "choose_backend", lambda: "jax")
    one, two = (plan_for(data, batch=None, shards=shards) for shards in (1, 2))
    assert (one.batch, two.batch) == (32, 2 * (len(data.train) // 2))  # no more than there are
    assert two.learning_rate == pytest.approx(2**0.5 * one.learning_rate)
    assert plan_for(data, shards=5).batch == 20
    assert plan_for(data, learning_rate=1e-4).learning_rate == 1e-4


def test_more_shards_than_images_are_rejected(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "choose_backend", lambda: "jax")
    with pytest.raises(ConfigError, match="at most the number of images per step, of which there"):
        plan_for(data, batch=4, shards=5)


def test_shards_without_jax_are_rejected(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "choose_backend", lambda: "tensorflow")
    with pytest.raises(BackendError, match="shards needs JAX: set KERAS_BACKEND=jax"):
        plan_for(data)


@pytest.mark.parametrize("other", [{"recipe": "article"}, {"effort": "20min"}])
def test_shards_of_other_trainings_are_rejected(other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="shards needs --recipe default"):
        Config(shards=2, **other)


# -- steps -----------------------------------------------------------------------------------------

DEVICES = """
import sys
sys.path[:0] = sys.argv[1:]
import numpy as np
from test_shards import hash_of, program, values_of
step, start, shards = program()
first = values_of(step.optimizer.variables)
for given in (slice(0, 1), slice(0, 2), slice(None, None, -1)):
    variables, slots = start, first
    for _ in range(3):
        computed = step.on_devices(variables, shards, step.devices[given])
        largest = computed.largest
        variables, slots, loss, accuracy = step.update(
            variables, slots, [computed.sum(largest)], largest
        )
    print(hash_of([*variables.trainable, *variables.state, *slots, loss, accuracy]))
"""


def values_of(variables: Any) -> list[Any]:
    return [each.value for each in variables]


@functools.cache
def program() -> tuple[Any, Any, list[Any]]:
    """Return the program of a step, the variables of a small network, and the shards of a batch."""
    keras = backend.load_keras()
    backend.make_deterministic(0)
    from lucency.models import default

    network = default(2, (16, 16, 1), width=4, blocks=(1,))
    model = keras.Model(network.input, network.get_layer("logits").output)
    optimizer = keras.optimizers.AdamW(1e-2)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.BinaryCrossentropy(True)
    step = backend.ShardedStep(model, loss, optimizer, 3)
    variables = backend.Variables(
        values_of(model.trainable_variables), values_of(model.non_trainable_variables)
    )
    random = np.random.default_rng(0)
    shards = [
        backend.Shard(
            k,
            [random.integers(0, 256, (8, 16, 16, 1)).astype(np.float32)],
            random.integers(0, 2, (8, 1)).astype(np.float32),
            np.linspace(0.5, 1.5, 8, dtype=np.float32),
        )
        for k in range(3)
    ]
    return step, variables, shards


@needs_jax
@pytest.mark.slow
@pytest.mark.backend
def test_any_number_of_devices_gives_the_same_bits() -> None:
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DEVICES, *sys.path],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    hashes = done.stdout.split()
    assert len(hashes) == 3
    assert len(set(hashes)) == 1


@needs_jax
@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:The structure of:UserWarning")
def test_the_mean_of_shards_is_exact() -> None:
    step, variables, shards = program()
    computed = step.on_devices(variables, shards)
    largest = computed.largest
    means = step._mean(computed.sum(largest), largest)
    for i, mean in enumerate(means):
        values = np.array([np.asarray(each[i], np.float64) for each in computed.values])
        error = np.abs(np.asarray(mean) - values.mean(axis=0)).max()
        assert error <= 2.0**-23 * np.abs(values).max()


@needs_jax
@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:The structure of:UserWarning")
def test_each_shard_has_a_dropout_of_its_own_and_no_order() -> None:
    step, variables, shards = program()
    same = [shards[0]._replace(number=k) for k in range(3)]
    values = step.on_devices(variables, same).values
    assert not np.array_equal(values[0][-2], values[1][-2])  # the losses
    largest = step.on_devices(variables, shards).largest
    sums = [
        [np.asarray(x) for x in step.on_devices(variables, order).sum(largest)]
        for order in (shards, shards[::-1])
    ]
    assert hash_of(sums[0]) == hash_of(sums[1])


@needs_jax
@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:The structure of:UserWarning")
def test_what_is_not_finite_shows_as_such() -> None:
    step, variables, shards = program()
    broken = shards[1]._replace(weights=np.full(8, np.inf, np.float32))
    computed = step.on_devices(variables, [shards[0], broken, shards[2]])
    largest = computed.largest
    slots = values_of(step.optimizer.variables)
    _, _, loss, _ = step.update(variables, slots, [computed.sum(largest)], largest)
    assert np.isnan(loss)


@needs_jax
@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.usefixtures("small_network")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:os.fork:RuntimeWarning")  # of Ray
def test_workers_of_a_cluster_give_the_same_bits_also_where_one_dies(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason='no Ray: pip install "lucency[cluster]"')
    from lucency.training.parallel import ClusterStepper, ParallelStepper
    from lucency.training.trainer import build_network

    plan, heard = plan_for(data), Heard()
    batches = batches_of(data, plan)
    backend.make_deterministic(0)
    here = ParallelStepper(build_network(plan, 2), plan, 2)
    expected = [here.train(batch, 1e-3) for batch in batches]

    monkeypatch.setattr(connection, "_connected", {})
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.99:1")  # another cluster does not matter
    try:
        connect("local:2")
        backend.make_deterministic(0)
        there = ClusterStepper(build_network(plan, 2), plan, 2, on="local:2", progress=heard)
        found = []
        for k, batch in enumerate(batches):
            if k == 1:
                ray.kill(there._workers[0])
            found.append(there.train(batch, 1e-3))
        there.release()
    finally:
        ray.shutdown()
    assert found == expected
    ours, theirs = there.capture(), here.capture()
    assert hash_of([*ours.network, *ours.optimizer]) == hash_of(
        [*theirs.network, *theirs.optimizer]
    )
    assert heard.warnings == [
        "A worker of the cluster died (workers left: 1). The step is repeated."
    ]


@needs_jax
@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.usefixtures("small_network")
def test_a_training_in_shards_resumes_to_the_same_bytes(data: Dataset, tmp_path: Path) -> None:
    from lucency.signals import Interrupted
    from lucency.training.train import train

    config = Config(**SMALL | {"checkpoint_seconds": 0})
    whole = train(data.train, data.val, config)

    def interrupt(_: Any) -> None:
        raise Interrupted(15)

    with pytest.raises(Interrupted):
        train(data.train, data.val, config, checkpoints=tmp_path, on_epoch=interrupt)
    resumed = train(data.train, data.val, config, checkpoints=tmp_path)
    assert hash_of(resumed.weights.values()) == hash_of(whole.weights.values())
    assert dataclasses.asdict(resumed.spec) == dataclasses.asdict(whole.spec)
