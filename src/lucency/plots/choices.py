"""Plots for clinical decisions: net benefit, predictive values, risk over coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lucency.plots.axes import (
    DASHES,
    MUTED,
    SERIES,
    THIN,
    Axes,
    Key,
    Tick,
    Values,
    finite_runs,
    nice_ticks,
)
from lucency.plots.forests import Estimate

Columns = Mapping[str, Values]


def net_benefit(curve: Columns, *, title: str, name: str, positive: str) -> str:
    """Draw a decision curve: net benefit over the threshold probability.

    Where a curve falls far below 0 it is cut off: doing nothing is better there, however far.

    Args:
        curve: ``threshold`` in (0, 1); ``model`` and ``all``, net benefit in positives found per
            image, at most the prevalence; optionally ``low`` and ``high`` of the model's band.
        title: title for screen readers.
        name: name of the curve of the model.
        positive: the positive class.
    """
    known = [float(y) for key in ("model", "all", "high") for y in _finite(curve.get(key, ()))]
    top = max([*known, 0.02]) * 1.05
    floor = -0.15 * top
    at = curve["threshold"]
    keys = [Key(name, SERIES[0]), Key("95 % band", SERIES[0], mark="band")]
    keys += [Key(f"treat all as {positive}", SERIES[1], DASHES[1]), Key("treat none", MUTED, "2 3")]
    axes = Axes((0.0, 1.0), (floor, top), "threshold probability", "net benefit", keys)
    axes.line([0, 1], [0, 0], MUTED, dash=DASHES[2], width=1.2)
    if "low" in curve and "high" in curve:
        axes.band(at, _raised(curve["low"], floor), _raised(curve["high"], floor), SERIES[0])
    axes.line(at, _above(curve["all"], floor), SERIES[1], dash=DASHES[1], width=1.5)
    axes.line(at, _above(curve["model"], floor), SERIES[0])
    return axes.drawn(title, _described(curve, name))


def _described(curve: Columns, name: str) -> str:
    points = [p for run in finite_runs(curve["threshold"], curve["model"], curve["all"])
              for p in run]  # fmt: skip
    near = [min(points, key=lambda p: abs(p[0] - wanted)) for wanted in (0.1, 0.3, 0.5) if points]
    descriptions = [
        f"at {t:.2f}: {name} {model:.3f}, treat all {every:.3f}" for t, model, every in near
    ]
    return "; ".join(dict.fromkeys(descriptions)) or "no points"


def _finite(values: Values) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _raised(values: Values, floor: float) -> list[float | None]:
    return [None if value is None else max(value, floor) for value in values]


def _above(values: Values, floor: float) -> list[float | None]:
    return [None if value is None or value < floor else value for value in values]


def predictive_values(
    prevalences: Sequence[float],
    values: Mapping[str, Sequence[Estimate]],
    *,
    title: str,
    positive: str,
) -> str:
    """Draw predictive values over the prevalence, on a logit scale.

    Args:
        prevalences: in (0, 1), rising.
        values: name -> one value in [0, 1] per prevalence; up to eight names.
        title: title for screen readers.
        positive: the positive class.
    """
    # Log odds: 1 %, 10 % and 50 % are about equally far apart.
    at = [math.log(share / (1 - share)) for share in prevalences]
    keys = [Key(name, SERIES[i], DASHES[i % len(DASHES)]) for i, name in enumerate(values)]
    axes = Axes(
        (min(at, default=-1.0) - 0.15, max(at, default=1.0) + 0.15),
        (0.0, 1.0),
        f"prevalence of {positive}",
        "",
        [*keys, Key("95 % interval", MUTED, mark="band")],
        size=(340, 260),
        x_ticks=_prevalence_ticks(prevalences, at),
        y_ticks=[(tick / 5, f"{tick * 20}{THIN}%") for tick in range(6)],
    )
    descriptions = []
    for i, (name, found) in enumerate(values.items()):
        axes.band(at, [each.low for each in found], [each.high for each in found], SERIES[i])
        axes.line(at, [each.value for each in found], SERIES[i], dash=keys[i].dash)
        for x, share, each in zip(at, prevalences, found, strict=True):
            if each.value is not None:
                descriptions.append(f"{name} {each.value:.3f} at prevalence {share:.3g}")
                axes.point(x, each.value, SERIES[i], hollow=i > 0, text=descriptions[-1])
    return axes.drawn(title, "; ".join(descriptions) or "no figures")


def _prevalence_ticks(prevalences: Sequence[float], at: Sequence[float]) -> list[Tick]:
    """Label the prevalences, without labels that would touch the previous one."""
    ticks: list[Tick] = []
    room = 0.11 * (max(at, default=1.0) - min(at, default=0.0))
    for x, share in zip(at, prevalences, strict=True):
        if not ticks or x - ticks[-1][0] >= room:
            ticks.append((x, f"{100 * share:.3g}{THIN}%"))
    return ticks


def risk_coverage(curve: Columns, *, title: str, name: str) -> str:
    """Draw the error rate among the most confident predictions over their share.

    Args:
        curve: ``coverage`` and ``risk`` in [0, 1] and, optionally, ``low`` and ``high`` of the
            band (El-Yaniv & Wiener 2010).
        title: title for screen readers.
        name: name of the split.
    """
    risks = [y for key in ("risk", "high") for y in _finite(curve.get(key, ()))]
    top = min(1.0, max([*risks, 0.01]) * 1.1)
    axes = Axes(
        (0.0, 1.0),
        (0.0, top),
        "coverage: share of images predicted",
        "risk: share wrong",
        [Key(name, SERIES[0]), Key("95 % band", SERIES[0], mark="band")],
        x_ticks=[(tick / 5, f"{tick * 20}{THIN}%") for tick in range(6)],
        y_ticks=[(y, f"{100 * y:.3g}{THIN}%") for y in nice_ticks(0.0, top)],
    )
    at = curve["coverage"]
    if "low" in curve and "high" in curve:
        axes.band(at, curve["low"], curve["high"], SERIES[0])
    axes.line(at, curve["risk"], SERIES[0])
    points = [point for run in finite_runs(at, curve["risk"]) for point in run]
    near = [min(points, key=lambda p: abs(p[0] - wanted)) for wanted in (0.5, 0.8, 1) if points]
    descriptions = [f"{risk:.1%} wrong of the {share:.0%} most certain" for share, risk in near]
    return axes.drawn(title, "; ".join(dict.fromkeys(descriptions)) or "no points")
