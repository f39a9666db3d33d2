"""Which of TensorFlow and JAX runs, and the differences between them.

``KERAS_BACKEND`` decides. If it is not set, the first that is installed is used: JAX if there is an
NVIDIA GPU, else TensorFlow, which is the faster of the two on processors, then JAX.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import platform
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lucency.errors import BackendError, nearest

BACKENDS = ("tensorflow", "jax")
_MAX_COMPILED = 2**30  # bytes on disk


def load_keras() -> Any:
    """Import Keras on the chosen backend, quietly, and return the module.

    Raises:
        BackendError: No backend is installed, or ``KERAS_BACKEND`` names an unknown or absent one.
    """
    os.environ["KERAS_BACKEND"] = choose_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides start-up messages, not errors
    if _processors() == 1:  # XLA has other kernels for one thread, whose results differ
        os.environ.setdefault("NPROC", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        with _without_collections():
            return import_quietly("keras")
    except ImportError as error:
        raise BackendError(
            f"This needs Keras, which is not installed ({error}). "
            'Run: pip install "lucency[tensorflow]"'
        ) from error


def _processors() -> int:
    """Return the number of processors that this process may use."""
    counted = getattr(os, "sched_getaffinity", None)
    return len(counted(0)) if counted else os.cpu_count() or 1


def for_the_same_bits() -> dict[str, str]:
    """Return the environment in which another process of such a machine computes the same bits.

    On a processor they depend on the number of threads. TensorFlow takes one for each processor
    that its process may use, and divides sums among them; XLA only differs between one and several.
    """
    count = _processors()
    defaults = {"TF_NUM_INTRAOP_THREADS": count, "NPROC": max(2, count)}
    return {"KERAS_BACKEND": choose_backend()} | {
        name: os.environ.get(name, str(value)) for name, value in defaults.items()
    }


@contextmanager
def _without_collections() -> Iterator[None]:
    """Pause the garbage collector, which needs a fifth of the time of an import and finds little.

    An import makes hundreds of thousands of objects that stay, and each collection visits them all.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def captured_stderr() -> Iterator[None]:
    """Capture what compiled libraries print on standard error; show it only after an exception.

    TensorFlow's libraries print messages there whatever its settings are.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def import_quietly(name: str) -> Any:
    """Import a module without the messages of its compiled parts."""
    with captured_stderr():
        return importlib.import_module(name)


def choose_backend() -> str:
    """Return the name of the backend to use: ``KERAS_BACKEND``, or the best that is installed.

    If the program has imported Keras already, it is the backend that Keras runs on.

    Raises:
        BackendError: No backend is installed, or the requested one is not supported.
    """
    if "keras" in sys.modules:
        running = str(sys.modules["keras"].backend.backend())
        return _supported(running, " Set it before Keras is imported.")
    requested = os.environ.get("KERAS_BACKEND", "")
    order = (_supported(requested, nearest(requested, BACKENDS)),) if requested else _preference()
    for name in order:
        if importlib.util.find_spec(name):
            return name
    raise BackendError(
        f"This needs one of {', '.join(order)}, and none is installed. "
        f'Run: pip install "lucency[{order[0]}]"'
    )


def _supported(name: str, fix: str) -> str:
    if name not in BACKENDS:
        raise BackendError(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: {name!r}.{fix}"
        )
    return name


def prefer_tensorflow() -> None:
    """Make Keras run on TensorFlow, for formats that only TensorFlow writes, from any run.

    Raises:
        BackendError: TensorFlow is not installed, or Keras runs on another backend already.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise BackendError('This format needs TensorFlow. Run: pip install "lucency[tensorflow]"')
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    elif choose_backend() != "tensorflow":
        raise BackendError(
            f"This format is written by Keras on TensorFlow, and this program runs it on "
            f"{choose_backend()}. Export from the command line, in a new process."
        )


def _preference() -> tuple[str, ...]:
    has_gpu = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()
    return ("jax", "tensorflow") if has_gpu else ("tensorflow", "jax")


def make_deterministic(seed: int) -> None:
    """Seed every generator, and make the backend's operations deterministic on a processor.

    The same seed, versions, machine and number of threads give the same bits. On an accelerator
    results are equal only within a tolerance.
    """
    load_keras().utils.set_random_seed(seed)
    if choose_backend() == "tensorflow":
        import_quietly("tensorflow").config.experimental.enable_op_determinism()


def device() -> str:
    """Return what the network runs on: ``"cpu"`` or ``"gpu"``."""
    if choose_backend() == "tensorflow":
        found = import_quietly("tensorflow").config.list_physical_devices("GPU")
        return "gpu" if found else "cpu"
    return "cpu" if import_quietly("jax").default_backend() == "cpu" else "gpu"


def waits_for_memory() -> bool:
    """Return whether layers run one by one here, so that training is bound by memory.

    This is so for TensorFlow on a processor, where XLA's convolutions are slower than its own.
    """
    return choose_backend() == "tensorflow" and device() == "cpu"


def normalized(
    x: Any, gamma: Any, beta: Any, moving: tuple[Any, Any], epsilon: float, training: bool
) -> tuple[Any, Any, Any]:
    """Normalise a batch with TensorFlow's fused kernel.

    Args:
        x: (n, height, width, channels), float32 or bfloat16.
        gamma: (channels,) scale.
        beta: (channels,) offset.
        moving: Mean and variance to use if ``training`` is false, (channels,) each.
        epsilon: Added to the variance.
        training: Whether to use the batch's own mean and variance.

    Returns:
        The normalised batch, and its mean and (biased) variance in float32, without gradient.
    """
    tf = import_quietly("tensorflow")
    gamma, beta, *moving_now = (tf.cast(each.value, "float32") for each in (gamma, beta, *moving))
    mean, variance = ((), ()) if training else moving_now
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon,
        is_training=training,
    )  # fmt: skip
    count = tf.cast(tf.size(x) // tf.shape(x)[-1], "float32")
    biased = variance * (count - 1) / count if training else variance
    return y, tf.stop_gradient(mean), tf.stop_gradient(biased)


def add_bias(x: Any, bias: Any) -> Any:
    """Add one number per channel with TensorFlow's kernel, whose gradient is a kernel as well."""
    return import_quietly("tensorflow").nn.bias_add(x, bias)


def is_slow_here() -> bool:
    """Return whether another backend would train several times faster on this processor."""
    return choose_backend() != "tensorflow" and device() == "cpu"


def keep_compiled(folder: Path) -> None:
    """Make JAX cache compiled networks in a folder for later processes; TensorFlow has no cache.

    Such files are code, so the folder is made for its owner alone, and a folder that others can
    write to is not used. ``JAX_COMPILATION_CACHE_DIR`` takes precedence.
    """
    if choose_backend() != "jax" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:  # without a writable home, networks are compiled again
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        jax = import_quietly("jax")
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", _MAX_COMPILED)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of any backend means that memory ran out.

    These errors have no common type, and most are recognisable only by their text.
    """
    text = f"{type(error).__name__}: {error}".lower()
    signs = (
        *("resourceexhausted", "resource_exhausted", "outofmemory", "out of memory", "bad_alloc"),
        *("oom when allocating", "not enough memory", "can't allocate memory"),
        *("could not create a primitive", "could not execute a primitive"),  # oneDNN
    )
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def has_fast_bfloat16() -> bool:
    """Return whether bfloat16 arithmetic is faster than float32 here.

    True on a GPU, and on a processor with AVX512-BF16 or AMX with TensorFlow, whose oneDNN kernels
    use them; JAX's convolutions are not faster with them.
    """
    if device() == "gpu":
        return True
    flags = _processor_flags()
    return choose_backend() == "tensorflow" and bool({"avx512_bf16", "amx_bf16"} & flags)


def _processor_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").partition(":")[2].split())


def environment() -> dict[str, str]:
    """Return the versions and the machine on which a result depends."""
    return {
        "lucency": importlib.metadata.version("lucency"),
        "python": platform.python_version(),
        "keras": importlib.metadata.version("keras"),
        "backend": f"{choose_backend()} {importlib.metadata.version(_distribution())}",
        "device": device(),
        "machine": machine(),
    }


def machine() -> str:
    """Return the operating system, the processor and the number of processors."""
    return (
        f"{platform.system()} {platform.machine()}, {_processor_name()}, "
        f"{os.cpu_count()} processors"
    )


def _distribution() -> str:
    if choose_backend() != "tensorflow":
        return choose_backend()
    try:
        importlib.metadata.version("tensorflow-cpu")
    except importlib.metadata.PackageNotFoundError:
        return "tensorflow"
    return "tensorflow-cpu"


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")
