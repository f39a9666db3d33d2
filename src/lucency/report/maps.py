"""Activation maps: examples, and the results of the tests of their meaning."""

from __future__ import annotations

from typing import Any

from lucency import plots
from lucency.report.drawings import Figure, estimate, figure
from lucency.report.files import Json, Run, number
from lucency.report.images import Album
from lucency.report.wording import Verdict, figure_text, plural, rounded

_MOST_PROBABLE = ("the most probable class", "the most probable label")
_MANY = 1000  # three decimals: the figures are differences of means


def maps(run: Run, album: Album) -> dict[str, Any] | None:
    """Return what the section on activation maps shows; None where they were not tested."""
    found = run.explanation
    if not found:
        return None
    informative, sentence = bool(found["informative"]), str(found["sentence"])
    return {
        "verdict": Verdict(
            "good" if informative else "warn",
            "Informative" if informative else "Uninformative",
            _capitalised(sentence.partition(": ")[2] or sentence),
        ),
        "method": str(found["method"]),
        "grid": f"{int(found['height'])} x {int(found['width'])}",
        "scale": f"{float(found['scale']):.2g}",
        "target": run.positive or _target(run),
        "n": plural(int(found["n"]), "image"),
        "pairs": _pairs(album),
        "gain": _gain(found["deletion"]),
        "rows": _rows(found["deletion"]),
        "changes": bool(found["randomisation"]["changes"]),
        "randomisation": _randomisation(found["randomisation"]),
        "border": _border(found["border"]),
        "occlusion": figure_text(found["occlusion"]["rank"], _MANY, share=False),
        "occluded": plural(int(found["occlusion"]["n"]), "image"),
    }


def _target(run: Run) -> str:
    if run.is_regression:
        return f"a high {run.split['values']['name']}"
    return "the highest grade" if run.is_ordinal else _MOST_PROBABLE[run.is_multilabel]


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pairs(album: Album) -> list[dict[str, str]]:
    """Return images with their maps side by side."""
    return [
        {"label": image.label, "file": image.file, "image": uri, "map": drawn}
        for image, uri in album.all("explained")
        if (drawn := album.image("map", image.file))
    ]


def _gain(deletion: Json) -> Figure:
    lines = [
        plots.Line(str(row["map"]), estimate(row["gain"]), own=i == 0)
        for i, row in enumerate(deletion["rows"])
    ]
    ends = [
        x for line in lines for x in (line.estimate.low, line.estimate.high, line.estimate.value)
    ]
    known = [x for x in ends if x is not None]
    drawing = plots.lineup(
        lines,
        title="Gain of following a map",
        x_label="insertion minus deletion, in probability",
        own="the maps",
        others="maps without knowledge",
        limits=(min(0.0, *(1.1 * x for x in known)), max([0.1, *map(abs, known)]) * 1.1),
        chance=(0.0, "no information"),
    )
    caption = (
        "The most marked places of an image are blurred first (deletion) or shown first "
        "(insertion). The more the probability falls and rises, the further right."
    )
    return figure(drawing, "Gain of following the maps", caption, "deletion-insertion")


def _rows(deletion: Json) -> list[list[str]]:
    names = {
        "gain_over_random": "More than a random map",
        "gain_over_centre": "More than the centre",
    }
    rows = [(_capitalised(str(row["map"])), row["gain"]) for row in deletion["rows"]]
    rows += [(names[key], deletion[key]) for key in names]
    return [[name, figure_text(entry, _MANY, share=False)] for name, entry in rows]


def _randomisation(found: Json) -> list[list[str]]:
    layers = plural(int(found["of"]), "layer")
    rows = [(f"{int(row['layers'])} of {layers} shuffled", row) for row in found["rows"]]
    rows.append(("Maps of two different images", found["pairs"]))
    return [
        [name, *(figure_text(row[key], _MANY, share=False) for key in ("rank", "ssim"))]
        for name, row in rows
    ]


def _border(found: Json) -> dict[str, Any]:
    share, uniform = found["share"], number(found["uniform"]) or 0.0
    return {
        "share": figure_text(share, _MANY, share=True),
        "uniform": rounded(uniform, _MANY, share=True),
        "more": (number(share.get("low")) or 0.0) > uniform,
    }
