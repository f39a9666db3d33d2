"""ONNX Runtime on a network that has been checked, with a limit to the memory that it may take."""

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
from lucency.classifier.stored_files import ONNX
from lucency.errors import ClassifierError

BATCH = 32
PROCESSORS = os.cpu_count() or 1
_PIXELS = 2**19  # of one batch: 8 images of 256 x 256; more at once are slower, not faster
_ALWAYS = 256 * 2**20
_LOCK = threading.Lock()


def batch_of(spec: Spec) -> int:
    """Return how many images go through the network at once, 1 to 32.

    Large ones are as many as there are processors, but 8 at most.
    """
    return max(min(PROCESSORS, 8), min(BATCH, _PIXELS // (spec.size[0] * spec.size[1])))


def part_of(spec: Spec) -> int:
    """Return how many images of a batch each processor takes."""
    return -(-batch_of(spec) // PROCESSORS)


def memory_limit(needs: Needs, batch: int) -> int:
    """Return the bytes that ONNX Runtime may take for weights and values.

    Weights are copied once in the order that the processor likes, values live a few at a time.
    """
    return _ALWAYS + 6 * (needs.weights + needs.folded + batch * needs.largest)


class Session:
    """A checked ONNX file, ready to run.

    Args:
        onnx: The file.
        spec: What ``classifier.json`` says.

    Attributes:
        outputs: Names of the answers that it can give.

    Raises:
        ClassifierError: The file is none of ours, asks for too much or cannot be run.
    """

    def __init__(self, onnx: bytes, spec: Spec) -> None:
        try:
            needs = check_graph(onnx, spec)
        except ValueError as error:
            raise ClassifierError(
                f"{ONNX} is refused: {error}. Take a run folder from whom you trust, or train "
                "again."
            ) from error
        self._classes = len(spec.classes)
        self._runtime = _started(onnx, needs, memory_limit(needs, batch_of(spec)))
        self._part = part_of(spec)
        self._threads = ThreadPoolExecutor(PROCESSORS, "network")
        self.outputs = {value.name for value in self._runtime.get_outputs()}

    def run(
        self, names: Sequence[str], pixels: NDArray[np.uint8]
    ) -> Mapping[str, NDArray[np.float32]]:
        """Return the answers of these names for images at the input's size.

        Threads may call it at once. A batch is divided among the processors.

        Raises:
            ClassifierError: There is no such answer, it needs too much memory, or it is no answer.
        """
        if missing := sorted(set(names) - self.outputs):
            raise ClassifierError(f"{ONNX} gives no {missing[0]!r}. Train again.")
        shares = -(-len(pixels) // self._part)
        if shares <= 1:
            return self._run(names, pixels)
        said = [*self._threads.map(partial(self._run, names), np.array_split(pixels, shares))]
        return {name: np.concatenate([each[name] for each in said]) for name in names}

    def _run(
        self, names: Sequence[str], pixels: NDArray[np.uint8]
    ) -> Mapping[str, NDArray[np.float32]]:
        try:
            said = self._runtime.run(list(names), {INPUT: pixels})
        except Exception as error:  # ONNX Runtime's have no class in common
            raise ClassifierError(
                f"{ONNX} cannot be run ({_short(error)}). Train again."
            ) from error
        answers = dict(zip(names, said, strict=True))
        self._check(answers["probabilities"], len(pixels))
        return answers

    def _check(self, probabilities: NDArray[np.float32], images: int) -> None:
        sound = probabilities.shape == (images, self._classes)
        # NaN is not within any bounds.
        if not sound or not ((probabilities >= 0) & (probabilities <= 1 + 1e-5)).all():
            raise ClassifierError(
                f"{ONNX} gives probabilities that are none: expected {images} x {self._classes} "
                f"numbers from 0 to 1, received {probabilities.shape}. Train again."
            )
        if not (probabilities.sum(axis=1) > 0).all():
            raise ClassifierError(f"{ONNX} finds no class possible. Train again.")


def _started(onnx: bytes, needs: Needs, limit: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Each image goes through the network in one thread, others beside it: threads that share a
    # layer wait for each other at its end. On 2 cores it is 1.1 to 1.2 times as fast.
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # an error is raised; it need not be printed as well
    entries = {
        "session.load_model_format": "ONNX",  # whatever its first bytes look like
        "session.use_env_allocators": "1",
        "optimization.constant_folding_max_output_size_in_bytes": str(max(needs.largest, 2**20)),
    }
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    try:
        with _LOCK:  # the allocator is the process's: the next session takes what is registered
            onnxruntime.create_and_register_allocator(
                memory, onnxruntime.OrtArenaCfg({"max_mem": limit, "arena_extend_strategy": 1})
            )
            return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's have no class in common
        raise ClassifierError(f"{ONNX} cannot be run ({_short(error)}). Train again.") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
