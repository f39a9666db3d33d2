"""Architectures: names and numbers in, plain ``keras.Model`` out.

    backbones    networks of keras.applications, their scaling and weights
    networks     the article's, the default, and those with a backbone
    answering    what a trained network says of stored pixels, and where from

Every network takes pixel values from 0 to 255 and scales them itself. It ends in a layer called
``logits`` and, after it, ``probabilities`` (sigmoid for two classes, softmax for more). Where there
is a layer ``features``, the logits are a dense layer over its global average, so that the same
dense layer over each position is a class activation map.
"""

from __future__ import annotations

from lucency.models.networks import ARCHITECTURES, article, build, default, keras, pretrained
from lucency.models.serving import FlatEvidence, calibrated, widened

__all__ = [
    "ARCHITECTURES",
    "FlatEvidence",
    "article",
    "build",
    "calibrated",
    "default",
    "keras",
    "pretrained",
    "widened",
]
