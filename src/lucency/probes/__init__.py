"""What separates the classes or splits besides the content: shortcuts, shift, outliers.

    sample      a sample of the images, whole patients at a time
    headers     features of file headers
    aspect      the scale of both axes
    features    features of pixels: tone, border, marks, a thumbnail
    score       AUROC of small models, cross-validated by patient
    shortcuts   separate the classes
    shift       separate test from train
    outliers    single images that differ from the rest
    findings    the results in sentences
    probe       run all of them

A network can only be trusted to use the content if these cannot do nearly as well.
"""

from __future__ import annotations

from lucency.probes.probe import Probes, probe

__all__ = ["Probes", "probe"]
