"""The classifier in the formats of other programs, each with proof that it says the same.

    parity         the ONNX file of a run against Keras, while it is trained
    images       what an export is checked on, and what its 8-bit numbers are scaled by
    making         the files of each format, and how anybody runs them
    quantization   8-bit weights and activations in an ONNX file
    certificate    an export against the classifier: probabilities, decisions, time
    description    what goes in, what comes out, and how to use it
    folder         the verb: made, checked, and only then given its name
    web            a folder with a page that computes in the browser
    drawn          images drawn by formula, on which that page checks itself

Everything after resizing is inside: the same uint8 pixels go into every format, and calibrated
probabilities come out. A file that answers otherwise than the classifier is not kept.
"""

from __future__ import annotations

from lucency.export.folder import Export, export
from lucency.export.formats import FORMATS
from lucency.export.parity import TOLERANCE, Parity, to_onnx

__all__ = ["FORMATS", "TOLERANCE", "Export", "Parity", "export", "to_onnx"]
