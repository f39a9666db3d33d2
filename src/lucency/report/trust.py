"""The first screen of a report: what was trained, and whether its figures can be believed."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from lucency.plots import percent
from lucency.report import labels, values
from lucency.report.data import colour_of, leak_verdict
from lucency.report.files import Json, Run, number
from lucency.report.record import test_evaluations
from lucency.report.uncertainty import calibration_shift, calibration_summary
from lucency.report.wording import class_name, isolated, listed, plural

_FEW = 30  # images of a class below which intervals are called wide
_TESTED = {"test": "Tested on", "out-of-fold": "Cross-validated on"}
_OOD_SHARE = 0.05  # of the images; by design about 1 % of the validation images
_SHOWN = 4  # warnings on the first screen; the others are folded behind them


@dataclass(frozen=True)
class Check:
    """One line: ``good``, ``warn``, ``bad`` or ``none`` (not measured), and the section on it."""

    title: str
    section: str
    level: str
    text: str


def task(run: Run) -> list[tuple[str, Markup]]:
    """Return what the classifier is for and what it was made of, as pairs of name and text."""
    shown = run.at_cut.positive
    positive = Markup("; positive: {}").format(class_name(shown)) if shown else ""
    kind = ("classification", len(run.classes), "classes")
    if run.is_ordinal:
        kind = ("ordinal", len(run.classes), "grades")
    elif run.is_multilabel:
        kind = ("multilabel", len(run.classes), "labels")
    elif run.is_regression:
        kind = ("regression", len(run.classes), "bins of the axis")
    folder = (run.plan.get("data") or {}).get("folder")
    colour = colour_of(run.audit)
    pairs = [
        ("Task", Markup("{}, {} {}{}").format(*kind, positive)),
        (
            "Data",
            Markup("{}{}").format(isolated(str(folder or "unknown")), colour and f", {colour}"),
        ),
        ("Trained on", _size(run, "train")),
        (_TESTED.get(run.split_name, "Validated on"), Markup("{}").format(scope(run))),
    ]
    return [(name, text) for name, text in pairs if text]


def _size(run: Run, split: str) -> Markup:
    audit = run.audit or {}
    if not (counted := (audit.get("counts") or {}).get(split)):
        return Markup("")
    groups = audit.get("groups") or {}
    patients = None if groups.get("source") == "none" else (groups.get("counts") or {}).get(split)
    return Markup("{}").format(_people(sum(counted.values()), patients))


def _people(images: int, patients: int | None) -> str:
    count = plural(images, "image")
    return f"{count} of {plural(patients, 'patient')}" if patients else count


def scope(run: Run) -> str:
    """Return how many images and patients the figures were measured on."""
    split = run.split
    groups = split.get("groups")
    return _people(split["n"], groups if groups != split["n"] else None)


def checks(run: Run) -> list[Check]:
    """Return one line for each question about the figures, in the order of their weight."""
    return [_leaks(run), _probes(run), _calibration(run), _ood(run), _evaluations(run)]


def _leaks(run: Run) -> Check:
    verdict = leak_verdict(run.audit)
    if verdict is None:
        return Check("Leak check", "data", "none", "Not made.")
    return Check("Leak check", "data", verdict.level, f"{verdict.word}. {verdict.text}")


def _probes(run: Run) -> Check:
    title, found = "Shortcuts", (run.audit or {}).get("probes")
    if not found:
        return Check(title, "shortcuts", "none", "Not tested.")
    flagged = [each for each in found if each.get("flagged")]
    levels = {each.get("level") for each in (run.audit or {}).get("findings") or []}
    level = "bad" if "alarm" in levels else "warn" if flagged or "warning" in levels else "good"
    count = plural(len(found), "probe")
    if not flagged:
        return Check(
            title, "shortcuts", level, f"None of {count} separates the classes suspiciously."
        )
    best = max(flagged, key=lambda each: number((each.get("auc") or {}).get("value")) or 0.0)
    value = number((best.get("auc") or {}).get("value")) or 0.0
    text = (
        f"{len(flagged)} of {count} flagged: without the content, {best['probe']} reaches an AUROC "
    )
    return Check(title, "shortcuts", level, f"{text}of {value:.3f}.")


def _calibration(run: Run) -> Check:
    if run.is_regression:
        text, low = values.coverage(run.split)
        level = {True: "warn", False: "good", None: "none"}[low]
        return Check("Prediction intervals", "calibration", level, f"{text}.".capitalize())
    text, more = labels.calibration(run) if run.is_multilabel else calibration_summary(run.split)
    level = {True: "warn", False: "good", None: "none"}[more]
    return Check("Calibration", "calibration", level, f"{text or 'not measured'}.".capitalize())


def _ood(run: Run) -> Check:
    split = next(iter(run.split["labels"].values())) if run.is_multilabel else run.split
    title, found = "Out of distribution", (split.get("selective") or {}).get("abstention")
    if not found:
        return Check(title, "selective", "none", "Not measured.")
    n, out = int(found["n"]), int(found["out_of_distribution"])
    share = out / max(n, 1)
    level = "warn" if share > _OOD_SHARE else "good"
    text = f"{out:,} of {n:,} images ({percent(share, n)}), which get no decision."
    return Check(title, "selective", level, text)


def _evaluations(run: Run) -> Check:
    title, found = "Test-set evaluations", test_evaluations(run)
    if "test" not in run.splits:
        return Check(title, "evaluations", "none", "There is no test set.")
    if found is None:
        return Check(title, "evaluations", "none", "Not on record.")
    level = "warn" if found["classifiers"] > 1 or found["gaps"] else "good"
    return Check(title, "evaluations", level, found["text"])


def alarms(audit: Json | None) -> list[str]:
    """Return the findings about the data that nobody may overlook."""
    found = (audit or {}).get("findings") or []
    return [str(finding["text"]) for finding in found if finding.get("level") == "alarm"]


def warnings(run: Run) -> tuple[list[str], list[str]]:
    """Return what a reader must know before believing the figures: shown at once, and folded."""
    found = list(dict.fromkeys([*_of_figures(run), *_of_data(run)]))
    return found[:_SHOWN], found[_SHOWN:]


def _of_figures(run: Run) -> list[str]:
    found, split = [], run.split
    if "test" not in run.splits:
        found.append("There is no test split: no figure here is an independent test.")
    found += alarms(run.audit)
    if run.shared_groups:
        found.append(
            f"{plural(run.shared_groups, 'patient')} found in more than one split of the data: "
            "the figures may be too good."
        )
    if run.is_regression:
        return found + values.warnings(run.split)
    if run.is_multilabel:
        return found
    if shift := calibration_shift(run):
        found.append(shift)
    low, baseline = number(split["metrics"]["accuracy"].get("low")), split["baseline"]
    if low is not None and low <= baseline["accuracy"]:
        found.append(
            Markup(
                "Its accuracy is not shown to be better than always predicting {}: "
                "the interval reaches down to {}."
            ).format(class_name(baseline["class"]), percent(low, split["n"]))
        )
    return found


def _of_data(run: Run) -> list[str]:
    found = [str(line) for line in (run.audit or {}).get("warnings", [])]
    few = [
        Markup("{} ({})").format(class_name(key), entry["n"])
        for key, entry in run.split["per_class"].items()
        if entry["n"] < _FEW
    ]
    if few:
        sentence = Markup("Fewer than {} {} images: {}. The intervals are wide.")
        found.append(sentence.format(_FEW, run.split_name, listed(few)))
    parity = ((run.classifier or {}).get("onnx") or {}).get("parity") or {}
    if parity.get("passed") is False:
        found.append("The exported ONNX model does not reproduce the trained network.")
    return found
