"""The classifier in the formats of other programs, each with proof that it says the same.

    parity         the ONNX file of a run against Keras, while it is trained
    web            a folder with a page that computes in the browser
    drawn          pictures drawn by formula, on which that page checks itself

A file that answers otherwise than the classifier is not kept.
"""

from __future__ import annotations

from lucency.export.parity import TOLERANCE, Parity, to_onnx

__all__ = ["TOLERANCE", "Parity", "to_onnx"]
