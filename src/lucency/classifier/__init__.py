"""A folder with ``classifier.json``, weights and an ONNX file, and what it says of images.

    architectures    what a network may be, and how many weights it has
    spec             what classifier.json says, every value checked
    files            size caps and checksums of the files beside it
    maps             which places speak for a class
    answers          probabilities, decisions and when to abstain
    golden           real images with the answers they had
    neighbours       training images to compare a new one with
    wire             an ONNX file cut up before it is parsed
    sizes            memory and work that an ONNX file needs
    graph            what an ONNX file may say
    session          ONNX Runtime, with a limit to its memory
    network          built anew from its description
    folder           all of it written to a folder, and read
    model            predict, save, load

Loading and predicting need neither Keras nor its backend. A folder may come from a stranger: no
file is ever unpickled or handed to a model loader, the network is rebuilt from our own JSON, the
weights are plain arrays whose names, shapes and sizes are checked first, and an ONNX file is run
only where every operation and every size in it is one that our networks have.
"""

from __future__ import annotations

from lucency.classifier.activation_map import ActivationMap
from lucency.classifier.classifier import ABSTAIN, Classifier
from lucency.classifier.neighbours import Neighbours, neighbours_json, neighbours_of
from lucency.classifier.prediction import Outputs, Prediction
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
