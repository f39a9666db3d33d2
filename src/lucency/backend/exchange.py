"""Files to hand to others: Keras archives, SavedModel and LiteRT, made and run.

The last two are TensorFlow's, whichever backend trained the network.
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

from lucency.backend.choice import chatter_kept, load_keras, prefer_tensorflow, quietly
from lucency.errors import BackendError

Pixels = NDArray[np.uint8]
Runner = Callable[[Pixels], dict[str, NDArray[Any]]]


def save_keras(model: Any, file: Path) -> None:
    """Write a Keras model as a ``.keras`` archive."""
    with warnings.catch_warnings(), chatter_kept():  # it loads TensorFlow whatever it runs on
        warnings.simplefilter("ignore")
        model.save(file)


def keras_runner(file: Path) -> Runner:
    """Return a function from pixels to all answers of a Keras archive that we have just written.

    No archive of anybody else may come here: Keras's reader has been made to run foreign code.
    """
    with chatter_kept():
        model = load_keras().saving.load_model(file, safe_mode=True, compile=False)

    def run(pixels: Pixels) -> dict[str, NDArray[Any]]:
        said = model.predict_on_batch(pixels)
        return {name: np.asarray(values) for name, values in said.items()}

    return run


def export_saved_model(model: Any, folder: Path) -> None:
    """Write a Keras model as a TensorFlow SavedModel with the signature ``serving_default``.

    Args:
        model: A ``keras.Model`` that has been called, on TensorFlow.
        folder: Folder to make.

    Raises:
        BackendError: TensorFlow refuses the model.
    """
    tensorflow = _tensorflow()
    try:
        with warnings.catch_warnings(), chatter_kept():
            warnings.simplefilter("ignore")  # TensorFlow's own deprecations
            _save_saved_model(tensorflow, model, folder)
    except OSError:  # a full disk is no fault of the exporter
        raise
    except Exception as error:
        raise _refused("SavedModel", error) from error


def _save_saved_model(tensorflow: Any, model: Any, folder: Path) -> None:
    """Save the inference alone; ``keras.Model.export`` would write every weight twice."""
    served = tensorflow.Module()
    served.weights = [variable.value for variable in model.variables]
    pixels = tensorflow.TensorSpec((None, *model.input_shape[1:]), tensorflow.uint8, name="pixels")

    def answer(pixels: Any) -> Any:
        return model(pixels, training=False)

    signature = tensorflow.function(answer, input_signature=[pixels], autograph=False)
    tensorflow.saved_model.save(served, str(folder), signatures={"serving_default": signature})


def export_litert(saved_model: Path, file: Path, examples: Pixels | None = None) -> None:
    """Convert a SavedModel to a LiteRT file.

    Args:
        saved_model: Folder of ``export_saved_model``.
        file: File to write.
        examples: Images, (n, height, width, channels), by which to scale 8-bit weights and
            activations; ``None`` keeps all in float32. Input and outputs keep their types.

    Raises:
        BackendError: The converter refuses it.
    """
    lite = _lite()
    try:
        with warnings.catch_warnings(), chatter_kept():
            warnings.simplefilter("ignore")
            converter = lite.TFLiteConverter.from_saved_model(str(saved_model))
            if examples is not None:
                converter.optimizations = [lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: _one_by_one(examples)
            data = converter.convert()
    except OSError:
        raise
    except Exception as error:
        raise _refused("LiteRT", error) from error
    file.write_bytes(data)


def _one_by_one(examples: Pixels) -> Iterator[dict[str, Pixels]]:
    for k in range(len(examples)):
        yield {"pixels": examples[k : k + 1]}


def saved_model_runner(folder: Path) -> Runner:
    """Return a function from pixels to all answers of a SavedModel, as anybody would load it."""
    tensorflow = _tensorflow()
    with chatter_kept():
        loaded = tensorflow.saved_model.load(str(folder))

    def run(pixels: Pixels) -> dict[str, NDArray[Any]]:
        # Asked of `loaded` each time: its variables live only as long as it does.
        said = loaded.signatures["serving_default"](pixels=tensorflow.constant(pixels))
        return {name: each.numpy() for name, each in said.items()}

    return run


def litert_runner(file: Path) -> Runner:
    """Return a function from pixels to all answers of a LiteRT file, on all processors."""
    with warnings.catch_warnings(), chatter_kept():
        warnings.simplefilter("ignore")  # it announces its successor, a package of its own
        interpreter = _lite().Interpreter(str(file), num_threads=os.cpu_count())
        serve = interpreter.get_signature_runner()
        # It announces its kernels when it first runs.
        serve(pixels=np.zeros(serve.get_input_details()["pixels"]["shape"], np.uint8))

    def run(pixels: Pixels) -> dict[str, NDArray[Any]]:
        return dict(serve(pixels=pixels))

    return run


def _tensorflow() -> Any:
    prefer_tensorflow()
    load_keras()  # before TensorFlow, to be as quiet
    return quietly("tensorflow")


def _lite() -> Any:
    return _tensorflow().lite


def _refused(name: str, error: Exception) -> Exception:
    """Return what to raise: TensorFlow reports a full disk in its text alone."""
    full = ("No space left", "File too large", "quota exceeded")
    if any(sign in str(error) for sign in full):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return BackendError(
        f"The classifier could not be written as {name} ({type(error).__name__}: {error}). "
        'Check the installation: pip install "lucency[tensorflow]"'
    )
