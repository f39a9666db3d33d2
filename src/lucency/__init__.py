"""Train an image classifier from a folder, measure how good it is, and use it.

    data = lucency.load_dataset("chest_xray", lucency.Config(effort="quick"))
    classifier = lucency.train(data.train, data.val, lucency.Config(effort="quick"))
    print(lucency.evaluate(classifier, data.test).metrics["auroc"])

Names are imported on first use, so that ``import lucency`` does not load Keras.

ONNX Runtime sends telemetry on models and machines, since 1.29 on Linux and macOS too, unless an
environment variable turns it off before ONNX Runtime is imported. ``import lucency`` turns it off,
unless the variable is already set.
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
    from lucency.estimator import LucencyClassifier, LucencyRegressor
    from lucency.evaluation import Evaluation, evaluate
    from lucency.pipeline.train import run_training
    from lucency.training.train import train

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_MODULES = {
    "Classifier": "lucency.classifier",
    "Config": "lucency.config",
    "Evaluation": "lucency.evaluation",
    "LucencyClassifier": "lucency.estimator",
    "LucencyError": "lucency.errors",
    "LucencyRegressor": "lucency.estimator",
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
    "LucencyRegressor",
    "evaluate",
    "load_dataset",
    "run_training",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "models":
        return importlib.import_module("lucency.models")
    if name not in _MODULES:
        raise AttributeError(f"module 'lucency' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
