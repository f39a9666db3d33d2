"""The report of a run: one page, drawn from the files in its folder and from nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from lucency.errors import RunError
from lucency.files import write_text
from lucency.plots import visible
from lucency.report import drawings, tables, words
from lucency.report.album import Album
from lucency.report.files import Json, Run, number, read_run

__all__ = ["write_report"]

_HERE = Path(__file__).parent
# What reading a file of another shape than ours raises.
_UNFIT = (KeyError, IndexError, TypeError, ValueError, AttributeError)


def write_report(run: Path) -> Path:
    """Draw ``report.html`` from the files in a run folder.

    The page stands alone: no script, no network, pictures inside. The same files give the same
    bytes. Parts whose files are missing are replaced by a sentence that says so.

    Args:
        run: the folder; ``plan.json`` and ``evaluation.json`` must be there.

    Returns:
        The path of ``report.html`` in that folder; an older one is replaced when the new one is
        complete.

    Raises:
        RunError: the folder is no finished run, its files are damaged, or it cannot be written.
    """
    try:
        page = _page(read_run(run))
    except (*_UNFIT, csv.Error, UndefinedError) as error:
        raise RunError(
            f"The files in {run} do not fit together ({type(error).__name__}: {error}). A report "
            "needs the files of one run, unchanged; run `lucency evaluate` or train again."
        ) from error
    path = run / "report.html"
    write_text(path, page)
    return path


def _page(run: Run) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The style sheet is ours, not data; everything else on the page is escaped.
    style = Markup((_HERE / "report.css").read_text("utf-8"))  # noqa: S704
    return environment.get_template("report.html").render(style=style, **_content(run))


def _shown(value: Any) -> Any:
    """Spell out what cannot be seen in any text that is not markup already."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _content(run: Run) -> dict[str, Any]:
    album = Album(run)
    part_name, part = next(iter(run.parts.items()))
    return {
        "title": _title(run),
        "subtitle": _subtitle(run),
        "run": run,
        "part_name": part_name,
        "part": part,
        "album": album,
        "headlines": tables.headlines(run),
        "answer": tables.answer(run),
        "scope": tables.scope(run),
        "warnings": tables.warnings(run),
        "audit": _audit(run.audit),
        "training": drawings.training(run),
        "pace": _pace(run),
        "confusions": drawings.confusions(run),
        "most_frequent_mistake": tables.confusable(part),
        "curves": drawings.curves(run),
        "rule": _rule(run, part),
        "histograms": drawings.histograms(run),
        "calibrations": drawings.calibrations(run),
        "temperature": number((run.classifier or {}).get("temperature")),
        "forest": drawings.forest(run),
        "metrics": tables.metrics(run),
        "per_class": tables.per_class(run) if len(run.classes) > 2 else None,
        "mistakes": tables.mistakes(run, album),
        "choices": [{**choice, "value": _plain(choice["value"])} for choice in _choices(run.plan)],
        "facts": _facts(run),
        "plural": words.plural,
        "listed": words.listed,
    }


def _title(run: Run) -> Markup:
    if len(run.classes) > 6:
        return Markup("{} classes").format(len(run.classes))
    return words.listed(run.classes, "or")


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


def _audit(audit: Json | None) -> dict[str, Any] | None:
    if audit is None:
        return None
    pairs, shown = tables.duplicates(audit)
    return {
        "found": audit["found"],
        "used": audit["used"],
        "set_aside": len(audit.get("set_aside") or []),
        "left_out": tables.left_out(audit.get("set_aside") or []),
        "ignored": tables.left_out(audit.get("ignored") or []),
        "counts": tables.counts(audit),
        "pairs": pairs,
        "duplicates": shown,
        "notes": audit.get("notes") or [],
        "sizes": _sizes(audit),
    }


def _sizes(audit: Json) -> str:
    sizes = audit.get("sizes")
    colour = {True: "in colour", False: "grey"}.get(audit.get("colour"), "")  # type: ignore[arg-type]
    if not sizes:
        return f"The pictures are {colour}." if colour else ""
    low, middle, high = (
        "×".join(f"{side:,}" for side in sizes[key]) for key in ("min", "median", "max")
    )
    span = f"all {low}" if low == high else f"{low} to {high} (median {middle})"
    return f"The pictures are {colour + ', ' if colour else ''}{span} pixels, height × width."


def _pace(run: Run) -> str:
    """Return how long training took, and how fast it was."""
    if not run.history:
        return ""
    total = sum(row.get("seconds") or 0.0 for row in run.history)
    speeds = [speed for row in run.history if (speed := row.get("images_per_second"))]
    text = f"{words.plural(len(run.history), 'epoch')} in {words.seconds_text(total)}"
    return (
        f"{text}, {sum(speeds) / len(speeds):,.0f} pictures per second." if speeds else text + "."
    )


def _choices(plan: Json) -> list[Json]:
    return [{"reason": "", **choice} for choice in plan.get("choices") or []]


def _plain(value: Any) -> str:
    """Return a value from JSON as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _facts(run: Run) -> list[tuple[str, str]]:
    """Return what another person needs in order to get the same classifier."""
    plan, classifier = run.plan, run.classifier or {}
    data, weights = plan.get("data") or {}, classifier.get("weights") or {}
    facts = [
        ("Seed", plan.get("seed")),
        ("Data folder", data.get("folder")),
        ("Data fingerprint", data.get("fingerprint")),
        ("Network", (classifier.get("architecture") or {}).get("name")),
        ("Input", _input(classifier.get("input"))),
        ("Parameters", f"{plan['parameters']:,}" if plan.get("parameters") else None),
        ("Weights, SHA-256", weights.get("sha256")),
        ("ONNX export", _parity(classifier)),
    ]
    facts += [
        (f"Time, {name}", words.seconds_text(float(seconds)))
        for name, seconds in (plan.get("seconds") or {}).items()
    ]
    named = {"lucency": "Lucency", "python": "Python", "keras": "Keras"}
    facts += [
        (named.get(name, name.replace("_", " ").capitalize()), value)
        for name, value in (plan.get("environment") or {}).items()
    ]
    return [(name, _plain(value)) for name, value in facts if value is not None]


def _input(shape: Json | None) -> str | None:
    if not shape:
        return None
    channels = words.plural(int(shape["channels"]), "channel")
    return f"{shape['height']}×{shape['width']} pixels, {channels}"


def _parity(classifier: Json) -> str | None:
    parity = (classifier.get("onnx") or {}).get("parity")
    if not parity:
        return None
    agreed = float(parity["decision_agreement"])
    decisions = "all decisions equal" if agreed == 1 else f"{agreed:.2%} of the decisions equal"
    verdict = "passed" if parity["passed"] else "NOT passed"
    return (
        f"compared with the trained network on {words.plural(int(parity['n']), 'picture')} "
        f"({parity['split']}): largest difference of a probability "
        f"{float(parity['max_abs_difference']):.1e}, {decisions}; {verdict}"
    )
