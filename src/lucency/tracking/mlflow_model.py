"""The classifier of a run as an MLflow model, for ``mlflow models serve``.

The model consists of a script ("models from code") and a folder, so loading it unpickles nothing.
The folder holds the classifier without the images that a run keeps.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lucency.classifier import Classifier
from lucency.imaging.image import encode_png

NAME = "classifier"
INPUT = "image"
_SCRIPT = Path(__file__).with_name("pyfunc_model.py")
_MAIN_PACKAGES = ("mlflow", "lucency")


def publish(folder: Path, run: str, client: Any) -> tuple[str, str]:
    """Log the classifier of a run folder to its run.

    Args:
        folder: A complete run folder.
        run: Id of the MLflow run.
        client: Of the current store of MLflow.

    Returns:
        Id of the MLflow model, and sha256 of the weights.
    """
    from mlflow import pyfunc
    from mlflow.models import Model

    found = Classifier.load(folder)
    # Without the images that a run may keep: they may show patients.
    classifier = Classifier(found.spec, found.weights, found.onnx, found.ood_detector)
    classifier.parity = found.parity
    experiment = client.get_run(run).info.experiment_id
    model = client.create_logged_model(experiment, name=NAME, source_run_id=run).model_id
    with tempfile.TemporaryDirectory() as own:
        copy = Path(own) / NAME
        classifier.save(copy)
        script = Path(shutil.copy(_SCRIPT, own))  # MLflow stores its path
        Model.log(
            artifact_path=None,
            model_id=model,
            flavor=pyfunc,
            run_id=run,
            python_model=str(script),
            artifacts={NAME: str(copy)},
            signature=_signature(),
            input_example=_example(classifier),
            pip_requirements=[f"{each}=={metadata.version(each)}" for each in _MAIN_PACKAGES],
            metadata={"classes": list(classifier.classes), "sha256": classifier.fingerprint},
        )
    return str(model), classifier.fingerprint


def _signature() -> Any:
    """Return inputs and outputs; the outputs are the keys of ``lucency predict --json``."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, Map, Schema

    out = [
        ColSpec("string", "decision", required=False),
        ColSpec(Map("double"), "probabilities", required=False),
        ColSpec("string", "reason", required=False),
        ColSpec(Array("string"), "prediction_set", required=False),
        ColSpec("double", "ood_score", required=False),
        ColSpec(Array("string"), "notes", required=False),
    ]
    return ModelSignature(Schema([ColSpec("string", INPUT)]), Schema(out))


def _example(classifier: Classifier) -> Any:
    """Return a synthetic image, a gradient from dark to bright."""
    import pandas as pd

    height, width = classifier.spec.size
    grey = np.linspace(0, 255, width).round().astype(np.uint8)
    image = encode_png(np.broadcast_to(grey[None, :, None], (height, width, 1)).copy())
    return pd.DataFrame({INPUT: [base64.b64encode(image).decode()]})
