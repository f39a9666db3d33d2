"""Everything that the page of a run and the page of a check show, as plain values."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from lucency.config import column_of_unit
from lucency.plots import visible
from lucency.report import (
    data,
    drawings,
    folds,
    glossary,
    labels,
    maps,
    performance,
    record,
    shortcuts,
    trust,
    uncertainty,
    utility,
    values,
    wording,
)
from lucency.report.files import Check, Json, Run, number
from lucency.report.images import Album


class Links:
    """Links to the glossary; only pages that something links to join the page."""

    def __init__(self) -> None:
        """Begin without any."""
        self._linked: dict[str, None] = {}

    def link(self, name: str, text: str = "") -> Markup:
        """Return a link to a page of the glossary, which will stand at the end of the report.

        Args:
            name: the page, such as ``roc-auroc``.
            text: words of the link; without any, the title of the page up to its colon.
        """
        self._linked.setdefault(name)
        words = visible(text) or glossary.page(name).title.partition(":")[0]
        return Markup('<a class="why" href="#glossary-{}">{}</a>').format(name, words)

    def pages(self) -> list[tuple[str, str, Markup]]:
        """Return name, title and text of the linked pages, in reading order."""
        found = [(name, glossary.page(name)) for name in glossary.names() if name in self._linked]
        # Rendered from our own files, with HTML in them shown as text.
        return [(name, page.title, Markup(page.html)) for name, page in found]  # noqa: S704


def of_run(run: Run) -> dict[str, Any]:
    """Return what the report of a run shows."""
    album = Album(run.folder, run.images, len(run.classes))
    return {
        **_both(run.audit, album, run.split["metrics"].get("auroc")),
        **_first_screen(run),
        "label_rows": labels.rows(run) if run.is_multilabel else None,
        **_sections(run, album),
        "holder": "run",
        "run": run,
        "split": run.split,
        "split_name": run.split_name,
        "chosen_on": run.chosen_on,
        "folds": folds.cross_validation(run),
        "apart": run.shared_groups == 0 and _patients_known(run.audit),
        "training": drawings.training(run),
        "pace": record.pace(run),
        "frozen": record.is_frozen(run),
        "incidents": record.incidents(run),
        "maps": maps.maps(run, album),
        "robustness": record.robustness(run),
        "evaluations": record.test_evaluations(run),
        "checklists": record.checklists(run),
        "choices": record.choices(run.plan),
        "facts": record.facts(run),
    }


def _first_screen(run: Run) -> dict[str, Any]:
    shown, folded = trust.warnings(run)
    answered = run.per_unit
    return {
        "title": _title(run),
        "subtitle": _subtitle(run),
        "void": data.is_void(run.audit),
        "task": trust.task(run),
        "headlines": performance.headlines(answered),
        "sentences": performance.sentences(answered),
        "units": performance.units(run),
        "answers": _answers(answered) | {"evidence": performance.evidence(run)}
        if answered is not run
        else None,
        "checks": trust.checks(run),
        "warnings": shown,
        "more_warnings": folded,
    }


def _sections(run: Run, album: Album) -> dict[str, Any]:
    """Return the sections on how good the answers are."""
    if run.is_regression:
        return values.contents(run, album)
    return _labels(run, album) if run.is_multilabel else _performance(run, album)


def _labels(run: Run, album: Album) -> dict[str, Any]:
    """Return the sections on several labels."""
    return {
        "label_heads": labels.heads(run),
        "label_details": labels.details(run),
        "label_mistakes": labels.mistakes(run, album),
        "rule": _rule(run),
        "metrics": performance.means(run),
        "selective": run.split["labels"][run.classes[0]].get("selective"),
    }


def _answers(run: Run) -> dict[str, Any]:
    """Return what the section on one answer for each unit shows."""
    return {
        "unit": wording.isolated(run.unit) if column_of_unit(run.unit) else run.unit,
        "units": run.units,
        "heads": ["Figure", run.units if column_of_unit(run.unit) else run.units.title(), "Images"],
        "gist": wording.plural(int(run.split["n"]), run.unit, run.units),
        **performance.pooling(run),
        "point": utility.point(run.at_cut),
        "confusion": drawings.confusions(run)[0],
    }


def _performance(run: Run, album: Album) -> dict[str, Any]:
    """Return the sections on how good the decisions and the probabilities are."""
    at_cut = run.at_cut
    return {
        "positive": at_cut.positive,
        "mistakes": performance.mistakes(run, album),
        "most_confused": performance.most_confused(run.split),
        "confusions": drawings.confusions(run),
        "curves": drawings.curves(at_cut),
        "histograms": drawings.histograms(run),
        "rule": _rule(run),
        "point": utility.point(at_cut),
        "grades": performance.grades(run),
        "predictive": utility.predictive(at_cut),
        "decision_curve": utility.decision_curve(at_cut),
        "calibrations": drawings.calibrations(run),
        "calibration": uncertainty.calibration_summary(run.split)[0],
        "reliability": uncertainty.reliability(run),
        "temperature": number((run.classifier or {}).get("temperature")),
        "selective": uncertainty.selective(run),
        "forest": drawings.forest(run),
        "metrics": performance.metrics(run),
        "methods": performance.methods(run),
        "per_class": performance.per_class(run),
        "subgroups": utility.subgroups(run),
    }


def _both(audit: Json | None, album: Album, own: Json | None = None) -> dict[str, Any]:
    """Return what both pages show: the data, its leaks, and what else separates the classes."""
    links = Links()
    return {
        "album": album,
        "audit": data.contents(audit),
        "leaks": data.leaks(audit, album),
        "near": data.near_duplicates(audit, album),
        "findings": shortcuts.findings(audit),
        "probes": shortcuts.probes(audit, own),
        "shift": shortcuts.shift(audit),
        "outliers": shortcuts.outliers(audit, album),
        "explain": links.link,
        "glossary": links.pages,
        "plural": wording.plural,
        "listed": wording.listed,
    }


def of_check(check: Check) -> dict[str, Any]:
    """Return what the page of a check shows."""
    album = Album(check.folder, check.images, len(data.class_names(check.audit)))
    verdict = data.leak_verdict(check.audit)
    return {
        **_both(check.audit, album),
        "holder": "check",
        "folder": check.audit.get("folder"),
        "apart": verdict is not None and verdict.level == "good" and _patients_known(check.audit),
        "warnings": [
            *map(str, check.audit.get("warnings") or []),
            *trust.alarms(check.audit),
        ],
    }


def _patients_known(audit: Json | None) -> bool:
    return ((audit or {}).get("groups") or {}).get("source") not in (None, "none")


def _title(run: Run) -> Markup:
    if run.is_regression:
        return wording.isolated(str(run.split["values"]["name"]))
    if len(run.classes) > 6:
        kind = "labels" if run.is_multilabel else "grades" if run.is_ordinal else "classes"
        return Markup("{} {}").format(len(run.classes), kind)
    return wording.listed(run.classes, "and" if run.is_multilabel else "or")


def _rule(run: Run) -> str | None:
    """Return how decisions are made, as the classifier states it where it is at hand."""
    points = [(source or {}).get("operating_point") or {} for source in (run.classifier, run.split)]
    return next((str(point["rule"]) for point in points if point.get("rule")), None)


def _subtitle(run: Run) -> list[tuple[str, str]]:
    found = [(name, run.plan.get(name)) for name in ("run", "recipe", "effort", "seed")]
    return [(name, str(value)) for name, value in found if value is not None]
