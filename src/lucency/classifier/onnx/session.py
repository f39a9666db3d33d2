"""ONNX Runtime on a network that has been validated, within a memory limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier.onnx.cost import Needs
from lucency.classifier.onnx.validate import INPUT, check_graph
from lucency.classifier.spec import Spec
from lucency.errors import ClassifierError
from lucency.imaging.decoder.pool import Pixels
from lucency.run_folder.files import ONNX

BATCH = 32
PROCESSORS = os.cpu_count() or 1
_PIXELS = 2**19  # of one batch: 8 images of 256 x 256; more at once are slower, not faster
_ALWAYS = 256 * 2**20
_LOCK = threading.Lock()


def batch_of(spec: Spec) -> int:
    """Return how many images are run at once, 1 to 32.

    For large images it is the number of processors, at most 8.
    """
    return max(min(PROCESSORS, 8), min(BATCH, _PIXELS // (spec.size[0] * spec.size[1])))


def batch_per_processor(spec: Spec) -> int:
    """Return how many images of a batch each processor runs."""
    return -(-batch_of(spec) // PROCESSORS)


def memory_limit(needs: Needs, batch: int) -> int:
    """Return the bytes that ONNX Runtime may allocate for weights and values.

    Weights are copied once in a layout for the processor; only a few values exist at a time.
    """
    return _ALWAYS + 6 * (needs.weights + needs.folded + batch * needs.largest)


class Session:
    """A validated ONNX file, ready to run.

    Args:
        onnx: The file.
        spec: The values of ``classifier.json``.
        threads: How many images are computed in parallel; 0 for one per processor.

    Attributes:
        outputs: Names of its outputs.

    Raises:
        ClassifierError: The file is not valid, needs too much memory or cannot be run.
    """

    def __init__(self, onnx: bytes, spec: Spec, threads: int = 0) -> None:
        try:
            needs = check_graph(onnx, spec)
        except ValueError as error:
            raise ClassifierError(
                f"{ONNX} is rejected: {error}. Use a run folder from a source that you trust, or "
                "train again."
            ) from error
        self._classes = len(spec.classes)
        self._several = bool(spec.labels)
        self._runtime = _started(onnx, needs, memory_limit(needs, batch_of(spec)))
        self._share = -(-batch_of(spec) // threads) if threads else batch_per_processor(spec)
        self._threads = ThreadPoolExecutor(threads or PROCESSORS, "network")
        self.outputs = {value.name for value in self._runtime.get_outputs()}

    def run(self, names: Sequence[str], pixels: Pixels) -> Mapping[str, NDArray[np.float32]]:
        """Return the outputs of these names for images at the input's size.

        Several threads may call it at the same time. A batch is split among the processors.

        Raises:
            ClassifierError: There is no such output, it needs too much memory, or it is invalid.
        """
        if missing := sorted(set(names) - self.outputs):
            raise ClassifierError(f"{ONNX} has no output {missing[0]!r}. Train again.")
        shares = -(-len(pixels) // self._share)
        if shares <= 1:
            return self._run(names, pixels)
        outputs = [*self._threads.map(partial(self._run, names), np.array_split(pixels, shares))]
        return {name: np.concatenate([each[name] for each in outputs]) for name in names}

    def _run(self, names: Sequence[str], pixels: Pixels) -> Mapping[str, NDArray[np.float32]]:
        try:
            values = self._runtime.run(list(names), {INPUT: pixels})
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise ClassifierError(
                f"{ONNX} cannot be run ({_short(error)}). Train again."
            ) from error
        outputs = dict(zip(names, values, strict=True))
        self._check(outputs["probabilities"], len(pixels))
        return outputs

    def _check(self, probabilities: NDArray[np.float32], images: int) -> None:
        fits = probabilities.shape == (images, self._classes)
        # Comparisons with NaN are false.
        if not fits or not ((probabilities >= 0) & (probabilities <= 1 + 1e-5)).all():
            raise ClassifierError(
                f"{ONNX} returns invalid probabilities: expected {images} x {self._classes} "
                f"numbers from 0 to 1, received {probabilities.shape}. Train again."
            )
        # Of several labels, all may be absent for certain.
        if not self._several and not (probabilities.sum(axis=1) > 0).all():
            raise ClassifierError(f"{ONNX} returns probabilities that are all 0. Train again.")


def _started(onnx: bytes, needs: Needs, limit: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread per image, several images in parallel: threads that share a layer wait for each
    # other at its end. On 2 cores this is 1.1 to 1.2 times as fast.
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, and need not be printed as well
    entries = {
        "session.load_model_format": "ONNX",  # whatever its first bytes are
        "session.use_env_allocators": "1",
        "optimization.constant_folding_max_output_size_in_bytes": str(max(needs.largest, 2**20)),
    }
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    try:
        with _LOCK:  # the allocator is global: the next session uses the registered one
            onnxruntime.create_and_register_allocator(
                memory, onnxruntime.OrtArenaCfg({"max_mem": limit, "arena_extend_strategy": 1})
            )
            return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ClassifierError(f"{ONNX} cannot be run ({_short(error)}). Train again.") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
