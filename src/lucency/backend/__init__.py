"""The only package that names TensorFlow or JAX.

    choice         which of them runs, and the differences between them
    onnx_file      export a Keras model as ONNX
    onnx_rewrites  operators of the exporters that ONNX Runtime cannot run
    exchange       export to SavedModel and LiteRT, and run these files
    shards         training steps on several devices, with the same bits

Everything else uses ``keras``, ``keras.ops`` and NumPy.
"""

from __future__ import annotations

from lucency.backend.choice import (
    BACKENDS,
    add_bias,
    choose_backend,
    device,
    environment,
    for_the_same_bits,
    has_fast_bfloat16,
    is_out_of_memory,
    is_slow_here,
    keep_compiled,
    load_keras,
    machine,
    make_deterministic,
    normalized,
    prefer_tensorflow,
    waits_for_memory,
)
from lucency.backend.exchange import (
    export_litert,
    export_saved_model,
    litert_runner,
    saved_model_runner,
)
from lucency.backend.onnx_file import export_onnx
from lucency.backend.shards import OF_WORKERS, Arrays, Computed, Shard, ShardedStep, Variables

__all__ = [
    "BACKENDS",
    "OF_WORKERS",
    "Arrays",
    "Computed",
    "Shard",
    "ShardedStep",
    "Variables",
    "add_bias",
    "choose_backend",
    "device",
    "environment",
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "for_the_same_bits",
    "has_fast_bfloat16",
    "is_out_of_memory",
    "is_slow_here",
    "keep_compiled",
    "litert_runner",
    "load_keras",
    "machine",
    "make_deterministic",
    "normalized",
    "prefer_tensorflow",
    "saved_model_runner",
    "waits_for_memory",
]
