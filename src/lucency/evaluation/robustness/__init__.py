"""Robustness: how predictions hold up when images are corrupted; ``robustness.json``.

    corruptions    corruptions of pixels, at the size of the network's input
    reencode       corruptions of files, at their own size
    robustness     figures and changes of probability under each corruption

After Hendrycks & Dietterich (2019), who evaluate classifiers under corruptions of rising severity.
"""

from __future__ import annotations

from lucency.evaluation.robustness.robustness import PixelClassifier, evaluate_robustness

__all__ = ["PixelClassifier", "evaluate_robustness"]
