"""Which of TensorFlow, JAX and PyTorch runs, and what differs between them.

``KERAS_BACKEND`` decides. Where it is not set, the first that is installed is taken:
JAX when an NVIDIA GPU is present, else TensorFlow (the fastest of the three on processors), then
JAX, then PyTorch.
"""

from __future__ import annotations

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

BACKENDS = ("tensorflow", "jax", "torch")
_MOST_COMPILED = 2**30  # bytes on disk


def load_keras() -> Any:
    """Import Keras on the chosen backend, quietly, and return the module.

    Raises:
        BackendError: No backend is installed, or ``KERAS_BACKEND`` names an unknown or absent one.
    """
    os.environ["KERAS_BACKEND"] = choose_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # start-up chatter, not errors
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        return quietly("keras")
    except ImportError as error:
        raise BackendError(
            f"This needs Keras, which is not installed ({error}). "
            'Run: pip install "lucency[tensorflow]"'
        ) from error


@contextmanager
def chatter_kept() -> Iterator[None]:
    """Keep what compiled libraries print on standard error; show it only if the work fails.

    TensorFlow's announce themselves there whatever its settings say.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        shown = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.seek(0)
            os.write(shown, kept.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


def quietly(name: str) -> Any:
    """Import a module without what its compiled parts announce."""
    with chatter_kept():
        return importlib.import_module(name)


def choose_backend() -> str:
    """Return the name of the backend to use: ``KERAS_BACKEND``, or the best that is installed.

    Where the program has imported Keras already, it is the backend that Keras runs on.
    """
    if "keras" in sys.modules:
        return str(sys.modules["keras"].backend.backend())
    asked = os.environ.get("KERAS_BACKEND", "")
    if asked and asked not in BACKENDS:
        raise BackendError(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. "
            f"Received: {asked!r}.{nearest(asked, BACKENDS)}"
        )
    order = (asked,) if asked else _preference()
    for name in order:
        if importlib.util.find_spec(name):
            return name
    raise BackendError(
        f"This needs one of {', '.join(order)}, and none is installed. "
        f'Run: pip install "lucency[{order[0]}]"'
    )


def prefer_tensorflow() -> None:
    """Have Keras run on TensorFlow, for formats that only it writes; a run is bound to no backend.

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
            f"{choose_backend()}. Export from the command line, which starts anew."
        )


def _preference() -> tuple[str, ...]:
    has_gpu = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()
    return ("jax", "tensorflow", "torch") if has_gpu else ("tensorflow", "jax", "torch")


def make_deterministic(seed: int) -> None:
    """Seed every generator, and make the backend's operations repeat exactly on a processor.

    The same seed, versions, machine and number of threads give the same bits. On an accelerator
    the promise is only a tolerance.
    """
    load_keras().utils.set_random_seed(seed)
    if choose_backend() == "tensorflow":
        tensorflow = quietly("tensorflow")
        tensorflow.config.experimental.enable_op_determinism()
    elif choose_backend() == "torch":
        quietly("torch").use_deterministic_algorithms(True, warn_only=True)


def device() -> str:
    """Return what the network runs on: ``"cpu"`` or ``"gpu"``."""
    name = choose_backend()
    if name == "tensorflow":
        found = quietly("tensorflow").config.list_physical_devices("GPU")
        return "gpu" if found else "cpu"
    if name == "jax":
        return "cpu" if quietly("jax").default_backend() == "cpu" else "gpu"
    return "gpu" if quietly("torch").cuda.is_available() else "cpu"


def waits_for_memory() -> bool:
    """Tell whether layers run one by one here, so that their passes over memory take the time.

    So it is with TensorFlow on a processor, where XLA's convolutions are slower than its own.
    """
    return choose_backend() == "tensorflow" and device() == "cpu"


def normalized(
    x: Any, gamma: Any, beta: Any, moving: tuple[Any, Any], epsilon: float, training: bool
) -> tuple[Any, Any, Any]:
    """Normalise a batch by TensorFlow's one kernel for it.

    Args:
        x: (n, height, width, channels), float32 or bfloat16.
        gamma: (channels,) scale.
        beta: (channels,) offset.
        moving: Mean and variance to use where ``training`` is false, (channels,) each.
        epsilon: Added to the variance.
        training: Whether the batch's own mean and variance are used.

    Returns:
        The batch, normalised, and its mean and (biased) variance in float32, without gradient.
    """
    tf = quietly("tensorflow")
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
    """Add one number per channel by TensorFlow's kernel, whose gradient is one as well."""
    return quietly("tensorflow").nn.bias_add(x, bias)


def is_slow_here() -> bool:
    """Tell whether another backend would train several times faster on this processor."""
    return choose_backend() != "tensorflow" and device() == "cpu"


def keep_compiled(folder: Path) -> None:
    """Have JAX keep compiled networks in a folder, for processes to come; others compile anew.

    Such files are code, so the folder is made for its owner alone, and one that somebody else may
    write to is not used. ``JAX_COMPILATION_CACHE_DIR`` goes before.
    """
    if choose_backend() != "jax" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:  # a home that cannot be written to costs the time to compile again
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        jax = quietly("jax")
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_compilation_cache_max_size", _MOST_COMPILED)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error of any backend says that memory ran out.

    They have no type in common, and most say so in their text only.
    """
    text = f"{type(error).__name__}: {error}".lower()
    signs = (
        *("resourceexhausted", "resource_exhausted", "outofmemory", "out of memory", "bad_alloc"),
        *("oom when allocating", "not enough memory", "can't allocate memory"),
        *("could not create a primitive", "could not execute a primitive"),  # oneDNN
    )
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def has_fast_bfloat16() -> bool:
    """Tell whether bfloat16 arithmetic is faster than float32 here.

    True on a GPU, and on a processor with AVX512-BF16 or AMX when TensorFlow runs (its oneDNN
    kernels use them; the other backends' convolutions gain nothing there).
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
    """Return the versions and the machine that a result depends on."""
    return {
        "lucency": importlib.metadata.version("lucency"),
        "python": platform.python_version(),
        "keras": importlib.metadata.version("keras"),
        "backend": f"{choose_backend()} {importlib.metadata.version(_distribution())}",
        "device": device(),
        "machine": machine(),
    }


def machine() -> str:
    """Return the operating system, the processor and how many of them there are."""
    return (
        f"{platform.system()} {platform.machine()}, {_processor_name()}, "
        f"{os.cpu_count()} processors"
    )


def _distribution() -> str:
    if choose_backend() != "tensorflow":
        return choose_backend()
    names = importlib.metadata.packages_distributions()["tensorflow"]
    return "tensorflow-cpu" if "tensorflow-cpu" in names else names[0]


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")
