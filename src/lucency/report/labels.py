"""Several labels: the figures of each, their means, and the images whose labels are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lucency.evaluation.predictions import worst_of_labels
from lucency.report import drawings, uncertainty, utility
from lucency.report.files import Json, Run, number
from lucency.report.images import Album
from lucency.report.wording import figure_text, isolated, name_of, of_hundred, plural, support

MEANS = ("auroc", "average_precision", "sensitivity", "specificity")
_MISTAKES = 10


@dataclass(frozen=True)
class Label:
    """What the report shows of one label."""

    name: str
    gist: str
    point: dict[str, Any] | None
    figures: list[drawings.Figure]
    calibration: str


def rows(run: Run) -> list[list[str]]:
    """Return the figures of each label in the split that counts."""
    return [_row(name, each) for name, each in run.split["labels"].items()]


def heads(run: Run) -> list[str]:
    """Return the heads of the columns of ``rows``."""
    return [
        "Label",
        f"Present, of {run.split_name} {run.units}",
        *(name_of(x).title for x in MEANS),
    ]


def _row(name: str, split: Json) -> list[str]:
    present = int(split["per_class"][name]["n"])
    texts = [
        figure_text(split["metrics"].get(key), support(key, split, name), share=name_of(key).share)
        for key in MEANS
    ]
    return [name, f"{present:,} of {int(split['n']):,}", *texts]


def details(run: Run) -> list[Label]:
    """Return curves, threshold and calibration of each label."""
    found = []
    for name in run.split["labels"]:
        of = run.at_label(name)
        point = utility.point(of)
        found.append(
            Label(
                name,
                f"threshold {point['threshold']}" if point else "",
                point,
                [*drawings.curves(of), *drawings.calibrations(of)[:1]],
                uncertainty.calibration_summary(of.split)[0] or "",
            )
        )
    return found


def sentences(run: Run) -> list[Markup]:
    """Return what the means say, and which label is worst."""
    metrics, of_labels = run.split["metrics"], run.split["labels"]
    known = {name: number(each["metrics"]["auroc"]["value"]) for name, each in of_labels.items()}
    ranked = sorted((value, name) for name, value in known.items() if value is not None)
    lead = Markup(
        "On average over {} labels, of 100 {unit} that have a label {} are detected, and of 100 "
        "that do not, {} are correctly negative."
    ).format(
        len(of_labels), of_hundred(metrics["sensitivity"]), of_hundred(metrics["specificity"]),
        unit=run.units,
    )  # fmt: skip
    if not ranked:
        return [lead, Markup("No label has {} with and without it.").format(run.units)]
    (low, worst), (high, best) = ranked[0], ranked[-1]
    if f"{low:.2f}" == f"{high:.2f}":
        return [lead, Markup("All labels are ranked equally well (AUROC {}).").format(f"{low:.2f}")]
    text = Markup("Best ranked: {} (AUROC {}). Worst ranked: {} ({}).")
    return [lead, text.format(isolated(best), f"{high:.2f}", isolated(worst), f"{low:.2f}")]


def calibration(run: Run) -> tuple[str, bool | None]:
    """Return how many labels are worse calibrated than chance explains, and whether any is."""
    found = {
        name: uncertainty.calibration_summary(each)[1] for name, each in run.split["labels"].items()
    }
    off = [name for name, more in found.items() if more]
    if not off:
        return "of no label worse than chance explains", False
    return f"of {plural(len(off), 'label')} worse than chance explains: {', '.join(off)}", True


@dataclass(frozen=True)
class Mistake:
    """An image with wrong labels."""

    file: str
    missed: str
    added: str
    image: str | None


def mistakes(run: Run, album: Album) -> tuple[int, list[Mistake]] | None:
    """Return how many images have a wrong label, and the worst of them; None if not known."""
    found = run.predictions_of(run.split_name)
    if found is None or found.targets is None:
        return None
    places = worst_of_labels(found)
    shown = []
    for i in places[:_MISTAKES]:
        truth, decided = found.targets[i], found.decisions[i]
        names = [*zip(found.classes, truth, decided, strict=True)]
        missed = ", ".join(name for name, t, d in names if t > 0 and not d)
        added = ", ".join(name for name, t, d in names if t == 0 and d)
        file = found.files[i]
        shown.append(Mistake(file, missed, added, album.image("mistake", file)))
    return len(places), shown
