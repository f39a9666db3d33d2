"""Training steps in shards: what exact sums cost, and whether devices change a bit.

The network is that of ``quick``. Each step has four shards of 32 images, on one, two and four
devices into which JAX divides the processors. The rival adds the same gradients as floats. Both
take turns, and each ratio compares neighbouring steps.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.command import run_json
from benchmarks.results import Figure, Skipped, ratio

SHARDS, IMAGES, SIDE = 4, 32, 64
DEVICES = (1, 2, 4)


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if not importlib.util.find_spec("jax"):
        raise Skipped('it needs JAX: pip install "lucency[jax]"')
    figures, hashes = [], set()
    for devices in DEVICES:
        flags = f"--xla_force_host_platform_device_count={devices}"
        with patch.dict(os.environ, {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags}):
            found = run_json("benchmarks.speed.shards", 3 if quick else 20)
        n = SHARDS * IMAGES
        exact = Figure(f"{devices} devices: exact sums", "images/s", found["exact"], n)
        floats = Figure(f"{devices} devices: float sums", "images/s", found["floats"], n)
        name = f"{devices} devices: exact / float"
        figures += [exact, floats, ratio(name, exact, floats, least=0.95)]
        hashes.add(found["hash"])
    return [*figures, Figure("different results", "", [len(hashes)], len(DEVICES), most=1)]


def steps(count: int) -> dict[str, Any]:
    """Take steps with exact and with float sums in turns, in this process on JAX."""
    from lucency import backend

    keras = backend.load_keras()
    backend.make_deterministic(0)
    from lucency.models import default

    network = default(2, (SIDE, SIDE, 1))
    model = keras.Model(network.input, network.get_layer("logits").output)
    optimizer = keras.optimizers.AdamW(1e-3)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.BinaryCrossentropy(True)

    class FloatStep(backend.ShardedStep):  # type: ignore[misc]
        def _as_integers(self, values: Any, largest: Any) -> Any:  # noqa: ARG002
            return values

        def _as_mean(self, total: Any, largest: Any) -> Any:  # noqa: ARG002
            return [each / SHARDS for each in total]

    start = (
        backend.Variables(
            [each.value for each in model.trainable_variables],
            [each.value for each in model.non_trainable_variables],
        ),
        [each.value for each in optimizer.variables],
    )
    random = np.random.default_rng(0)
    shards = [
        backend.Shard(
            k,
            [random.integers(0, 256, (IMAGES, SIDE, SIDE, 1)).astype(np.float32)],
            random.integers(0, 2, (IMAGES, 1)).astype(np.float32),
            np.ones(IMAGES, np.float32),
        )
        for k in range(SHARDS)
    ]
    kinds = {"exact": backend.ShardedStep, "floats": FloatStep}
    programs = {name: kind(model, loss, optimizer, SHARDS) for name, kind in kinds.items()}
    states, rates = dict.fromkeys(kinds, start), {name: list[float]() for name in kinds}
    for number in range(-2, count):  # the first two compile
        for name, step in programs.items():
            variables, slots = states[name]
            began = time.perf_counter()
            computed = step.on_devices(variables, shards)
            largest = computed.largest
            sums = [computed.sum(largest)]
            variables, slots, _, _ = step.update(variables, slots, sums, largest)
            if number >= 0:
                rates[name].append(SHARDS * IMAGES / (time.perf_counter() - began))
            states[name] = variables, slots
    variables, slots = states["exact"]
    arrays = (*variables.trainable, *variables.state, *slots)
    content = b"".join(np.asarray(each).tobytes() for each in arrays)
    return rates | {"hash": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    print(json.dumps(steps(int(sys.argv[1]))))
