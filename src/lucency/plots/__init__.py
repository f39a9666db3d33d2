"""Arrays to SVG: plain drawings that take the page's colours, scale, print and can be read aloud.

Colours are the custom properties ``--ink``, ``--muted``, ``--grid``, ``--paper``, ``--heat``,
``--bad`` and ``--series-1`` to ``--series-8``, each with a fallback for use outside a page. The
same input gives the same bytes.

    axes       axes, ticks, escaped text, round numbers
    curves     training, ROC, precision-recall and reliability
    choices    net benefit, predictive values, risk over coverage
    panels     confusion matrix and score histograms
    forests    figures with their intervals under each other

Every text that comes from the data is escaped.
"""

from __future__ import annotations

from lucency.plots.axes import THIN, percent, visible
from lucency.plots.choices import net_benefit, predictive_values, risk_coverage
from lucency.plots.curves import line_curves, precision_recall, reliability, roc
from lucency.plots.forests import Estimate, Line, Row, forest, lineup
from lucency.plots.panels import confusion, score_histograms

__all__ = [
    "THIN",
    "Estimate",
    "Line",
    "Row",
    "confusion",
    "forest",
    "line_curves",
    "lineup",
    "net_benefit",
    "percent",
    "precision_recall",
    "predictive_values",
    "reliability",
    "risk_coverage",
    "roc",
    "score_histograms",
    "visible",
]
