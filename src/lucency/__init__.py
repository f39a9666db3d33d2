"""Train an image classifier from a folder, prove how good it really is, and put it to work.

    data = lucency.load_dataset("chest_xray", lucency.Config(effort="quick"))
    classifier = lucency.train(data.train, data.val, lucency.Config(effort="quick"))
    print(lucency.evaluate(classifier, data.test).metrics["auroc"])

Names are loaded when they are first used, so that ``import lucency`` needs no Keras.

ONNX Runtime tells its makers what is run with it and on what machine, since 1.29 on Linux and macOS
too, unless it is asked not to before it is loaded. ``import lucency`` asks, where nobody else has
decided.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lucency.classifier import Classifier
    from lucency.config import Config
    from lucency.dataset import load_dataset
    from lucency.errors import LucencyError
    from lucency.estimator import LucencyClassifier
    from lucency.evaluation import Evaluation, evaluate
    from lucency.pipeline.train import run_training
    from lucency.training.train import train

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "Classifier": "lucency.classifier",
    "Config": "lucency.config",
    "Evaluation": "lucency.evaluation",
    "LucencyClassifier": "lucency.estimator",
    "LucencyError": "lucency.errors",
    "evaluate": "lucency.evaluation",
    "load_dataset": "lucency.dataset",
    "run_training": "lucency.pipeline.train",
    "train": "lucency.training.train",
}

__all__ = [
    "Classifier",
    "Config",
    "Evaluation",
    "LucencyClassifier",
    "LucencyError",
    "evaluate",
    "load_dataset",
    "run_training",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "models":
        return importlib.import_module("lucency.models")
    if name not in _HOMES:
        raise AttributeError(f"module 'lucency' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
