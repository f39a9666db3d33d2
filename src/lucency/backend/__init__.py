"""The only package that names TensorFlow, JAX or PyTorch.

    choice       which one runs, and what differs between them
    onnx_file    a Keras model as ONNX, on each of them
    exchange     Keras archives, SavedModel and LiteRT, made and run

All else is ``keras``, ``keras.ops`` and NumPy.
"""

from __future__ import annotations

from lucency.backend.choice import (
    BACKENDS,
    add_bias,
    choose_backend,
    device,
    environment,
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
    keras_runner,
    litert_runner,
    save_keras,
    saved_model_runner,
)
from lucency.backend.onnx_file import export_onnx

__all__ = [
    "BACKENDS",
    "add_bias",
    "choose_backend",
    "device",
    "environment",
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "has_fast_bfloat16",
    "is_out_of_memory",
    "is_slow_here",
    "keep_compiled",
    "keras_runner",
    "litert_runner",
    "load_keras",
    "machine",
    "make_deterministic",
    "normalized",
    "prefer_tensorflow",
    "save_keras",
    "saved_model_runner",
    "waits_for_memory",
]
