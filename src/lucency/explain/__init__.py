"""Activation maps of images, and tests of whether the maps are faithful to the classifier.

    explanations     image files to predictions with maps
    occlusion        maps from hiding one patch after another
    drawing          maps as colours on a constant scale
    folder           a page of explanations, and overlays
    layers           a page of feature maps, layer by layer, for learners
    sample           the validation images that maps are tested on
    deletion         test: deletion and insertion curves
    similarity       similarity of two maps, and their share at the border
    randomisation    test: maps under randomised weights
    faithfulness     all tests, and their result

The maps come from the network (``Classifier.infer``). They are signed, in logits, and on one scale
for all images of a classifier, so an empty map looks empty.
"""

from __future__ import annotations

from lucency.explain.drawing import overlay, with_legend
from lucency.explain.explanations import Explanation, explain_files
from lucency.explain.faithfulness import Faithfulness, faithfulness
from lucency.explain.folder import write_explanations
from lucency.explain.occlusion import occlusion_maps

__all__ = [
    "Explanation",
    "Faithfulness",
    "explain_files",
    "faithfulness",
    "occlusion_maps",
    "overlay",
    "with_legend",
    "write_explanations",
]
