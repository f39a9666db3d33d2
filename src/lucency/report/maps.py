"""Activation maps: examples, and what tests of their meaning came to."""

from __future__ import annotations

from typing import Any

from lucency import plots
from lucency.report.drawings import Figure, estimate, figure
from lucency.report.files import Json, Run, number
from lucency.report.images import Album
from lucency.report.integrity import Verdict
from lucency.report.wording import figure_text, plural, rounded

_MANY = 1000  # three decimals: what is told are differences of means


def maps(run: Run, album: Album) -> dict[str, Any] | None:
    """Return what the section on activation maps shows; None where they were not tested."""
    found = run.explanation
    if not found:
        return None
    informative = bool(found["informative"])
    of = run.positive or "the class that is most probable"
    return {
        "verdict": Verdict(
            "good" if informative else "warn",
            "Informative" if informative else "Uninformative",
            _begun(str(found["sentence"]).partition(": ")[2] or str(found["sentence"])),
        ),
        "method": str(found["method"]),
        "grid": f"{int(found['height'])} x {int(found['width'])}",
        "scale": f"{float(found['scale']):.2g}",
        "of": of,
        "n": plural(int(found["n"]), "image"),
        "pairs": _pairs(album),
        "gain": _gain(found["deletion"]),
        "rows": _rows(found["deletion"]),
        "randomisation": _randomisation(found["randomisation"]),
        "border": _border(found["border"]),
        "occlusion": figure_text(found["occlusion"]["rank"], _MANY, share=False),
        "occluded": plural(int(found["occlusion"]["n"]), "image"),
    }


def _begun(text: str) -> str:
    """Return a text with its first letter as at the beginning of a sentence."""
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
    reach = max([0.1, *map(abs, known)]) * 1.1
    drawing = plots.lineup(
        lines,
        title="What following a map gains",
        x_label="insertion less deletion, of probability",
        own="the maps",
        others="maps that know nothing",
        limits=(min(0.0, *(1.1 * x for x in known)), reach),
        chance=(0.0, "a map that says nothing"),
    )
    says = (
        "The most marked places of an image are blurred first (deletion) or shown first "
        "(insertion). The more the probability falls and rises, the further right."
    )
    return figure(drawing, "What following the maps gains", says, "deletion-insertion")


def _rows(deletion: Json) -> list[tuple[str, str]]:
    names = {"beyond_random": "More than a random map", "beyond_centre": "More than the middle"}
    rows = [(_begun(str(row["map"])), row["gain"]) for row in deletion["rows"]]
    rows += [(names[key], deletion[key]) for key in names]
    return [(name, figure_text(entry, _MANY, share=False)) for name, entry in rows]


def _randomisation(found: Json) -> dict[str, Any]:
    of = int(found["of"])
    rows = [
        (f"{int(row['layers'])} of {plural(of, 'layer')} shuffled", row) for row in found["rows"]
    ]
    rows.append(("Maps of two different images", found["pairs"]))
    return {
        "changes": bool(found["changes"]),
        "rows": [
            (name, *(figure_text(row[key], _MANY, share=False) for key in ("rank", "ssim")))
            for name, row in rows
        ],
    }


def _border(found: Json) -> dict[str, str]:
    share, uniform = found["share"], number(found["uniform"]) or 0.0
    return {
        "share": figure_text(share, _MANY, share=True),
        "uniform": rounded(uniform, _MANY, share=True),
        "more": "yes" if (number(share.get("low")) or 0.0) > uniform else "",
    }
