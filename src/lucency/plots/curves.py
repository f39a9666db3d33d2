"""Plots of curves: training history, ROC, precision-recall, reliability."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from lucency.plots.axes import (
    DASHES,
    INK,
    MUTED,
    PAPER,
    SERIES,
    Axes,
    Key,
    Values,
    finite_runs,
    label,
    nice_ticks,
    percent,
    stroke,
    tick_label,
)

Curve = Mapping[str, Sequence[float | None]]

_SQUARE = (340.0, 330.0)
_SHARES = [(share / 5, f"{share / 5:.1f}") for share in range(6)]


def line_curves(
    series: Mapping[str, Values],
    *,
    title: str,
    y_label: str,
    epochs: Sequence[int] | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    best: tuple[int, str] | None = None,
) -> str:
    """Draw values over epochs, one line per name.

    Args:
        series: name -> one value per epoch; None or NaN breaks the line.
        title: title for screen readers.
        y_label: what the values are.
        epochs: the epoch of each value; None counts from 1.
        limits: ends of the vertical axis; None follows the data.
        best: an epoch to mark, and its label.

    Returns:
        An SVG element; empty axes without a finite value.
    """
    count = max((len(values) for values in series.values()), default=0)
    at = list(epochs) if epochs is not None else list(range(1, count + 1))
    first, last = (min(at), max(at)) if at else (1, 1)
    axes = Axes(
        (first, max(last, first + 1)),
        _limits(series.values(), limits),
        "epoch",
        y_label,
        _keys(series) if len(series) > 1 else (),
        size=(340, 230),
        x_ticks=[(t, tick_label(t)) for t in nice_ticks(first, last, 8) if t == int(t)],
    )
    for key, values in zip(_keys(series), series.values(), strict=True):
        axes.line(at[: len(values)], values, key.colour, dash=key.dash)
    if best is not None:
        _mark_epoch(axes, *best)
    return axes.drawn(title, "; ".join(_summary(name, values) for name, values in series.items()))


def _keys(names: Iterable[str]) -> list[Key]:
    return [
        Key(name, SERIES[i % len(SERIES)], DASHES[i % len(DASHES)]) for i, name in enumerate(names)
    ]


def _finite(values: Values) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _summary(name: str, values: Values) -> str:
    known = _finite(values)
    if not known:
        return f"{name}: no values"
    return f"{name}: from {known[0]:.3g} to {known[-1]:.3g} over {len(values)} epochs"


def _limits(
    series: Iterable[Values], wanted: tuple[float | None, float | None]
) -> tuple[float, float]:
    known = [value for values in series for value in _finite(values)] or [0.0, 1.0]
    room = 0.05 * (max(known) - min(known)) or abs(known[0]) * 0.1 or 1.0
    low = min(known) - room if wanted[0] is None else wanted[0]
    high = max(known) + room if wanted[1] is None else wanted[1]
    return low, high if high > low else low + 1.0


def _mark_epoch(axes: Axes, epoch: int, words: str) -> None:
    """Add a vertical line at an epoch, with its label on the side with space."""
    x = axes.across(epoch)
    axes.marks.append(stroke([(x, axes.top), (x, axes.bottom)], MUTED, "3 3", 1))
    late = x > (axes.left + axes.right) / 2
    side, anchor = (x - 6, "end") if late else (x + 6, "start")
    # The outline keeps the label readable in front of a curve.
    axes.marks.append(
        label(
            side,
            axes.top + 10,
            words,
            text_anchor=anchor,
            font_size=11,
            stroke=PAPER,
            stroke_width=4,
            paint_order="stroke",
        )
    )


def roc(
    curve: Curve,
    *,
    title: str,
    name: str = "test",
    beside: tuple[str, Curve] | None = None,
    operating_point: tuple[float, float, str] | None = None,
) -> str:
    """Draw a receiver operating characteristic with its 95 % band and the chance line.

    Args:
        curve: ``fpr`` and ``tpr`` in [0, 1] and, optionally, ``low`` and ``high`` of the band.
        title: title for screen readers.
        name: name of the split.
        beside: name and curve of another split, dashed and without a band.
        operating_point: false-positive rate, true-positive rate and legend text.
    """
    keys = [*_split_keys(name, beside, curve), Key("guessing", MUTED, DASHES[2])]
    if operating_point:
        keys.append(Key(operating_point[2], INK, mark="dot"))
    axes = _unit_square("false-positive rate (1 − specificity)", "sensitivity", keys)
    axes.line([0, 1], [0, 1], MUTED, dash=DASHES[2], width=1.2)
    _add_curves(axes, ("fpr", "tpr"), curve, beside)
    if operating_point:
        false_rate, true_rate, words = operating_point
        text = f"{words}: sensitivity {true_rate:.3f}, specificity {1 - false_rate:.3f}"
        axes.point(false_rate, true_rate, INK, text=text)
    return axes.drawn(title, _described(curve, "fpr", "tpr", "sensitivity", "false-positive rate"))


def precision_recall(
    curve: Curve,
    *,
    title: str,
    prevalence: float,
    name: str = "test",
    beside: tuple[str, Curve] | None = None,
) -> str:
    """Draw precision over recall with its 95 % band and the chance line.

    Args:
        curve: ``recall`` and ``precision`` in [0, 1] and, optionally, ``low`` and ``high``.
        title: title for screen readers.
        prevalence: share of positive images, in [0, 1].
        name: name of the split.
        beside: name and curve of another split, dashed and without a band.
    """
    guess = Key(f"guessing (prevalence, {percent(prevalence, 1000)})", MUTED, DASHES[2])
    keys = [*_split_keys(name, beside, curve), guess]
    axes = _unit_square("recall (sensitivity)", "precision (PPV)", keys)
    axes.line([0, 1], [prevalence, prevalence], MUTED, dash=DASHES[2], width=1.2)
    _add_curves(axes, ("recall", "precision"), curve, beside)
    return axes.drawn(title, _described(curve, "recall", "precision", "precision", "recall"))


def _unit_square(x_label: str, y_label: str, legend: Sequence[Key]) -> Axes:
    span = (0.0, 1.0)
    return Axes(span, span, x_label, y_label, legend, _SQUARE, x_ticks=_SHARES, y_ticks=_SHARES)


def _split_keys(name: str, beside: tuple[str, Curve] | None, curve: Curve) -> list[Key]:
    band = [Key("95 % band", SERIES[0], mark="band")] if _finite(curve.get("low", ())) else []
    other = [Key(beside[0], SERIES[1], DASHES[1])] if beside else []
    return [Key(name, SERIES[0]), *band, *other]


def _add_curves(
    axes: Axes, names: tuple[str, str], curve: Curve, beside: tuple[str, Curve] | None
) -> None:
    x, y = names
    if "low" in curve and "high" in curve:
        axes.band(curve[x], curve["low"], curve["high"], SERIES[0])
    if beside:
        axes.line(beside[1][x], beside[1][y], SERIES[1], dash=DASHES[1], width=1.5)
    axes.line(curve[x], curve[y], SERIES[0])


def _described(curve: Curve, x: str, y: str, y_words: str, x_words: str) -> str:
    """Describe the curve in words: its height at four points."""
    points = [point for run in finite_runs(curve[x], curve[y]) for point in run]
    if not points:
        return "no points"
    near = [min(points, key=lambda p: abs(p[0] - wanted)) for wanted in (0.05, 0.1, 0.5, 0.9)]
    descriptions = [f"{y_words} {up:.2f} at {x_words} {across:.2f}" for across, up in near]
    return "; ".join(dict.fromkeys(descriptions))


def reliability(
    bins: Sequence[Mapping[str, float | None]], *, title: str, x_label: str, y_label: str
) -> str:
    """Draw the fraction of positives over the predicted probability, with an interval per bin.

    Args:
        bins: per bin ``n``, ``mean_probability``, ``fraction``, ``low`` and ``high``, all in
            [0, 1] but ``n``; an empty bin (``fraction`` None) is omitted.
        title: title for screen readers.
        x_label: label of the predicted probability.
        y_label: label of the fraction of positives.
    """
    keys = [
        Key("observed, with 95 % interval", SERIES[0], mark="dot"),
        Key("perfect", MUTED, DASHES[2]),
    ]
    axes = _unit_square(x_label, y_label, keys)
    axes.line([0, 1], [0, 1], MUTED, dash=DASHES[2], width=1.2)
    descriptions = []
    for cell in bins:
        x, y, n = cell["mean_probability"], cell["fraction"], cell["n"]
        if x is None or y is None:
            continue
        axes.line([x, x], [cell["low"], cell["high"]], SERIES[0], width=1.6)
        descriptions.append(f"stated {x:.2f}, observed {y:.2f} (n = {n})")
        axes.point(x, y, SERIES[0], text=descriptions[-1])
    return axes.drawn(title, "; ".join(descriptions) or "no bins")
