"""What separates the classes or the splits besides the content: probes, shift, outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lucency import plots
from lucency.plots import percent
from lucency.report.drawings import Figure, estimate, figure
from lucency.report.files import Json, number
from lucency.report.images import Album
from lucency.report.wording import UNDEFINED, figure_text, plural

# Level of a finding -> the colour of its sentence, and the word before it.
_LEVELS = {"alarm": ("bad", "Alarm"), "warning": ("warn", "Warning"), "note": ("note", "Note")}
_MANY = 1000  # images behind a probe: three decimals


def findings(audit: Json | None) -> list[tuple[str, str, str]] | None:
    """Return colour, word and sentence of each finding, alarms first; None without probes."""
    found = (audit or {}).get("findings")
    if found is None:
        return None
    order = list(_LEVELS)
    known = [(str(each["level"]), str(each["text"])) for each in found]
    known.sort(key=lambda each: order.index(each[0]) if each[0] in order else len(order))
    return [(*_LEVELS.get(level, ("note", level)), text) for level, text in known]


def probes(audit: Json | None, own: Json | None) -> dict[str, Any] | None:
    """Return the probes for shortcuts: a drawing and rows; None where none were made.

    Args:
        audit: holds "probes".
        own: the estimate of the network's own AUROC, drawn beside them where there is one.
    """
    found = (audit or {}).get("probes")
    if not found:
        return None
    tested = any(each.get("test") for each in found)
    return {
        "heads": ["Probe", "AUROC, cross-validated", *(["On the test split"] * tested), "Flagged",
                  "Strongest feature"],
        "rows": [_probe(each, tested) for each in found],
        "figure": _lineup(found, own),
        "flagged": sum(bool(each.get("flagged")) for each in found),
        "count": plural(len(found), "probe"),
        "tested": tested,
    }  # fmt: skip


def _probe(each: Json, tested: bool) -> list[str]:
    test = figure_text(each["test"], _MANY, share=False) if each.get("test") else UNDEFINED
    return [
        str(each["probe"]),
        figure_text(each.get("auc"), _MANY, share=False),
        *([test] * tested),
        "yes" if each.get("flagged") else "no",
        _features(each.get("features") or []),
    ]


def _features(found: Sequence[Json]) -> str:
    known = [(str(each["name"]), number(each.get("auc"))) for each in found[:3]]
    return ", ".join(name if auc is None else f"{name} {auc:.3f}" for name, auc in known)


def _lineup(found: Sequence[Json], own: Json | None) -> Figure:
    lines = [plots.Line("this network", estimate(own), own=True)] if own else []
    lines += [
        plots.Line(str(each["probe"]), estimate(each.get("auc")), alarm=bool(each.get("flagged")))
        for each in found
    ]
    drawing = plots.lineup(
        lines,
        title="How well the classes can be separated without the content",
        x_label="AUROC",
        own="the network",
        limits=(_floor(lines), 1.0),
    )
    caption = (
        "Each probe sees only what its name states. A probe that comes near the network shows a "
        "shortcut that the network may have taken."
    )
    return figure(drawing, "Separation without the content", caption, "shortcuts")


def _floor(lines: Sequence[plots.Line]) -> float:
    ends = [end for line in lines for end in (line.estimate.value, line.estimate.low)]
    lowest = min((end for end in ends if end is not None), default=0.5)
    return max(0.0, min(0.4, math.floor(10 * lowest) / 10))


def shift(audit: Json | None) -> dict[str, Any] | None:
    """Return how the training and the test split differ; None where they were not compared."""
    found = (audit or {}).get("shift")
    if not found:
        return None
    tone = found.get("tone")
    return {
        "probes": [
            [str(each["probe"]), figure_text(each.get("auc"), _MANY, share=False)]
            for each in found.get("probes") or []
        ],
        "prevalence": [
            [str(each["class"]), _share(each.get("train")), _share(each.get("test")),
             _points(each.get("difference"))]
            for each in found.get("prevalence") or []
        ],
        "tone": _tone(tone) if tone else "",
    }  # fmt: skip


def _share(value: object) -> str:
    known = number(value)
    return UNDEFINED if known is None else percent(known, _MANY)


def _points(entry: Json | None) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    scaled = {
        key: None if (value := number((entry or {}).get(key))) is None else 100 * value
        for key in ("value", "low", "high")
    }
    return _signed(scaled, "points")


def _signed(entry: Json, unit: str) -> str:
    value, low, high = (number(entry.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return UNDEFINED
    text = f"{value:+.1f} {unit}"
    text += "" if low is None or high is None else f" ({low:+.1f} to {high:+.1f})"
    return text.replace("-", "−")


def _tone(tone: Json) -> str:
    difference = tone.get("difference") or {}
    value, low, high = (number(difference.get(key)) or 0.0 for key in ("value", "low", "high"))
    amount = _signed(difference, "grey levels of 255")
    if low <= 0 <= high:
        return f"Training and test images do not differ measurably in brightness: {amount}."
    way = "brighter" if value > 0 else "darker"
    return f"The test images are {way} than the training images: {amount}."


def outliers(audit: Json | None, album: Album) -> dict[str, Any] | None:
    """Return images that differ from the rest, with thumbnails; None where none were searched."""
    found = (audit or {}).get("outliers")
    if found is None:
        return None
    images = [
        (str(each["file"]), str(each["reason"]), _value(each.get("value")))
        for each in found.get("images") or []
    ]
    count = int(found.get("n", len(images)))
    cards = [(file, why, album.image("outlier", file)) for file, why, _ in images]
    return {
        "sentence": f"{plural(count, 'image')} differ{'s' if count == 1 else ''} from the rest."
        if count
        else "No image differs from the rest.",
        "cards": [card for card in cards if card[2]],
        "rows": images,
        "more": count - len(images),
    }


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)
