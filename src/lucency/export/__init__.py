"""Export the classifier for other programs, with a certificate that its predictions are the same.

    parity              the ONNX file of a run compared with Keras, after training
    images              images that an export is compared on, and images to calibrate 8-bit numbers
    formats             the file of each format: how it is written and run
    answers             units and numbers in an ONNX file, compared with the classifier's
    quantization        8-bit weights and activations in an ONNX file
    certificate         an export compared with the classifier: probabilities, decisions, time
    description         inputs, outputs, and how to use an export
    folder              the export itself: written, compared, and only then renamed
    web                 a folder with a page that predicts in the browser
    synthetic_images    images computed from formulas, which that page tests itself on

An export includes everything after resizing: every format takes the same pixels and returns
calibrated probabilities. An export with other predictions than the classifier is deleted.
"""

from __future__ import annotations

from lucency.export.folder import Export, export
from lucency.export.formats import FORMATS
from lucency.export.parity import TOLERANCE, Parity, to_onnx

__all__ = ["FORMATS", "TOLERANCE", "Export", "Parity", "export", "to_onnx"]
