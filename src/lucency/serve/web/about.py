"""The description of the classifier that the page shows before it gets an image."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lucency.classifier import ABSTAIN, Classifier, Spec
from lucency.classifier.prediction import label_rules
from lucency.config import FILE
from lucency.errors import RunError
from lucency.evaluation import read_evaluation
from lucency.imaging.headers import MOST_PIXELS
from lucency.imaging.source import MOST_BYTES
from lucency.run_folder.files import EVALUATION, REPORT
from lucency.serve.web.meaning import meaning, prevalence

_METRICS = (
    *("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"),
    *("quadratic_kappa", "mean_absolute_error", "within_one", "r2", "interval_coverage"),
)
_FILES = 64  # in one request; the page sends each by itself


def about(run: Path, classifier: Classifier) -> dict[str, Any]:
    """Return the document that describes a classifier to the page.

    Args:
        run: The run folder; ``evaluation.json`` and ``report.html`` may be missing.
        classifier: The one loaded from it.

    Returns:
        JSON values only. "limits" are those of this version; a service may replace them with
        smaller ones.

    Raises:
        RunError: ``evaluation.json`` is there and damaged.
        ClassifierError: The weights are missing or damaged.
    """
    spec = classifier.spec
    explanation = getattr(spec, "explanation", None)
    return {
        "name": run.resolve().name,
        "sha256": classifier.fingerprint,
        "classes": list(spec.classes),
        "task": spec.task,
        "positive": spec.positive,
        "cut": spec.cut and dict(spec.cut),
        "unit": _unit(classifier),
        **({"value": dict(spec.value)} if spec.value else {}),
        "threshold": spec.threshold,
        "rule": spec.rule,
        "labels": _labels(classifier),
        "size": list(spec.size),
        "channels": spec.channels,
        "conformal": bool(classifier.conformal and classifier.conformal.deciding(*ABSTAIN)),
        "ood_detector": classifier.ood_detector is not None,
        "explanation": None if explanation is None else dict(explanation),
        "report": (run / REPORT).is_file(),
        "neighbours": classifier.keeps_neighbours,
        "limits": {"bytes": MOST_BYTES, "pixels": MOST_PIXELS, "files": _FILES},
        "evaluation": _evaluation(run / EVALUATION),
        "meaning": meaning(classifier),
        "prevalence": prevalence(classifier),
        "version": importlib.metadata.version("lucency"),
    }


def _labels(classifier: Classifier) -> dict[str, Any] | None:
    """Return the threshold and the rule of each of several labels; ``None`` for other tasks."""
    return _by_label(classifier.spec, "threshold", "rule") or None


def _by_label(spec: Spec, *keys: str) -> dict[str, Any]:
    pairs = zip(spec.classes, spec.labels, strict=False)
    return {name: {key: each[key] for key in keys if key in each} for name, each in pairs}


def _unit(classifier: Classifier) -> dict[str, Any] | None:
    """Return how images become one of a unit; ``None`` if they do not, or frames of a file do."""
    rule, spec = classifier.unit, classifier.spec.per_unit
    if rule is None or spec is None or rule.name == FILE:
        return None
    sets = spec.sets.deciding(*ABSTAIN) if spec.sets else None
    labels = _by_label(spec, "pooling", "temperature", "bias", "threshold", "rule")
    of_labels = [each and [*each.scores] for each in label_rules(spec.labels)]
    return {
        "name": rule.name,
        "plural": rule.plural,
        "pooling": rule.pooling,
        "temperature": rule.temperature,
        "bias": list(rule.bias),
        "threshold": rule.threshold,
        "rule": rule.rule,
        "scores": of_labels or (sets and list(sets.scores)),
        "cut": rule.cut and dict(rule.cut),
        **({"labels": labels} if labels else {}),
        **({"value": dict(spec.value)} if spec.value else {}),
    }


def _evaluation(path: Path) -> dict[str, Any] | None:
    """Return the metrics to show, of test, else of held-out images; ``None`` if missing."""
    if not path.exists():
        return None
    document = read_evaluation(path)
    name = next(x for x in ("test", "validation", "cross_validation") if document.get(x))
    measured = document[name]
    try:
        return {
            "split": name,
            "n": int(measured["n"]),
            "groups": measured["groups"],
            "metrics": _metrics(measured),
            "per_unit": (of_units := measured.get("per_unit"))
            and {"n": int(of_units["n"]), "metrics": _metrics(of_units)},
        }
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} lacks metrics ({type(error).__name__}: {error}). Evaluate the classifier "
            "again to replace it."
        ) from error


def _metrics(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    metrics = evaluation["metrics"]
    return {key: _estimate(metrics[key]) for key in _METRICS if key in metrics}


def _estimate(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: estimate[key] for key in ("value", "low", "high")}
