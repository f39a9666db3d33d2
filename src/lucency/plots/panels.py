"""Confusion matrix and score histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lucency.plots.axes import (
    GRID,
    HEAT,
    INK,
    SERIES,
    THIN,
    Axes,
    Tick,
    box,
    hint,
    label,
    nice_ticks,
    percent,
    shorten,
    stroke,
    svg,
    tag,
    text_width,
)


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], *, title: str) -> str:
    """Draw a confusion matrix with counts and row percentages, shaded by the percentage.

    Args:
        counts: (classes, classes) counts, true classes in rows, decided ones in columns.
        classes: 2 to 20 names, in the order of the rows; more become small.
        title: title for screen readers.
    """
    shown = [shorten(name, 16) for name in classes]
    widest = max(text_width(name) for name in shown)
    cell = max(38.0, min(92.0, (330 - widest - 34) / len(classes)))
    slanted = widest > cell - 6
    left, top = widest + 34, 26 + (0.72 * widest + 6 if slanted else 18)
    side = cell * len(classes)
    width = left + side + (0.7 * widest if slanted else 0) + 2
    marks = [label(left + side / 2, 14, "decision", fill=INK, text_anchor="middle")]
    middle = top + side / 2
    turn = f"rotate(-90 12 {middle:.1f})"
    marks.append(label(12, middle, "truth", fill=INK, text_anchor="middle", transform=turn))
    for i, name in enumerate(classes):
        x, y = left + (i + 0.5) * cell, top + (i + 0.5) * cell
        marks.append(label(left - 8, y + 4, name, limit=16, text_anchor="end"))
        marks.append(_column_name(x, top - 7, name, slanted=slanted))
        for j, decided in enumerate(classes):
            words = f"{counts[i][j]} of {sum(counts[i])} {name} decided {decided}"
            corner = (left + j * cell, y - cell / 2)
            marks.append(tag("g", hint(words) + _cell(corner, cell, counts[i], j)))
    return svg(width, top + side + 4, title, _confusion_description(counts, classes), marks)


def _column_name(x: float, y: float, name: str, *, slanted: bool) -> str:
    if not slanted:
        return label(x, y, name, limit=16, text_anchor="middle")
    return label(x, y, name, limit=16, transform=f"rotate(-45 {x:.1f} {y:.1f})")


def _cell(corner: tuple[float, float], side: float, row: Sequence[int], column: int) -> str:
    (x, y), total = corner, sum(row)
    share = row[column] / total if total else 0.0
    # At most 0.62, so that text stays readable in both themes.
    opacity = 0.04 + 0.58 * share
    square = box(x + 1, y + 1, side - 2, side - 2, fill=HEAT, fill_opacity=opacity, stroke=GRID)
    middle, big = x + side / 2, min(18.0, side * 0.3)
    small = max(9.0, big * 0.66)
    lines = [(f"{row[column]:,}", y + side / 2, big)]
    lines.append((percent(share, total) if total else "–", y + side / 2 + small * 1.4, small))
    return square + "".join(
        label(middle, at, text, fill=INK, font_size=size, text_anchor="middle")
        for text, at, size in lines
    )


def _confusion_description(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    return "; ".join(
        f"of {sum(row)} {name}, {row[i]} decided {name}"
        for i, (name, row) in enumerate(zip(classes, counts, strict=True))
    )


def score_histograms(
    scores: Mapping[str, npt.ArrayLike],
    *,
    title: str,
    x_label: str,
    threshold: float | None = None,
    bins: int = 25,
) -> str:
    """Draw one histogram per group in rows, on one scale.

    Args:
        scores: group -> (n,) probabilities in [0, 1]; a group may be empty.
        title: title for screen readers.
        x_label: label of the probability.
        threshold: decision threshold, drawn as a line.
        bins: bars per group.
    """
    shares = {name: _shares(values, bins) for name, values in scores.items()}
    tallest = max((float(share.max()) for _, share in shares.values()), default=0.0) or 1.0
    top = nice_ticks(0, tallest, 2)[-1] if tallest > 0.02 else tallest
    panel = tallest * 1.35
    rows = len(shares)
    ticks: list[Tick] = []
    for i in range(rows):
        ticks += [(i * panel, "0"), (i * panel + top, f"{top * 100:.3g}{THIN}%")]
    axes = Axes(
        (0.0, 1.0),
        (0.0, panel * rows),
        x_label,
        "share of the images",
        size=(340, 74.0 + 82 * rows),
        y_ticks=ticks,
    )
    for i, (name, (n, share)) in enumerate(shares.items()):
        base = (rows - 1 - i) * panel
        colour = SERIES[(i + 2) % len(SERIES)]  # the first two are colours of splits
        axes.marks += _bars(axes, base, share, colour)
        words = f"{shorten(name, 30)} (n = {n:,})"
        at = axes.up(base + tallest * 1.12)
        axes.marks.append(label(axes.left + 8, at, words, fill=INK, font_weight="600"))
    if threshold is not None:
        _mark_threshold(axes, threshold)
    descriptions = "; ".join(
        f"{name}: n = {n}, {_above(values, threshold)}"
        for (name, (n, _)), values in zip(shares.items(), scores.values(), strict=True)
    )
    return axes.drawn(title, descriptions)


def _shares(values: npt.ArrayLike, bins: int) -> tuple[int, npt.NDArray[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    counts = np.histogram(array, bins=bins, range=(0.0, 1.0))[0]
    return len(array), counts / max(len(array), 1)


def _bars(axes: Axes, base: float, share: npt.NDArray[np.float64], colour: str) -> list[str]:
    bars = []
    width = 1.0 / len(share)
    for i, height in enumerate(share.tolist()):
        if not height:
            continue
        # One image among thousands must stay visible.
        tall = max(axes.up(base) - axes.up(base + height), 1.5)
        left, right = axes.across(i * width), axes.across((i + 1) * width)
        words = f"{i * width:.2f} to {(i + 1) * width:.2f}: {height:.1%}"
        bar = box(left + 0.5, axes.up(base) - tall, right - left - 1, tall, fill=colour)
        bars.append(tag("g", hint(words) + bar))
    return bars


def _mark_threshold(axes: Axes, threshold: float) -> None:
    x = axes.across(threshold)
    axes.marks.append(stroke([(x, axes.top), (x, axes.bottom)], INK, "4 3", 1.3))
    late = threshold > 0.55
    side, anchor = (x - 6, "end") if late else (x + 6, "start")
    words = f"threshold {threshold:.3g}"
    axes.marks.append(label(side, axes.top + 8, words, fill=INK, text_anchor=anchor, font_size=11))


def _above(values: npt.ArrayLike, threshold: float | None) -> str:
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return "no images"
    if threshold is None:
        return f"median {np.median(array):.2f}"
    return f"{(array >= threshold).mean():.1%} at or above {threshold:.3g}"
