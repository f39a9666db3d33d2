"""What another person needs in order to get the same classifier: the plan and its facts."""

from __future__ import annotations

import json
from typing import Any

from lucency.report import wording
from lucency.report.files import Json, Run


def choices(plan: Json) -> list[Json]:
    """Return what was chosen, with value and reason as a person writes them."""
    found = [{"reason": "", **choice} for choice in plan.get("choices") or []]
    return [{**choice, "value": _plain(choice["value"])} for choice in found]


def facts(run: Run) -> list[tuple[str, str]]:
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
        (f"Time, {name}", wording.seconds_text(float(seconds)))
        for name, seconds in (plan.get("seconds") or {}).items()
    ]
    named = {"lucency": "Lucency", "python": "Python", "keras": "Keras"}
    facts += [
        (named.get(name, name.replace("_", " ").capitalize()), value)
        for name, value in (plan.get("environment") or {}).items()
    ]
    return [(name, _plain(value)) for name, value in facts if value is not None]


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


def _input(shape: Json | None) -> str | None:
    if not shape:
        return None
    channels = wording.plural(int(shape["channels"]), "channel")
    return f"{shape['height']}×{shape['width']} pixels, {channels}"


def _parity(classifier: Json) -> str | None:
    parity = (classifier.get("onnx") or {}).get("parity")
    if not parity:
        return None
    agreed = float(parity["decision_agreement"])
    decisions = "all decisions equal" if agreed == 1 else f"{agreed:.2%} of the decisions equal"
    verdict = "passed" if parity["passed"] else "NOT passed"
    return (
        f"compared with the trained network on {wording.plural(int(parity['n']), 'image')} "
        f"({parity['split']}): largest difference of a probability "
        f"{float(parity['max_abs_difference']):.1e}, {decisions}; {verdict}"
    )
