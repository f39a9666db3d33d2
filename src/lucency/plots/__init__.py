"""Draw plots as SVG: they take the colours of the page, scale, and have text alternatives.

Colours are the CSS properties ``--ink``, ``--muted``, ``--grid``, ``--paper``, ``--heat``,
``--bad`` and ``--series-1`` to ``--series-8``, each with a fallback outside a page. The same input
gives the same bytes. All text from the data is escaped.

    axes       axes, ticks, legends, escaped text
    curves     training history, ROC, precision-recall and reliability
    choices    net benefit, predictive values, risk over coverage
    panels     confusion matrix and score histograms
    values     predicted numbers: against the truth, agreement, quantiles
    forests    forest plots of metrics with intervals
    html       self-contained HTML pages

No plotting library: a run would import matplotlib (2.2 s of CPU time, 57 MB installed with what it
needs; this package takes 0.03 s), and its SVG has fixed colours and is four times as large.
"""

from __future__ import annotations

from lucency.plots.axes import THIN, percent, visible
from lucency.plots.choices import net_benefit, predictive_values, risk_coverage
from lucency.plots.curves import line_curves, precision_recall, reliability, roc
from lucency.plots.forests import Estimate, Line, Row, forest, lineup
from lucency.plots.panels import confusion, score_histograms
from lucency.plots.values import (
    agreement,
    error_coverage,
    predicted_values,
    quantile_calibration,
    value_forest,
)

__all__ = [
    "THIN",
    "Estimate",
    "Line",
    "Row",
    "agreement",
    "confusion",
    "error_coverage",
    "forest",
    "line_curves",
    "lineup",
    "net_benefit",
    "percent",
    "precision_recall",
    "predicted_values",
    "predictive_values",
    "quantile_calibration",
    "reliability",
    "risk_coverage",
    "roc",
    "score_histograms",
    "value_forest",
    "visible",
]
