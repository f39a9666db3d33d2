"""How answers hold when images change a little; ``robustness.json``.

    changes     changes of pixels, at the size that the network sees
    reencode    changes of files, at the file's own size
    stress      every changed image against itself unchanged

After Hendrycks & Dietterich (2019), who measure classifiers under corruptions of rising strength.
"""

from __future__ import annotations

from lucency.evaluation.robustness.robustness import Answering, stress

__all__ = ["Answering", "stress"]
