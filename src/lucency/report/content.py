"""Everything that the page of a run and the page of a check show, as plain values."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from lucency.report import (
    data,
    drawings,
    integrity,
    maps,
    record,
    reproduce,
    shortcuts,
    tables,
    utility,
    wording,
)
from lucency.report.explanations import Explanations
from lucency.report.files import Check, Json, Run, number
from lucency.report.images import Album
from lucency.report.selective import selective


def of_run(run: Run) -> dict[str, Any]:
    """Return what the report of a run shows."""
    album = Album(run.folder, run.images, len(run.classes))
    part_name, part = next(iter(run.parts.items()))
    return {
        **_both(run.audit, album, part["metrics"].get("auroc")),
        **_performance(run),
        "holder": "run",
        "title": _title(run),
        "subtitle": _subtitle(run),
        "run": run,
        "part_name": part_name,
        "part": part,
        "void": integrity.void(run.audit),
        "apart": run.shared_groups == 0 and _patients_known(run.audit),
        "headlines": tables.headlines(run),
        "answer": tables.answer(run),
        "baseline": tables.baseline(run),
        "scope": tables.scope(run),
        "warnings": tables.warnings(run),
        "training": drawings.training(run),
        "pace": _pace(run),
        "mishaps": _mishaps(run),
        "mistakes": tables.mistakes(run, album),
        "maps": maps.maps(run, album),
        "robustness": record.robustness(run),
        "evaluations": record.test_evaluations(run),
        "checklists": record.checklists(run),
        "choices": reproduce.choices(run.plan),
        "facts": reproduce.facts(run),
    }


def _performance(run: Run) -> dict[str, Any]:
    """Return the sections on how good the decisions and the probabilities are."""
    part = next(iter(run.parts.values()))
    return {
        "confusions": drawings.confusions(run),
        "most_frequent_mistake": tables.confusable(part),
        "curves": drawings.curves(run),
        "rule": _rule(run, part),
        "histograms": drawings.histograms(run),
        "point": utility.point(run),
        "predictive": utility.predictive(run),
        "decision_curve": utility.decision_curve(run),
        "calibrations": drawings.calibrations(run),
        "reliability": utility.reliability_rows(run),
        "temperature": number((run.classifier or {}).get("temperature")),
        "selective": selective(run),
        "forest": drawings.forest(run),
        "metrics": tables.metrics(run),
        "per_class": tables.per_class(run) if len(run.classes) > 2 else None,
        "subgroups": utility.subgroups(run),
    }


def _both(audit: Json | None, album: Album, own: Json | None = None) -> dict[str, Any]:
    """Return what both pages show: the data, its leaks, and what else tells the classes apart."""
    explanations = Explanations()
    return {
        "album": album,
        "audit": data.contents(audit),
        "status": integrity.status(audit, album) if audit else None,
        "near": integrity.near_duplicates(audit, album) if audit else None,
        "findings": shortcuts.findings(audit),
        "probes": shortcuts.probes(audit, own),
        "shift": shortcuts.shift(audit),
        "odd": shortcuts.odd(audit, album),
        "explain": explanations.link,
        "explanations": explanations.pages,
        "plural": wording.plural,
        "listed": wording.listed,
    }


def of_check(check: Check) -> dict[str, Any]:
    """Return what the page of a check shows."""
    album = Album(check.folder, check.images, len(data.class_names(check.audit)))
    status = integrity.verdict(check.audit)
    return {
        **_both(check.audit, album),
        "holder": "check",
        "folder": check.audit.get("folder"),
        "apart": status is not None and status.level == "good" and _patients_known(check.audit),
        "warnings": [
            *map(str, check.audit.get("warnings") or []),
            *tables.alarms(check.audit),
        ],
    }


def _patients_known(audit: Json | None) -> bool:
    return ((audit or {}).get("groups") or {}).get("source") not in (None, "none")


def _title(run: Run) -> Markup:
    if len(run.classes) > 6:
        return Markup("{} classes").format(len(run.classes))
    return wording.listed(run.classes, "or")


def _rule(run: Run, part: Json) -> str | None:
    """Return how decisions are made, in the classifier's own words where it is at hand."""
    points = [(source or {}).get("operating_point") or {} for source in (run.classifier, part)]
    return next((str(point["rule"]) for point in points if point.get("rule")), None)


def _subtitle(run: Run) -> list[tuple[str, str]]:
    plan = run.plan
    pairs = [
        ("run", plan.get("run")),
        ("data", (plan.get("data") or {}).get("folder")),
        ("recipe", plan.get("recipe")),
        ("effort", plan.get("effort")),
        ("seed", plan.get("seed")),
    ]
    return [(name, str(value)) for name, value in pairs if value is not None]


def _pace(run: Run) -> str:
    """Return how long training took, and how fast it was."""
    epochs = run.plan.get("epochs") or []
    if not epochs:
        return ""
    total = sum(number(row.get("seconds")) or 0.0 for row in epochs)
    speeds = [speed for row in epochs if (speed := number(row.get("images_per_second")))]
    text = f"{wording.plural(len(epochs), 'epoch')} in {wording.seconds_text(total)}"
    return f"{text}, {sum(speeds) / len(speeds):,.0f} images per second." if speeds else text + "."


def _mishaps(run: Run) -> list[str]:
    """Return what training met with, one sentence each."""
    training = run.plan.get("training") or {}
    said = [
        f"Training diverged in epoch {each.get('epoch')}, step {each.get('step')} "
        f"({each.get('what')}): it went back to the beginning of the epoch, at half the rate."
        for each in training.get("divergences") or []
    ]
    if training.get("resumed"):
        said.append("It was ended on the way, and gone on with from a checkpoint.")
    micro, batch = training.get("micro_batch"), training.get("batch")
    if micro and batch and micro < batch:
        said.append(
            f"Memory ran out: images were computed {micro} at a time, and a step was still taken "
            f"for {batch}. Batch statistics are then of fewer images."
        )
    return said
