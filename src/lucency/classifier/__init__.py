"""A folder with ``classifier.json``, weights and an ONNX file, and what it says of pictures.

    spec       what classifier.json says, every value checked
    files      size caps and checksums of the files beside it
    answers    probabilities, decisions and when to abstain
    network    built anew from its description
    model      predict, save, load

Loading and predicting need neither Keras nor its backend. No file is ever unpickled or handed to a
model loader: the network is rebuilt from our own JSON, and the weights are plain arrays whose
names, shapes and sizes are checked first.
"""

from __future__ import annotations

from lucency.classifier.answers import Answers, Prediction
from lucency.classifier.model import ABSTAIN, Classifier
from lucency.classifier.spec import Spec

__all__ = ["ABSTAIN", "Answers", "Classifier", "Prediction", "Spec"]
