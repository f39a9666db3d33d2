"""Where the evidence is: maps of images, and tests of whether the maps mean something.

    sample           the images that maps are tested on
    drawing          maps as colours on a constant scale
    occlusion        hide places and see how the answer moves
    deletion         hide and show what a map marks
    likeness         how alike two maps are, and where they lie
    randomisation    maps of networks that forgot what they learnt
    verdict          all tests, and what they come to
    images         files to predictions with maps
    writing          a page of them, and overlays
    layers           what every layer makes of an image, for learners

The maps themselves come from the network (``Classifier.answer_pixels``). They are signed and in
logits, and no image has a scale of its own: a map of nothing looks like nothing.
"""

from __future__ import annotations

from lucency.explain.drawing import overlay, with_legend
from lucency.explain.explanations import Explained, explained
from lucency.explain.faithfulness import Faithfulness, faithfulness
from lucency.explain.folder import write_explanations
from lucency.explain.occlusion import occlusion_maps

__all__ = [
    "Explained",
    "Faithfulness",
    "explained",
    "faithfulness",
    "occlusion_maps",
    "overlay",
    "with_legend",
    "write_explanations",
]
