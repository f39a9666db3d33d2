"""Arrays to SVG: plain drawings that take the page's colours, scale, print and can be read aloud.

Colours are the custom properties ``--ink``, ``--muted``, ``--grid``, ``--paper``, ``--heat`` and
``--series-1`` to ``--series-8``, each with a fallback for use outside a page. The same input gives
the same bytes.
"""

from __future__ import annotations

from lucency.plots.axes import THIN, percent, visible
from lucency.plots.curves import line_curves, precision_recall, reliability, roc
from lucency.plots.panels import Estimate, Row, confusion, forest, score_histograms

__all__ = [
    "THIN",
    "Estimate",
    "Row",
    "confusion",
    "forest",
    "line_curves",
    "percent",
    "precision_recall",
    "reliability",
    "roc",
    "score_histograms",
    "visible",
]
