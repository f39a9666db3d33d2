"""The trained classifier: a folder with ``classifier.json``, weights and an ONNX file.

    architectures       the permitted networks, and their number of weights
    spec                the values of classifier.json, each checked
    stored_files        the other files of the folder, with sizes and checksums checked
    activation_map      the evidence at each position of an image
    prediction          the outputs of the network, decisions, and when to abstain
    unit_prediction     the prediction for a unit of several images, and what it rests on
    reference_images    real images with the predictions for them after training
    neighbours          training images to compare a new image with
    onnx                an untrusted ONNX file: validated, and run within a memory limit
    network             a Keras network rebuilt from its description
    storage             the files of a classifier, written and read
    classifier          predict, save, load

Loading and predicting need neither Keras nor its backend. A folder may be untrusted: no file is
unpickled or passed to a model loader, the network is rebuilt from our own JSON, the weights are
plain arrays whose names, shapes and sizes are checked first, and an ONNX file is run only if our
networks use all of its operations and it is within limits of size.
"""

from __future__ import annotations

from lucency.classifier.activation_map import ActivationMap
from lucency.classifier.classifier import Classifier
from lucency.classifier.neighbours import Neighbours, neighbours_json, neighbours_of
from lucency.classifier.prediction import ABSTAIN, Outputs, Prediction
from lucency.classifier.reference_images import ReferenceImages, reference_images_of
from lucency.classifier.spec import Spec

__all__ = [
    "ABSTAIN",
    "ActivationMap",
    "Classifier",
    "Neighbours",
    "Outputs",
    "Prediction",
    "ReferenceImages",
    "Spec",
    "neighbours_json",
    "neighbours_of",
    "reference_images_of",
]
