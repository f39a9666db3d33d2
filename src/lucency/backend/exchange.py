"""SavedModel and LiteRT files: export and run them.

Both are TensorFlow's, whichever backend trained the network.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.backend.choice import captured_stderr, import_quietly, load_keras, prefer_tensorflow
from lucency.errors import BackendError

Pixels = NDArray[np.uint8 | np.float32]
Runner = Callable[[Pixels], dict[str, NDArray[Any]]]


def export_saved_model(model: Any, folder: Path) -> None:
    """Write a Keras model as a TensorFlow SavedModel with the signature ``serving_default``.

    Args:
        model: A ``keras.Model`` on TensorFlow.
        folder: Folder to make.

    Raises:
        BackendError: TensorFlow cannot export the model.
    """
    tensorflow = _tensorflow()
    try:
        with warnings.catch_warnings(), captured_stderr():
            warnings.simplefilter("ignore")  # TensorFlow's own deprecations
            _save_saved_model(tensorflow, model, folder)
    except OSError:  # a full disk is not a fault of the exporter
        raise
    except Exception as error:
        raise _export_error("SavedModel", error) from error


def _save_saved_model(tensorflow: Any, model: Any, folder: Path) -> None:
    """Save only the inference; ``keras.Model.export`` would write every weight twice."""
    served = tensorflow.Module()
    served.weights = [variable.value for variable in model.variables]
    shape = (None, *model.input_shape[1:])
    pixels = tensorflow.TensorSpec(shape, model.input.dtype, name="pixels")

    def infer(pixels: Any) -> Any:
        return model(pixels, training=False)

    signature = tensorflow.function(infer, input_signature=[pixels], autograph=False)
    tensorflow.saved_model.save(served, str(folder), signatures={"serving_default": signature})


def export_litert(saved_model: Path, file: Path, examples: Pixels | None = None) -> None:
    """Convert a SavedModel to a LiteRT file.

    Args:
        saved_model: Folder of ``export_saved_model``.
        file: File to write.
        examples: Images, (n, height, width, channels), to calibrate 8-bit weights and activations
            with; ``None`` keeps float32. Input and outputs keep their types.

    Raises:
        BackendError: The converter cannot convert it.
    """
    lite = _lite()
    try:
        with warnings.catch_warnings(), captured_stderr():
            warnings.simplefilter("ignore")
            converter = lite.TFLiteConverter.from_saved_model(str(saved_model))
            if examples is not None:
                converter.optimizations = [lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: _one_by_one(examples)
            data = converter.convert()
    except OSError:
        raise
    except Exception as error:
        raise _export_error("LiteRT", error) from error
    file.write_bytes(data)


def _one_by_one(examples: Pixels) -> Iterator[dict[str, Pixels]]:
    for k in range(len(examples)):
        yield {"pixels": examples[k : k + 1]}


def saved_model_runner(folder: Path) -> Runner:
    """Return a function from pixels to all outputs of a SavedModel, loaded by TensorFlow."""
    tensorflow = _tensorflow()
    with captured_stderr():
        loaded = tensorflow.saved_model.load(str(folder))

    def run(pixels: Pixels) -> dict[str, NDArray[Any]]:
        # Look the signature up each time: its variables exist only as long as `loaded`.
        outputs = loaded.signatures["serving_default"](pixels=tensorflow.constant(pixels))
        return {name: each.numpy() for name, each in outputs.items()}

    return run


def litert_runner(file: Path) -> Runner:
    """Return a function from pixels to all outputs of a LiteRT file, on all processors."""
    with warnings.catch_warnings(), captured_stderr():
        warnings.simplefilter("ignore")  # it announces its successor, a separate package
        interpreter = _lite().Interpreter(str(file), num_threads=os.cpu_count())
        serve = interpreter.get_signature_runner()
        # The first run prints a message about its kernels.
        given = serve.get_input_details()["pixels"]
        serve(pixels=np.zeros(given["shape"], given["dtype"]))

    def run(pixels: Pixels) -> dict[str, NDArray[Any]]:
        return dict(serve(pixels=pixels))

    return run


def _tensorflow() -> Any:
    prefer_tensorflow()
    load_keras()  # before TensorFlow, because it silences its messages
    return import_quietly("tensorflow")


def _lite() -> Any:
    return _tensorflow().lite


def _export_error(name: str, error: Exception) -> Exception:
    """Return the error to raise: TensorFlow reports a full disk only in its text."""
    full = ("No space left", "File too large", "quota exceeded")
    if any(sign in str(error) for sign in full):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return BackendError(
        f"The classifier could not be written as {name} ({type(error).__name__}: {error}). "
        'Check the installation: pip install "lucency[tensorflow]"'
    )
