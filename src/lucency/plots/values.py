"""Plots of predicted numbers: against the truth, their differences, quantiles, and answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lucency.plots.axes import (
    DASHES,
    INK,
    MUTED,
    SERIES,
    THIN,
    Axes,
    Key,
    Values,
    finite_runs,
    nice_ticks,
    tag,
)
from lucency.plots.forests import Estimate

_SQUARE = (340.0, 330.0)
_SHARES = [(share / 5, f"{share / 5:.1f}") for share in range(6)]
_RADIUS = 2.6  # pixels of one image among many


def predicted_values(
    true: Sequence[float],
    predicted: Sequence[float],
    *,
    title: str,
    name: str,
    unit: str = "image",
) -> str:
    """Draw predicted over true numbers, with the diagonal.

    Args:
        true: n true numbers.
        predicted: n predicted ones.
        title: title for screen readers.
        name: what the number is.
        unit: what has a number.
    """
    ends = _ends([*true, *predicted])
    keys = [Key(unit, SERIES[0], mark="dot"), Key("right", MUTED, DASHES[2])]
    axes = Axes(ends, ends, f"true {name}", f"predicted {name}", keys, _SQUARE)
    axes.line(ends, ends, MUTED, dash=DASHES[2], width=1.2)
    _cloud(axes, true, predicted)
    if not true:
        return axes.drawn(title, "no images")
    low, high = (f"{end(true):.4g}" for end in (min, max))
    shown = " to ".join(f"{end(predicted):.4g}" for end in (min, max))
    text = f"{len(true)} images with {name} from {low} to {high}; predicted: {shown}"
    return axes.drawn(title, text)


def agreement(
    true: Sequence[float],
    predicted: Sequence[float],
    *,
    title: str,
    name: str,
    bias: Estimate,
    limits: tuple[Estimate, Estimate],
) -> str:
    """Draw differences over means, with bias and limits of agreement (Bland & Altman 1986).

    Args:
        true: n true numbers.
        predicted: n predicted ones.
        title: title for screen readers.
        name: what the number is.
        bias: mean difference, predicted less true.
        limits: lower and upper limit of agreement; all three with intervals, drawn as bands.
    """
    middles = [(a + b) / 2 for a, b in zip(true, predicted, strict=True)]
    apart = [b - a for a, b in zip(true, predicted, strict=True)]
    lines = {"bias": bias, "lower limit": limits[0], "upper limit": limits[1]}
    drawn = [x for each in lines.values() for x in (each.value, each.low, each.high)]
    x, y = _ends(middles), _ends([*apart, *(end for end in drawn if end is not None), 0.0])
    keys = [
        Key("bias", INK),
        Key("95 % limits of agreement", SERIES[1], DASHES[1]),
        Key("their 95 % intervals", SERIES[1], mark="band"),
    ]
    size = (340.0, 300.0)
    axes = Axes(x, y, f"mean of true and predicted {name}", "predicted − true", keys, size)
    axes.line(x, [0.0, 0.0], MUTED, dash=DASHES[2], width=1)
    for i, each in enumerate(lines.values()):
        colour = SERIES[1] if i else INK
        if each.low is not None and each.high is not None:
            axes.band(x, [each.low] * 2, [each.high] * 2, colour)
        axes.line(x, [each.value] * 2, colour, dash=DASHES[1] if i else "", width=1.5)
    _cloud(axes, middles, apart)
    return axes.drawn(title, "; ".join(_described(key, each) for key, each in lines.items()))


def _described(name: str, found: Estimate) -> str:
    if found.value is None:
        return f"{name} undefined"
    if found.low is None or found.high is None:
        return f"{name} {found.value:.3g}"
    return f"{name} {found.value:.3g} ({found.low:.3g} to {found.high:.3g})"


def quantile_calibration(rows: Sequence[tuple[float, Estimate]], *, title: str) -> str:
    """Draw the share of true numbers below each predicted quantile over its level.

    Args:
        rows: level of a quantile in (0, 1), and the share at or below it with its interval.
        title: title for screen readers.
    """
    keys = [
        Key("observed, with 95 % interval", SERIES[0], mark="dot"),
        Key("perfect", MUTED, DASHES[2]),
    ]
    span = (0.0, 1.0)
    axes = Axes(
        span, span, "level of the predicted quantile", "share of true numbers below it", keys,
        _SQUARE, x_ticks=_SHARES, y_ticks=_SHARES,
    )  # fmt: skip
    axes.line(span, span, MUTED, dash=DASHES[2], width=1.2)
    descriptions = []
    for level, share in rows:
        if share.value is None:
            continue
        axes.line([level, level], [share.low, share.high], SERIES[0], width=1.6)
        descriptions.append(f"{share.value:.2f} below the quantile of {level:g}")
        axes.point(level, share.value, SERIES[0], text=descriptions[-1])
    return axes.drawn(title, "; ".join(descriptions) or "no quantiles")


def error_coverage(curve: Mapping[str, Values], *, title: str, name: str, split: str) -> str:
    """Draw the mean absolute error of the images with the narrowest intervals over their share.

    Args:
        curve: ``coverage`` in [0, 1], ``risk`` in the unit of the number and, optionally, ``low``
            and ``high`` of the band.
        title: title for screen readers.
        name: what the number is.
        split: name of the split.
    """
    known = [y for key in ("risk", "high") for y in curve.get(key, ()) if y is not None]
    top = max([y for y in known if math.isfinite(y)], default=0.0) * 1.1 or 1.0
    axes = Axes(
        (0.0, 1.0),
        (0.0, top),
        "share of images answered, narrowest first",
        f"mean absolute error of {name}",
        [Key(split, SERIES[0]), Key("95 % band", SERIES[0], mark="band")],
        x_ticks=[(tick / 5, f"{tick * 20}{THIN}%") for tick in range(6)],
    )
    at = curve["coverage"]
    if "low" in curve and "high" in curve:
        axes.band(at, curve["low"], curve["high"], SERIES[0])
    axes.line(at, curve["risk"], SERIES[0])
    points = [point for run in finite_runs(at, curve["risk"]) for point in run]
    near = [min(points, key=lambda p: abs(p[0] - wanted)) for wanted in (0.5, 0.8, 1) if points]
    texts = [f"{error:.3g} for {share:.0%} of the images" for share, error in near]
    return axes.drawn(title, "; ".join(dict.fromkeys(texts)) or "no points")


def value_forest(
    rows: Sequence[tuple[str, Estimate]], *, title: str, name: str, whole: float | None
) -> str:
    """Draw a mean absolute error with its interval in each row, beside that of all images.

    Args:
        rows: name of a group, and its error.
        title: title for screen readers.
        name: what the number is.
        whole: error of all images.
    """
    ends = [x for _, each in rows for x in (each.value, each.high) if x is not None]
    top = max([*ends, whole or 0.0], default=0.0) * 1.05 or 1.0
    count = len(rows)
    axes = Axes(
        (0.0, top),
        (-0.6, count - 0.4),
        f"mean absolute error of {name}",
        legend=[Key("group", SERIES[0], mark="dot"), Key("all images", MUTED, DASHES[2])],
        size=(340, 94.0 + 27 * count),
        x_ticks=[(tick, f"{tick:.4g}") for tick in nice_ticks(0.0, top)],
        y_ticks=[(count - 1 - i, row) for i, (row, _) in enumerate(rows)],
    )
    if whole is not None:
        axes.line([whole, whole], [-0.6, count - 0.4], MUTED, dash=DASHES[2], width=1.2)
    texts = []
    for i, (row, each) in enumerate(rows):
        texts.append(_described(row, each))
        if each.value is not None:
            level = count - 1 - i
            axes.line([each.low, each.high], [level, level], SERIES[0])
            axes.point(each.value, level, SERIES[0], text=texts[-1])
    return axes.drawn(title, "; ".join(texts) or "no groups")


def _cloud(axes: Axes, xs: Sequence[float], ys: Sequence[float]) -> None:
    """Add small marks that show where many lie on each other."""
    axes.marks += [
        tag("circle", cx=axes.across(x), cy=axes.up(y), r=_RADIUS, fill=SERIES[0], fill_opacity=0.5)
        for x, y in zip(xs, ys, strict=True)
    ]


def _ends(numbers: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: all numbers and some room."""
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    room = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room
