"""Forest plots: values with their intervals in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lucency.plots.axes import DASHES, MUTED, SERIES, WARN, Axes, Key, diamond, nice_ticks, stroke


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; any of the three may be missing."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One row of a forest plot: an estimate per split, in the order of the splits."""

    name: str
    estimates: Sequence[Estimate]
    baseline: float | None = None


def forest(
    rows: Sequence[Row],
    *,
    splits: Sequence[str],
    title: str,
    baseline: str,
    limits: tuple[float, float] = (0.0, 1.0),
) -> str:
    """Draw a forest plot with the value of a baseline in each row.

    Args:
        rows: values in [0, 1]; longer intervals are drawn beyond the limits.
        splits: names of the estimates of each row, the most important first.
        title: title for screen readers.
        baseline: legend of the hollow diamond.
        limits: ends of the scale.
    """
    keys = [Key(name, SERIES[i], mark="ring" if i else "dot") for i, name in enumerate(splits)]
    count = len(rows)
    axes = Axes(
        limits,
        (-0.6, count - 0.4),
        legend=[*keys, Key(baseline, MUTED, mark="diamond")],
        size=(340, 76.0 + 27 * count),
        x_ticks=[(tick, f"{tick:.3g}") for tick in nice_ticks(*limits)],
        y_ticks=[(count - 1 - i, row.name) for i, row in enumerate(rows)],
    )
    descriptions = []
    for i, row in enumerate(rows):
        for j, estimate in enumerate(row.estimates):
            level = count - 1 - i + (0.17 - 0.34 * j if len(row.estimates) > 1 else 0.0)
            descriptions += _add_estimate(axes, level, estimate, f"{row.name}, {splits[j]}", j)
        if row.baseline is not None:
            x, y = axes.across(row.baseline), axes.up(count - 1 - i)
            axes.marks.append(diamond(x, y, MUTED, f"{baseline}: {row.baseline:.3f}"))
    return axes.drawn(title, "; ".join(descriptions) or "no figures")


def _add_estimate(axes: Axes, level: float, shown: Estimate, name: str, split: int) -> list[str]:
    if shown.value is None:
        return [f"{name}: undefined"]
    words = f"{name}: {shown.value:.3f}"
    if shown.low is not None and shown.high is not None:
        words += f" ({shown.low:.3f} to {shown.high:.3f})"
        axes.line([shown.low, shown.high], [level, level], SERIES[split], width=2)
    axes.point(shown.value, level, SERIES[split], hollow=split > 0, text=words)
    return [words]


@dataclass(frozen=True)
class Line:
    """One row of a line-up: a value, whether it is the reference, and whether it is an alarm."""

    name: str
    estimate: Estimate
    own: bool = False
    alarm: bool = False


def lineup(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    own: str,
    limits: tuple[float, float],
    others: str = "probe",
    chance: tuple[float, str] = (0.5, "guessing"),
) -> str:
    """Draw values of several classifiers in rows, alarms as red diamonds.

    Args:
        lines: values on one scale, in this order; an undefined value leaves an empty row.
        title: title for screen readers.
        x_label: label of the scale.
        own: legend of the reference.
        limits: ends of the scale.
        others: legend of the other rows.
        chance: value and legend of a vertical line, drawn inside the limits.
    """
    keys = [Key(own, SERIES[0], mark="dot")] if any(line.own for line in lines) else []
    keys.append(Key(others, MUTED, mark="ring"))
    keys += [Key("alarm", WARN, mark="diamond")] if any(line.alarm for line in lines) else []
    count = len(lines)
    axes = Axes(
        limits,
        (-0.6, count - 0.4),
        x_label,
        legend=[*keys, Key(chance[1], MUTED, DASHES[2])],
        size=(340, 96.0 + 23 * count),
        x_ticks=[
            (tick, f"{tick:.3g}" if limits[1] < 0.5 else f"{tick:.1f}")
            for tick in nice_ticks(*limits, 10)
        ],
        y_ticks=[(count - 1 - i, line.name) for i, line in enumerate(lines)],
    )
    if limits[0] <= chance[0] <= limits[1]:
        x = axes.across(chance[0])
        axes.marks.append(stroke([(x, axes.top), (x, axes.bottom)], MUTED, DASHES[2], 1.2))
    descriptions = [_add_line(axes, count - 1 - i, line) for i, line in enumerate(lines)]
    return axes.drawn(title, "; ".join(descriptions) or "no figures")


def _add_line(axes: Axes, level: float, line: Line) -> str:
    shown = line.estimate
    if shown.value is None:
        return f"{line.name}: undefined"
    words = f"{line.name}: {shown.value:.3f}"
    colour = WARN if line.alarm else SERIES[0] if line.own else MUTED
    if shown.low is not None and shown.high is not None:
        words += f" ({shown.low:.3f} to {shown.high:.3f})"
        axes.line([shown.low, shown.high], [level, level], colour, width=2)
    words += ", alarm" if line.alarm else ""
    if line.alarm:
        axes.marks.append(diamond(axes.across(shown.value), axes.up(level), colour, words))
    else:
        axes.point(shown.value, level, colour, hollow=not line.own, text=words)
    return words
